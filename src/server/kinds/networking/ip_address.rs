//! IPAddress: an allocated Service address.

use k8s_openapi::api::networking::v1::IPAddress;
use serde_json::Value;

use crate::api::gvk::GroupResource;
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, NameRule, Strategy};

pub struct IpAddresses;

impl Strategy for IpAddresses {
    type Kind = IPAddress;

    fn meta(&self) -> Meta {
        Meta { short_names: &["ip"], names: NameRule::IpAddress, ..Meta::cluster::<IPAddress>("ipaddresses") }
    }

    crate::server::kinds::spec_only!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] =
            &[Column::NAME, Column::string("ParentRef", "The object that the address is assigned to."), Column::AGE];
        COLUMNS
    }

    fn cells(&self, object: &IPAddress, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let parent = &object.spec.parent_ref;
        let resource = GroupResource { group: parent.group.as_deref().unwrap_or_default(), resource: &parent.resource };
        let namespace = parent.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        Some(vec![
            cell::name(&object.metadata),
            format!("{resource}/{namespace}{}", parent.name).into(),
            cell::age(&object.metadata, now),
        ])
    }
}
