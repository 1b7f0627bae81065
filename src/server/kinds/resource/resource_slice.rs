//! ResourceSlice: devices that a driver offers.

use std::borrow::Cow;

use k8s_openapi::api::resource::v1::ResourceSlice;
use serde_json::Value;

use super::devices;
use crate::api::field::{Errors, Path};
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Fields, Meta, Strategy};
use crate::server::validation;

pub struct ResourceSlices;

impl Strategy for ResourceSlices {
    type Kind = ResourceSlice;

    fn meta(&self) -> Meta {
        Meta { generation: true, ..Meta::cluster::<ResourceSlice>("resourceslices") }
    }

    crate::server::kinds::spec_only!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Node", "The node that the devices are on."),
            Column::string("Driver", "The driver that offers the devices."),
            Column::string("Pool", "The pool that the slice belongs to."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &ResourceSlice, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(vec![
            cell::name(&object.metadata),
            cell::or(object.spec.node_name.as_deref(), cell::UNSET).into(),
            object.spec.driver.clone().into(),
            object.spec.pool.name.clone().into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.nodeName", "spec.driver"]
    }

    fn fields<'a>(&self, object: &'a ResourceSlice) -> Fields<'a> {
        let node = object.spec.node_name.as_deref().unwrap_or_default();
        vec![("spec.nodeName", Cow::from(node)), ("spec.driver", Cow::from(object.spec.driver.as_str()))]
    }

    fn validate(&self, new: &ResourceSlice, old: Option<&ResourceSlice>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        devices::slice(&mut errors, &path, &new.spec);
        if let Some(before) = old.map(|old| &old.spec) {
            let pool = path.child("pool").child("name");
            validation::immutable(&mut errors, &pool, &new.spec.pool.name, &before.pool.name);
            validation::immutable(&mut errors, &path.child("driver"), &new.spec.driver, &before.driver);
            validation::immutable(&mut errors, &path.child("nodeName"), &new.spec.node_name, &before.node_name);
        }
        errors
    }
}
