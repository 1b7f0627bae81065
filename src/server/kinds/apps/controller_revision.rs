//! ControllerRevision: an immutable snapshot of a controller's state.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::gvk::{GroupResource, split_api_version};
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

pub struct ControllerRevisions;

impl Strategy for ControllerRevisions {
    type Kind = ControllerRevision;

    fn meta(&self) -> Meta {
        Meta::namespaced::<ControllerRevision>("controllerrevisions")
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Controller", "Controller of the object"),
            Column::string("Revision", "Revision indicates the revision of the state represented by Data."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &ControllerRevision, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let owners = object.metadata.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
        let owner = owner.map(|owner| {
            let (group, _) = split_api_version(&owner.api_version).unwrap_or(("", ""));
            let resource = owner.kind.to_lowercase();
            format!("{}/{}", GroupResource { group, resource: &resource }, owner.name)
        });
        Some(vec![
            cell::name(&object.metadata),
            cell::or(owner.as_deref(), cell::NONE).into(),
            object.revision.into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(&self, new: &ControllerRevision, old: Option<&ControllerRevision>) -> Errors {
        let mut errors = Errors::new();
        let data = Path::new("data");
        match &new.data {
            None => errors.push(Error::required(&data, "data is mandatory")),
            // Those from before the rule stay.
            Some(RawExtension(value)) if old.is_none() && !value.is_object() => {
                errors.push(Error::invalid(&data, "<value omitted>", "must be a valid JSON object"));
            }
            Some(_) => {}
        }
        if new.revision < 0 {
            errors.push(Error::invalid(&Path::new("revision"), new.revision, validation::NOT_NEGATIVE));
        }
        if let Some(old) = old {
            validation::immutable(&mut errors, &data, &new.data, &old.data);
        }
        errors
    }
}
