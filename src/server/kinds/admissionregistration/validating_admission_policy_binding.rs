//! ValidatingAdmissionPolicyBinding: where a validating policy applies.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};

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

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("PolicyName", "The policy that is bound."),
            Column::string("ParamRef", "The parameters of the policy."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &ValidatingAdmissionPolicyBinding, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = &object.spec;
        Some(vec![
            cell::name(&object.metadata),
            spec.policy_name.clone().into(),
            super::param_ref(spec.param_ref.as_ref()).into(),
            cell::age(&object.metadata, now),
        ])
    }
}
