//! ValidatingAdmissionPolicy: admission rules written in CEL.

use k8s_openapi::api::admissionregistration::v1::{AuditAnnotation, ValidatingAdmissionPolicy, Validation};
use serde_json::Value;

use super::expressions;
use super::policy::{self, Policy};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};
use crate::server::validation;
use crate::server::validation::cel::{Environment, Type};

pub struct ValidatingAdmissionPolicies;

impl Strategy for ValidatingAdmissionPolicies {
    type Kind = ValidatingAdmissionPolicy;

    fn meta(&self) -> Meta {
        Meta {
            categories: &["api-extensions"],
            subresources: const { &[Subresource::status("ValidatingAdmissionPolicy")] },
            status_only: true,
            generation: true,
            unconditional_update: false,
            ..Meta::cluster::<ValidatingAdmissionPolicy>("validatingadmissionpolicies")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut ValidatingAdmissionPolicy) {
        let Some(spec) = &mut object.spec else { return };
        crate::server::kinds::defaults::absent_text(&mut spec.failure_policy, "Fail");
        spec.match_constraints.iter_mut().for_each(policy::complete);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::integer(
                "Validations",
                "Validations indicates the number of validation rules defined in this configuration",
            ),
            Column::string("ParamKind", "ParamKind specifies the kind of resources used to parameterize this policy"),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &ValidatingAdmissionPolicy, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        Some(vec![
            cell::name(&object.metadata),
            spec.validations.map_or(0, |found| found.len()).into(),
            policy::shown_kind(spec.param_kind.as_ref()).into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(&self, new: &ValidatingAdmissionPolicy, _old: Option<&ValidatingAdmissionPolicy>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let spec = new.spec.clone().unwrap_or_default();
        let environment = policy::policy(&mut errors, &path, &Policy::from(&spec));
        let checks = spec.validations.as_deref().unwrap_or_default();
        let annotations = spec.audit_annotations.as_deref().unwrap_or_default();
        if checks.is_empty() && annotations.is_empty() {
            for field in ["validations", "auditAnnotations"] {
                let detail = "validations or auditAnnotations must contain at least one item";
                errors.push(Error::required(&path.child(field), detail));
            }
        }
        for (at, check) in checks.iter().enumerate() {
            self::check(&mut errors, &path.child("validations").index(at), check, &environment);
        }
        let name = new.metadata.name.as_deref().unwrap_or_default();
        self::annotations(&mut errors, &path.child("auditAnnotations"), name, annotations, &environment);
        errors
    }

    fn validate_status(&self, new: &ValidatingAdmissionPolicy, _old: &ValidatingAdmissionPolicy) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("status");
        let status = new.status.clone().unwrap_or_default();
        let warnings = status.type_checking.and_then(|checking| checking.expression_warnings).unwrap_or_default();
        for (at, warning) in warnings.iter().enumerate() {
            let path = path.child("typeChecking").child("expressionWarnings").index(at);
            validation::required(&mut errors, &path.child("warning"), &warning.warning);
            validation::required(&mut errors, &path.child("fieldRef"), warning.field_ref.trim());
        }
        validation::conditions::conditions(&mut errors, &path.child("conditions"), status.conditions.as_ref());
        errors
    }
}

fn check(errors: &mut Errors, path: &Path, check: &Validation, environment: &Environment) {
    let here = path.child("expression");
    if check.expression.trim().is_empty() {
        errors.push(Error::required(&here, "expression is not specified"));
    } else {
        expressions::check(errors, &here, &check.expression, environment, &[Type::Bool]);
    }
    let blank = |text: &str| !text.is_empty() && text.trim().is_empty();
    let expression = validation::text(&check.message_expression);
    let here = path.child("messageExpression");
    if blank(expression) {
        errors.push(Error::invalid(&here, expression, "must be non-empty if specified"));
    } else if !expression.is_empty() {
        // A message may not depend on who may do what.
        let mut environment = environment.clone();
        environment.variables.retain(|(name, _)| !name.starts_with("authorizer"));
        expressions::check(errors, &here, expression, &environment, &[Type::String]);
    }
    let message = validation::text(&check.message);
    if blank(message) {
        let detail = "message must be non-empty if specified";
        errors.push(Error::invalid(&path.child("message"), message, detail));
    } else if message.trim().contains(['\n', '\r']) {
        errors.push(Error::invalid(&path.child("message"), message, "message must not contain line breaks"));
    }
    let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
    validation::optional_one_of(errors, &path.child("reason"), &check.reason, &reasons);
}

const ANNOTATIONS_MAX: usize = 20;
const EXPRESSION_MAX: usize = 5 * 1024;

fn annotations(
    errors: &mut Errors,
    path: &Path,
    name: &str,
    annotations: &[AuditAnnotation],
    environment: &Environment,
) {
    if annotations.len() > ANNOTATIONS_MAX {
        let detail = format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations");
        errors.push(Error::invalid(path, validation::json(&annotations), detail));
    }
    for (at, annotation) in annotations.iter().enumerate() {
        let path = path.index(at);
        // The audit log shows the key with the policy's name before it.
        let whole = format!("{name}/{}", annotation.key);
        validation::named(errors, &path.child("key"), &whole, names::qualified_name(&whole));
        let here = path.child("valueExpression");
        let expression = annotation.value_expression.as_str();
        match expression.trim().len() {
            0 => errors.push(Error::required(&here, "valueExpression is not specified")),
            length if length > EXPRESSION_MAX => {
                errors.push(Error::required(&here, format!("must not exceed {EXPRESSION_MAX} bytes in length")));
            }
            _ => expressions::check(errors, &here, expression.trim(), environment, &[Type::String, Type::Null]),
        }
        if annotations[..at].iter().any(|other| other.key == annotation.key) {
            errors.push(Error::duplicate(&path.child("key"), annotation.key.as_str()));
        }
    }
}
