//! Scale: how many of something there are and should be. A kind of the `/scale` subresources alone, so not in the
//! catalog; this is how it is shown.

use std::sync::LazyLock;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1::Scale;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{self, Column, Kind, Meta, Strategy};

struct Scales;

/// The kind of every `/scale`.
pub fn kind() -> &'static dyn Kind {
    static KIND: LazyLock<Box<dyn Kind>> = LazyLock::new(|| strategy::of(Scales));
    &**KIND
}

impl Strategy for Scales {
    type Kind = Scale;

    fn meta(&self) -> Meta {
        Meta { verbs: &[], ..Meta::namespaced::<Scale>("scales") }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::string("Name", Column::NAME.description),
            Column::integer("Desired", "replicas is the desired number of instances for the scaled object."),
            Column::integer("Available", "replicas is the actual number of observed instances of the scaled object."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Scale, now: Timestamp) -> Option<Vec<Value>> {
        let desired = object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        let available = object.status.as_ref().map_or(0, |status| status.replicas);
        Some(vec![cell::name(&object.metadata), desired.into(), available.into(), cell::age(&object.metadata, now)])
    }
}
