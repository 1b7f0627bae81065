//! PodDisruptionBudget: how many pods an eviction may take at once.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::server::strategy::{Meta, Strategy, Subresource};

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
}
