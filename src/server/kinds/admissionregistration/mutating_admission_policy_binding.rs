//! MutatingAdmissionPolicyBinding: where a mutating policy applies.

use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;
use serde_json::Value;

use super::policy;
use crate::api::field::{Errors, Path};
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
        spec.match_resources.iter_mut().for_each(policy::complete);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "PolicyName",
                "PolicyName indicates the policy definition which the policy binding binded to",
            ),
            Column::string("ParamRef", "ParamRef indicates the param resource which sets the configration param"),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &MutatingAdmissionPolicyBinding, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        Some(vec![
            cell::name(&object.metadata),
            cell::text(&spec.policy_name),
            policy::shown_parameters(spec.param_ref.as_ref()).into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(&self, new: &MutatingAdmissionPolicyBinding, _old: Option<&MutatingAdmissionPolicyBinding>) -> Errors {
        let mut errors = Errors::new();
        let spec = new.spec.clone().unwrap_or_default();
        let name = spec.policy_name.as_deref().unwrap_or_default();
        policy::binding(&mut errors, name, spec.param_ref.as_ref(), spec.match_resources.as_ref());
        let resources = spec.match_resources.as_ref();
        policy::mutable(&mut errors, &Path::new("spec").child("matchResources"), resources);
        errors
    }
}
