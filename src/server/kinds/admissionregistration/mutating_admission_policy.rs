//! MutatingAdmissionPolicy: mutations written in CEL.

use k8s_openapi::api::admissionregistration::v1::{MutatingAdmissionPolicy, Mutation};
use serde_json::Value;

use super::expressions;
use super::policy::{self, Policy};
use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;
use crate::server::validation::cel::{Environment, Type};

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
        crate::server::kinds::defaults::absent_text(&mut spec.failure_policy, "Fail");
        spec.match_constraints.iter_mut().for_each(policy::complete);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::integer(
                "Mutations",
                "Mutation indicates the number of mutations rules defined in this configuration",
            ),
            Column::string("ParamKind", "ParamKind specifies the kind of resources used to parameterize this policy"),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &MutatingAdmissionPolicy, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        Some(vec![
            cell::name(&object.metadata),
            spec.mutations.map_or(0, |found| found.len()).into(),
            policy::shown_kind(spec.param_kind.as_ref()).into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(&self, new: &MutatingAdmissionPolicy, _old: Option<&MutatingAdmissionPolicy>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let spec = new.spec.clone().unwrap_or_default();
        let environment = policy::policy(&mut errors, &path, &Policy::from(&spec));
        let environment = Environment { patches: true, ..environment };
        policy::mutable(&mut errors, &path.child("matchConstraints"), spec.match_constraints.as_ref());
        let here = path.child("mutations");
        let mutations = spec.mutations.as_deref().unwrap_or_default();
        if mutations.is_empty() {
            errors.push(Error::required(&here, "mutations must contain at least one item"));
        }
        for (at, mutation) in mutations.iter().enumerate() {
            self::mutation(&mut errors, &here.index(at), mutation, &environment);
        }
        let reinvocation = validation::text(&spec.reinvocation_policy);
        validation::one_of(&mut errors, &path.child("reinvocationPolicy"), reinvocation, &["IfNeeded", "Never"]);
        errors
    }
}

const KINDS: [&str; 2] = ["ApplyConfiguration", "JSONPatch"];

/// One patch, of the type that it names.
fn mutation(errors: &mut Errors, path: &Path, mutation: &Mutation, environment: &Environment) {
    let parts = [
        (
            "ApplyConfiguration",
            "applyConfiguration",
            mutation.apply_configuration.as_ref().map(|patch| validation::text(&patch.expression)),
            Type::Opaque("Object"),
        ),
        (
            "JSONPatch",
            "jsonPatch",
            mutation.json_patch.as_ref().map(|patch| validation::text(&patch.expression)),
            Type::list(Type::Opaque("JSONPatch")),
        ),
    ];
    let kind = mutation.patch_type.as_str();
    validation::one_of(errors, &path.child("patchType"), kind, &KINDS);
    for (of, field, part, wanted) in parts {
        let here = path.child(field);
        match part {
            None if of == kind => {
                errors.push(Error::required(&here, format!("must be specified when patchType is {of}")));
            }
            Some(_) if of != kind && KINDS.contains(&kind) => {
                let detail = format!("must not be specified when patchType is {kind}");
                errors.push(Error::invalid(&here, format!("{{{field}}}"), detail));
            }
            Some(expression) if of == kind => {
                let here = here.child("expression");
                match expression.trim() {
                    "" => errors.push(Error::required(&here, "")),
                    expression => expressions::check(errors, &here, expression, environment, &[wanted]),
                }
            }
            _ => {}
        }
    }
}
