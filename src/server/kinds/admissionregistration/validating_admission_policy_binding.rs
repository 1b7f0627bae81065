//! ValidatingAdmissionPolicyBinding: where a validating policy applies.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;

use crate::server::strategy::{Meta, Strategy};

pub struct ValidatingAdmissionPolicyBindings;

impl Strategy for ValidatingAdmissionPolicyBindings {
    type Kind = ValidatingAdmissionPolicyBinding;

    fn meta(&self) -> Meta {
        Meta {
            categories: &["api-extensions"],
            generation: true,
            unconditional_update: false,
            ..Meta::cluster::<ValidatingAdmissionPolicyBinding>("validatingadmissionpolicybindings")
        }
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut ValidatingAdmissionPolicyBinding) {
        let spec = &mut object.spec;
        spec.match_resources.iter_mut().for_each(super::match_resources);
    }
}
