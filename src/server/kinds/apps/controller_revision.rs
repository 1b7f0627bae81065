//! ControllerRevision: an immutable snapshot of a controller's state.

use k8s_openapi::api::apps::v1::ControllerRevision;

use crate::server::strategy::{Meta, Strategy};

pub struct ControllerRevisions;

impl Strategy for ControllerRevisions {
    type Kind = ControllerRevision;

    fn meta(&self) -> Meta {
        Meta::namespaced::<ControllerRevision>("controllerrevisions")
    }
}
