//! PodDisruptionBudget: how many pods an eviction may take at once.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

pub struct PodDisruptionBudgets;

impl Strategy for PodDisruptionBudgets {
    type Kind = PodDisruptionBudget;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["pdb"],
            subresources: const { &[Subresource::status("PodDisruptionBudget")] },
            generation: true,
            unconditional_update: false,
            ..Meta::namespaced::<PodDisruptionBudget>("poddisruptionbudgets")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Min Available", "The minimum number of pods that must be available."),
            Column::string("Max Unavailable", "The maximum number of pods that may be unavailable."),
            Column::integer("Allowed Disruptions", "Calculated number of pods that may be disrupted at this time."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &PodDisruptionBudget, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let allowed = object.status.as_ref().and_then(|status| status.disruptions_allowed);
        Some(vec![
            cell::name(&object.metadata),
            cell::int_or_string(spec.min_available.as_ref(), "N/A").into(),
            cell::int_or_string(spec.max_unavailable.as_ref(), "N/A").into(),
            allowed.unwrap_or(0).into(),
            cell::age(&object.metadata, now),
        ])
    }
}
