//! ConfigMap: plain data, immutable on request.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

pub struct ConfigMaps;

impl Strategy for ConfigMaps {
    type Kind = ConfigMap;

    fn meta(&self) -> Meta {
        Meta { short_names: &["cm"], ..Meta::namespaced::<ConfigMap>("configmaps") }
    }

    fn validate(&self, new: &ConfigMap, old: Option<&ConfigMap>) -> Errors {
        let mut errors = Errors::new();
        validation::data::config_map(&mut errors, new);
        if let Some(old) = old.filter(|old| old.immutable == Some(true)) {
            let message = "field is immutable when `immutable` is set";
            if new.immutable != Some(true) {
                errors.push(Error::forbidden(&Path::new("immutable"), message));
            }
            if new.data != old.data {
                errors.push(Error::forbidden(&Path::new("data"), message));
            }
            if new.binary_data != old.binary_data {
                errors.push(Error::forbidden(&Path::new("binaryData"), message));
            }
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "Data",
                "Data contains the configuration data. Each key must consist of alphanumeric characters, '-', '_' or '.'. Values with non-UTF-8 byte sequences must use the BinaryData field. The keys stored in Data must not overlap with the keys in the BinaryData field, this is enforced during validation process.",
            ),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &ConfigMap, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let keys = object.data.as_ref().map_or(0, |d| d.len()) + object.binary_data.as_ref().map_or(0, |d| d.len());
        Some(vec![cell::name(&object.metadata), keys.into(), cell::age(&object.metadata, now)])
    }
}
