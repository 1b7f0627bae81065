//! VolumeAttributesClass: mutable attributes of volumes.

use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use serde_json::Value;

use super::rules;
use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};

pub struct VolumeAttributesClasses;

impl Strategy for VolumeAttributesClasses {
    type Kind = VolumeAttributesClass;

    fn meta(&self) -> Meta {
        Meta { short_names: &["vac"], ..Meta::cluster::<VolumeAttributesClass>("volumeattributesclasses") }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("DriverName", "Name of the CSI driver This field is immutable."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &VolumeAttributesClass, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(vec![cell::name(&object.metadata), object.driver_name.clone().into(), cell::age(&object.metadata, now)])
    }

    fn validate(&self, new: &VolumeAttributesClass, old: Option<&VolumeAttributesClass>) -> Errors {
        let mut errors = Errors::new();
        let (name, parameters) = (Path::new("driverName"), Path::new("parameters"));
        if old.is_some_and(|old| old.driver_name != new.driver_name) {
            errors.push(Error::forbidden(&name, "updates to driverName are forbidden."));
        }
        if old.is_some_and(|old| old.parameters != new.parameters) {
            errors.push(Error::forbidden(&parameters, "updates to parameters are forbidden."));
        }
        rules::provisioner(&mut errors, &name, &new.driver_name);
        rules::parameters(&mut errors, &parameters, new.parameters.as_ref());
        if new.parameters.as_ref().is_none_or(|parameters| parameters.is_empty()) {
            errors.push(Error::required(&parameters, "must contain at least one key/value pair"));
        }
        errors
    }
}
