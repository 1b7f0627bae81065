//! ResourceSlice: devices that a driver offers.

use std::borrow::Cow;

use k8s_openapi::api::resource::v1::ResourceSlice;
use serde_json::Value;

use super::devices;
use crate::api::field::{Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::closed;
use crate::server::strategy::{Column, Fields, Meta, Strategy};

pub struct ResourceSlices;

impl Strategy for ResourceSlices {
    type Kind = ResourceSlice;

    fn meta(&self) -> Meta {
        Meta { generation: true, ..Meta::cluster::<ResourceSlice>("resourceslices") }
    }

    fn drop_closed(&self, new: &mut ResourceSlice, old: Option<&ResourceSlice>) {
        closed::drop(closed::RESOURCE_SLICE, new, old);
    }

    crate::server::kinds::spec_only!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "Node",
                "NodeName identifies the node which provides the resources in this pool. A field selector can be used to list only ResourceSlice objects belonging to a certain node.\n\nThis field can be used to limit access from nodes to ResourceSlices with the same node name. It also indicates to autoscalers that adding new nodes of the same type as some old node might also make new resources available.\n\nExactly one of NodeName, NodeSelector, AllNodes, and PerDeviceNodeSelection must be set. This field is immutable.",
            ),
            Column::string(
                "Driver",
                "Driver identifies the DRA driver providing the capacity information. A field selector can be used to list only ResourceSlice objects with a certain driver name.\n\nMust be a DNS subdomain and should end with a DNS domain owned by the vendor of the driver. It should use only lower case characters. This field is immutable.",
            ),
            Column::string(
                "Pool",
                "Name is used to identify the pool. For node-local devices, this is often the node name, but this is not required.\n\nIt must not be longer than 253 characters and must consist of one or more DNS sub-domains separated by slashes. This field is immutable.",
            ),
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
        devices::slice(&mut errors, &Path::new("spec"), &new.spec, old.map(|old| &old.spec));
        errors
    }
}
