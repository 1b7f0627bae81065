//! MutatingAdmissionPolicyBinding: where a mutating policy applies.

use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};

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

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("PolicyName", "The policy that is bound."),
            Column::string("ParamRef", "The parameters of the policy."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &MutatingAdmissionPolicyBinding, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        Some(vec![
            cell::name(&object.metadata),
            cell::text(&spec.policy_name),
            super::param_ref(spec.param_ref.as_ref()).into(),
            cell::age(&object.metadata, now),
        ])
    }
}
