//! MutatingAdmissionPolicy: mutations written in CEL.

use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicy;

use crate::server::strategy::{Meta, Strategy};

pub struct MutatingAdmissionPolicies;

impl Strategy for MutatingAdmissionPolicies {
    type Kind = MutatingAdmissionPolicy;

    fn meta(&self) -> Meta {
        Meta {
            categories: &["api-extensions"],
            generation: true,
            unconditional_update: false,
            ..Meta::cluster::<MutatingAdmissionPolicy>("mutatingadmissionpolicies")
        }
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut MutatingAdmissionPolicy) {
        let Some(spec) = &mut object.spec else { return };
        crate::server::kinds::defaults::text(&mut spec.failure_policy, "Fail");
        spec.match_constraints.iter_mut().for_each(super::match_resources);
    }
}
