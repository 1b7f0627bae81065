//! ControllerRevision: an immutable snapshot of a controller's state.

use k8s_openapi::api::apps::v1::ControllerRevision;
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
        if new.data.is_none() {
            errors.push(Error::required(&Path::new("data"), "data is mandatory"));
        }
        if new.revision < 0 {
            errors.push(Error::invalid(&Path::new("revision"), new.revision, validation::NOT_NEGATIVE));
        }
        if let Some(old) = old {
            validation::immutable(&mut errors, &Path::new("data"), &new.data, &old.data);
        }
        errors
    }
}
