//! Which requests a webhook or a policy sees: operations on resources, and conditions.

use std::collections::HashSet;

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, NamedRuleWithOperations, RuleWithOperations};

use super::expressions;
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::cel::Type;
use crate::server::validation::{json, named, optional_one_of};

const CONDITIONS_MAX: usize = 64;

fn list(list: &Option<Vec<String>>) -> &[String] {
    list.as_deref().unwrap_or_default()
}

/// A list with something in it, in which `*` stands alone.
fn wildcard(errors: &mut Errors, path: &Path, list: &[String], what: &str) {
    if list.is_empty() {
        errors.push(Error::required(path, ""));
    }
    if list.len() > 1 && list.iter().any(|item| item == "*") {
        errors.push(Error::invalid(path, json(&list), format!("if '*' is present, must not specify other {what}")));
    }
}

pub fn rule(errors: &mut Errors, path: &Path, rule: &RuleWithOperations) {
    let here = path.child("operations");
    wildcard(errors, &here, list(&rule.operations), "operations");
    let supported = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    for (at, operation) in list(&rule.operations).iter().enumerate() {
        if !supported.contains(&operation.as_str()) {
            errors.push(Error::not_supported(&here.index(at), operation.as_str(), &supported));
        }
    }
    wildcard(errors, &path.child("apiGroups"), list(&rule.api_groups), "API groups");
    let here = path.child("apiVersions");
    wildcard(errors, &here, list(&rule.api_versions), "API versions");
    for (at, _) in list(&rule.api_versions).iter().enumerate().filter(|(_, version)| version.is_empty()) {
        errors.push(Error::required(&here.index(at), ""));
    }
    resources(errors, &path.child("resources"), list(&rule.resources));
    optional_one_of(errors, &path.child("scope"), &rule.scope, &["*", "Cluster", "Namespaced"]);
}

pub fn named_rule(errors: &mut Errors, path: &Path, named_rule: &NamedRuleWithOperations) {
    let here = path.child("resourceNames");
    let resource_names = list(&named_rule.resource_names);
    for (at, name) in resource_names.iter().enumerate() {
        named(errors, &here.index(at), name, names::path_segment_name(name));
        if resource_names[..at].contains(name) {
            errors.push(Error::duplicate(&here.index(at), name.as_str()));
        }
    }
    let operations = RuleWithOperations {
        api_groups: named_rule.api_groups.clone(),
        api_versions: named_rule.api_versions.clone(),
        operations: named_rule.operations.clone(),
        resources: named_rule.resources.clone(),
        scope: named_rule.scope.clone(),
    };
    rule(errors, path, &operations);
}

/// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`, `*/*`: none that another one includes.
fn resources(errors: &mut Errors, path: &Path, resources: &[String]) {
    if resources.is_empty() {
        errors.push(Error::required(path, ""));
    }
    let (mut all_of, mut all_with) = (HashSet::new(), HashSet::new());
    for (at, resource) in resources.iter().enumerate() {
        let path = path.index(at);
        if resource.is_empty() {
            errors.push(Error::required(&path, ""));
        }
        let Some((name, sub)) = resource.split_once('/') else { continue };
        if all_of.contains(name) {
            let detail = format!("if '{name}/*' is present, must not specify {resource}");
            errors.push(Error::invalid(&path, resource.as_str(), detail));
        }
        if all_with.contains(sub) {
            let detail = format!("if '*/{sub}' is present, must not specify {resource}");
            errors.push(Error::invalid(&path, resource.as_str(), detail));
        }
        if sub == "*" {
            all_of.insert(name);
        }
        if name == "*" {
            all_with.insert(sub);
        }
    }
    let has = |wanted: &str| resources.iter().any(|resource| resource == wanted);
    if resources.len() > 1 && has("*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.push(Error::invalid(path, json(&resources), detail));
    }
    // Upstream remembers the last one only.
    let plain = resources.iter().rfind(|resource| !resource.is_empty() && !resource.contains('/'));
    if has("*") && plain.is_some_and(|resource| resource != "*") {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(Error::invalid(path, json(&resources), detail));
    }
}

/// Conditions on requests; those of policies may look at `parameters`.
pub fn match_conditions(errors: &mut Errors, path: &Path, conditions: Option<&Vec<MatchCondition>>, parameters: bool) {
    let conditions = conditions.map_or(&[][..], Vec::as_slice);
    let environment = expressions::authorizing(parameters);
    if conditions.len() > CONDITIONS_MAX {
        errors.push(Error::too_many(path, conditions.len(), CONDITIONS_MAX));
    }
    for (at, condition) in conditions.iter().enumerate() {
        let path = path.index(at);
        let here = path.child("expression");
        match condition.expression.trim() {
            "" => errors.push(Error::required(&here, "")),
            expression => expressions::check(errors, &here, expression, &environment, &[Type::Bool]),
        }
        let (path, name) = (path.child("name"), condition.name.as_str());
        if name.is_empty() {
            errors.push(Error::required(&path, ""));
            continue;
        }
        named(errors, &path, name, names::qualified_name(name));
        if conditions[..at].iter().any(|other| other.name == name) {
            errors.push(Error::duplicate(&path, name));
        }
    }
}
