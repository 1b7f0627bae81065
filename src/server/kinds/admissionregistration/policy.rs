//! What the two kinds of admission policies, and the two of their bindings, have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, MutatingAdmissionPolicySpec, ParamKind, ParamRef, ValidatingAdmissionPolicySpec,
    Variable,
};

use super::{expressions, rules};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell::{self, UNSET};
use crate::server::kinds::defaults::absent_text;
use crate::server::validation::cel::{self, Environment, Object, Type};
use crate::server::validation::{self, labels, one_in_order, optional_one_of};

/// The defaults of what a policy matches.
pub fn complete(resources: &mut MatchResources) {
    absent_text(&mut resources.match_policy, "Equivalent");
    resources.namespace_selector.get_or_insert_default();
    resources.object_selector.get_or_insert_default();
    let rules = resources.resource_rules.iter_mut().chain(&mut resources.exclude_resource_rules);
    rules.flatten().for_each(|rule| absent_text(&mut rule.scope, "*"));
}

/// `apps/v1/Deployment`.
pub fn shown_kind(kind: Option<&ParamKind>) -> String {
    let Some(kind) = kind else { return UNSET.to_owned() };
    format!("{}/{}", validation::text(&kind.api_version), validation::text(&kind.kind))
}

/// `namespace/name` of the parameters a binding uses, or `*` where a selector picks them.
pub fn shown_parameters(reference: Option<&ParamRef>) -> String {
    let Some(reference) = reference else { return UNSET.to_owned() };
    let name = cell::or(reference.name.as_deref(), "*");
    match reference.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("{namespace}/{name}"),
        None => format!("*/{name}"),
    }
}

/// The part of a policy that says what it looks at.
pub struct Policy<'a> {
    failure_policy: &'a Option<String>,
    param_kind: Option<&'a ParamKind>,
    constraints: Option<&'a MatchResources>,
    conditions: Option<&'a Vec<MatchCondition>>,
    variables: &'a [Variable],
}

macro_rules! policy {
    ($spec:ty) => {
        impl<'a> From<&'a $spec> for Policy<'a> {
            fn from(spec: &'a $spec) -> Self {
                Self {
                    failure_policy: &spec.failure_policy,
                    param_kind: spec.param_kind.as_ref(),
                    constraints: spec.match_constraints.as_ref(),
                    conditions: spec.match_conditions.as_ref(),
                    variables: spec.variables.as_deref().unwrap_or_default(),
                }
            }
        }
    };
}

policy!(MutatingAdmissionPolicySpec);
policy!(ValidatingAdmissionPolicySpec);

/// Checks a policy, and gives what its own expressions may name: its variables too.
pub fn policy(errors: &mut Errors, path: &Path, policy: &Policy) -> Environment {
    optional_one_of(errors, &path.child("failurePolicy"), policy.failure_policy, &["Fail", "Ignore"]);
    if let Some(kind) = policy.param_kind {
        param_kind(errors, &path.child("paramKind"), kind);
    }
    let here = path.child("matchConstraints");
    match policy.constraints {
        None => errors.push(Error::required(&here, "")),
        Some(constraints) => {
            match_resources(errors, &here, constraints);
            if constraints.resource_rules.as_ref().is_none_or(Vec::is_empty) {
                errors.push(Error::required(&here.child("resourceRules"), ""));
            }
        }
    }
    let parameters = policy.param_kind.is_some();
    rules::match_conditions(errors, &path.child("matchConditions"), policy.conditions, parameters);
    let mut environment = expressions::authorizing(parameters);
    let mut variables = Object { name: "kubernetes.variables".to_owned(), fields: BTreeMap::new() };
    for (at, variable) in policy.variables.iter().enumerate() {
        let path = path.child("variables").index(at);
        let name = variable.name.as_str();
        if name.trim().is_empty() {
            errors.push(Error::required(&path.child("name"), "name is not specified"));
        } else if !is_identifier(name) {
            errors.push(Error::invalid(&path.child("name"), name, "name is not a valid CEL identifier"));
        }
        let (here, expression) = (path.child("expression"), variable.expression.as_str());
        if expression.trim().is_empty() {
            errors.push(Error::required(&here, "expression is not specified"));
            continue;
        }
        let mut seen = environment.clone();
        seen.variables.push(("variables", Type::Object(Arc::new(variables.clone()))));
        let found = cel::compile(expression, &seen).unwrap_or_else(|issues| {
            errors.push(Error::invalid(&here, expression, format!("compilation failed: {issues}")));
            Type::Error
        });
        variables.fields.insert(name.to_owned(), found);
    }
    environment.variables.push(("variables", Type::Object(Arc::new(variables))));
    environment
}

fn is_identifier(name: &str) -> bool {
    // Names that CEL keeps for later.
    const LATER: [&str; 3] = ["var", "void", "while"];
    let fits = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    name.bytes().all(fits)
        && !name.as_bytes()[0].is_ascii_digit()
        && !cel::RESERVED.contains(&name)
        && !LATER.contains(&name)
}

fn param_kind(errors: &mut Errors, path: &Path, kind: &ParamKind) {
    let (here, api_version) = (path.child("apiVersion"), validation::text(&kind.api_version));
    if api_version.is_empty() {
        errors.push(Error::required(&here, ""));
    } else if api_version.matches('/').count() > 1 {
        errors.push(Error::invalid(&here, api_version, format!("unexpected GroupVersion string: {api_version}")));
    } else {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if !group.is_empty() {
            joined(errors, &here, group, "", names::dns1123_subdomain(group));
        }
        if version.is_empty() {
            errors.push(Error::invalid(&here, api_version, "version must be specified"));
        } else {
            joined(errors, &here, version, "", names::dns1035_label(version));
        }
    }
    let (here, kind) = (path.child("kind"), validation::text(&kind.kind));
    if kind.is_empty() {
        errors.push(Error::required(&here, ""));
    } else {
        let intro = "may have mixed case, but should otherwise match: ";
        joined(errors, &here, kind, intro, names::dns1035_label(&kind.to_lowercase()));
    }
}

/// All problems of a name as one error.
fn joined(errors: &mut Errors, path: &Path, value: &str, intro: &str, problems: names::Problems) {
    if !problems.is_empty() {
        errors.push(Error::invalid(path, value, format!("{intro}{}", problems.join(","))));
    }
}

fn match_resources(errors: &mut Errors, path: &Path, resources: &MatchResources) {
    optional_one_of(errors, &path.child("matchPolicy"), &resources.match_policy, &["Equivalent", "Exact"]);
    labels::selector(errors, &path.child("namespaceSelector"), resources.namespace_selector.as_ref());
    labels::selector(errors, &path.child("objectSelector"), resources.object_selector.as_ref());
    let lists =
        [("resourceRules", &resources.resource_rules), ("excludeResourceRules", &resources.exclude_resource_rules)];
    for (field, list) in lists {
        for (at, rule) in list.iter().flatten().enumerate() {
            rules::named_rule(errors, &path.child(field).index(at), rule);
        }
    }
}

/// There is nothing to mutate in a deletion.
pub fn mutable(errors: &mut Errors, path: &Path, resources: Option<&MatchResources>) {
    const SUPPORTED: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];
    let rules = resources.and_then(|resources| resources.resource_rules.as_ref()).into_iter().flatten();
    for operation in rules.flat_map(|rule| rule.operations.iter().flatten()) {
        if !SUPPORTED.contains(&operation.as_str()) {
            let path = path.child("resourceRules").child("operations");
            errors.push(Error::not_supported(&path, operation.as_str(), &SUPPORTED));
        }
    }
}

/// Which policy applies where, with which parameters.
pub fn binding(errors: &mut Errors, policy: &str, parameters: Option<&ParamRef>, resources: Option<&MatchResources>) {
    let path = Path::new("spec");
    validation::required_name(errors, &path.child("policyName"), policy, names::dns1123_subdomain);
    if let Some(parameters) = parameters {
        param_ref(errors, &path.child("paramRef"), parameters);
    }
    if let Some(resources) = resources {
        match_resources(errors, &path.child("matchResources"), resources);
    }
}

fn param_ref(errors: &mut Errors, path: &Path, reference: &ParamRef) {
    let name = validation::text(&reference.name);
    validation::named(errors, &path.child("name"), name, names::path_segment_name(name));
    labels::selector(errors, &path.child("selector"), reference.selector.as_ref());
    match (name.is_empty(), &reference.selector) {
        (false, Some(_)) => {
            for field in ["name", "selector"] {
                errors.push(Error::forbidden(&path.child(field), "name and selector are mutually exclusive"));
            }
        }
        (true, None) => errors.push(Error::required(path, "one of name or selector must be specified")),
        _ => {}
    }
    let action = validation::text(&reference.parameter_not_found_action);
    one_in_order(errors, &path.child("parameterNotFoundAction"), action, &["Deny", "Allow"]);
}
