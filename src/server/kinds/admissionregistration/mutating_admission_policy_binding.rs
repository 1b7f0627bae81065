//! MutatingAdmissionPolicyBinding: where a mutating policy applies.

use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;

use crate::server::strategy::{Meta, Strategy};

pub struct MutatingAdmissionPolicyBindings;

impl Strategy for MutatingAdmissionPolicyBindings {
    type Kind = MutatingAdmissionPolicyBinding;

    fn meta(&self) -> Meta {
        Meta {
            categories: &["api-extensions"],
            generation: true,
            unconditional_update: false,
            ..Meta::cluster::<MutatingAdmissionPolicyBinding>("mutatingadmissionpolicybindings")
        }
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut MutatingAdmissionPolicyBinding) {
        let Some(spec) = &mut object.spec else { return };
        spec.match_resources.iter_mut().for_each(super::match_resources);
    }
}
