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
}
