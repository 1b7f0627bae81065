//! ValidatingAdmissionPolicyBinding: where a validating policy applies.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use serde_json::Value;

use super::policy;
use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

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

    fn cells(&self, object: &ValidatingAdmissionPolicyBinding, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = &object.spec;
        Some(vec![
            cell::name(&object.metadata),
            spec.policy_name.clone().into(),
            policy::shown_parameters(spec.param_ref.as_ref()).into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(
        &self,
        new: &ValidatingAdmissionPolicyBinding,
        _old: Option<&ValidatingAdmissionPolicyBinding>,
    ) -> Errors {
        let mut errors = Errors::new();
        let spec = &new.spec;
        let (parameters, resources) = (spec.param_ref.as_ref(), spec.match_resources.as_ref());
        policy::binding(&mut errors, &spec.policy_name, parameters, resources);
        actions(&mut errors, &Path::new("spec").child("validationActions"), &spec.validation_actions);
        errors
    }
}

/// What happens where a validation fails.
fn actions(errors: &mut Errors, path: &Path, actions: &[String]) {
    let supported = ["Audit", "Deny", "Warn"];
    for (at, action) in actions.iter().enumerate() {
        if !supported.contains(&action.as_str()) {
            errors.push(Error::not_supported(&path.index(at), action.as_str(), &supported));
        }
        if actions[..at].contains(action) {
            errors.push(Error::duplicate(&path.index(at), action.as_str()));
        }
    }
    let has = |wanted: &str| actions.iter().any(|action| action == wanted);
    if has("Deny") && has("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.push(Error::invalid(path, validation::json(&actions), detail));
    }
    if actions.is_empty() {
        errors.push(Error::required(path, "at least one validation action is required"));
    }
}
