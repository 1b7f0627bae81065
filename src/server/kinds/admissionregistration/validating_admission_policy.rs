//! ValidatingAdmissionPolicy: admission rules written in CEL.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;

use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct ValidatingAdmissionPolicies;

impl Strategy for ValidatingAdmissionPolicies {
    type Kind = ValidatingAdmissionPolicy;

    fn meta(&self) -> Meta {
        Meta {
            categories: &["api-extensions"],
            subresources: const { &[Subresource::status("ValidatingAdmissionPolicy")] },
            generation: true,
            unconditional_update: false,
            ..Meta::cluster::<ValidatingAdmissionPolicy>("validatingadmissionpolicies")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut ValidatingAdmissionPolicy) {
        let Some(spec) = &mut object.spec else { return };
        crate::server::kinds::defaults::text(&mut spec.failure_policy, "Fail");
        spec.match_constraints.iter_mut().for_each(super::match_resources);
    }
}
