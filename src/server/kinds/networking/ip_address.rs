//! IPAddress: an allocated Service address.

use k8s_openapi::api::networking::v1::{IPAddress, ParentReference};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::gvk::GroupResource;
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, NameRule, Strategy};
use crate::server::validation;

pub struct IpAddresses;

impl Strategy for IpAddresses {
    type Kind = IPAddress;

    fn meta(&self) -> Meta {
        Meta { short_names: &["ip"], names: NameRule::IpAddress, ..Meta::cluster::<IPAddress>("ipaddresses") }
    }

    crate::server::kinds::spec_only!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "ParentRef",
                "ParentRef references the resource that an IPAddress is attached to. An IPAddress must reference a parent object.",
            ),
        ];
        COLUMNS
    }

    fn cells(&self, object: &IPAddress, _now: jiff::Timestamp) -> Option<Vec<Value>> {
        let parent = &object.spec.parent_ref;
        let resource = GroupResource { group: parent.group.as_deref().unwrap_or_default(), resource: &parent.resource };
        let namespace = parent.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        Some(vec![cell::name(&object.metadata), format!("{resource}/{namespace}{}", parent.name).into()])
    }

    fn validate(&self, new: &IPAddress, old: Option<&IPAddress>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec").child("parentRef");
        let parent = &new.spec.parent_ref;
        if let Some(old) = old {
            validation::immutable(&mut errors, &path, parent, &old.spec.parent_ref);
            return errors;
        }
        // A reference that is not there cannot be told from an empty one.
        if *parent == ParentReference::default() {
            errors.push(Error::required(&path, ""));
            return errors;
        }
        let group = validation::text(&parent.group);
        if !group.is_empty() {
            validation::named(&mut errors, &path.child("group"), group, names::dns1123_subdomain(group));
        }
        validation::required_name(&mut errors, &path.child("resource"), &parent.resource, names::path_segment_name);
        validation::required_name(&mut errors, &path.child("name"), &parent.name, names::path_segment_name);
        let namespace = validation::text(&parent.namespace);
        validation::named(&mut errors, &path.child("namespace"), namespace, names::path_segment_name(namespace));
        errors
    }
}
