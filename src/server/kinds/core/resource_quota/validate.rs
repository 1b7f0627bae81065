//! The rules of quotas: known resources, and scopes that fit them and each other.

use k8s_openapi::api::core::v1::{ResourceQuotaSpec, ScopedResourceSelectorRequirement};

use crate::api::field::{Error, Errors, Path};
use crate::server::validation::{internal, json, resources};

const COMPUTE: &[&str] = &["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
/// Scopes that pods are in or not in.
const PLAIN: &[&str] = &["BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "Terminating"];

pub fn spec(errors: &mut Errors, path: &Path, spec: &ResourceQuotaSpec) {
    resources::quota_list(errors, &path.child("hard"), spec.hard.as_ref());
    let scopes = spec.scopes.as_deref().unwrap_or_default();
    let here = path.child("scopes");
    for scope in scopes {
        if !is_scope(scope) {
            errors.push(Error::invalid(&here, json(&scopes), "unsupported scope"));
        }
        for _ in unfit(scope, spec) {
            errors.push(Error::invalid(&here, json(&scopes), "unsupported scope applied to resource"));
        }
    }
    conflicts(errors, &here, scopes.iter().map(String::as_str), spec);
    let Some(selector) = &spec.scope_selector else { return };
    let here = path.child("scopeSelector").child("matchExpressions");
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    for expression in expressions {
        if !is_scope(&expression.scope_name) {
            let path = here.child("scopeName");
            errors.push(Error::invalid(&path, expression.scope_name.as_str(), "unsupported scope"));
        }
        for _ in unfit(&expression.scope_name, spec) {
            let shown = internal::scope_selector(selector);
            errors.push(Error::invalid_shown(&here, &shown, "unsupported scope applied to resource"));
        }
        requirement(errors, &here, expression);
    }
    conflicts(errors, &here, expressions.iter().map(|expression| expression.scope_name.as_str()), spec);
}

fn is_scope(scope: &str) -> bool {
    PLAIN.contains(&scope) || ["PriorityClass", "VolumeAttributesClass"].contains(&scope)
}

/// The resources of a quota that a scope cannot count.
fn unfit<'a>(scope: &'a str, spec: &'a ResourceQuotaSpec) -> impl Iterator<Item = &'a String> {
    let fits = move |name: &str| match scope {
        "BestEffort" => name == "pods",
        "VolumeAttributesClass" => ["persistentvolumeclaims", "requests.storage"].contains(&name),
        scope if is_scope(scope) => name == "pods" || COMPUTE.contains(&name),
        _ => true,
    };
    let names = spec.hard.iter().flat_map(|hard| hard.keys());
    names.filter(move |name| resources::of_quota(name) && !fits(name))
}

fn requirement(errors: &mut Errors, path: &Path, expression: &ScopedResourceSelectorRequirement) {
    let operator = expression.operator.as_str();
    if PLAIN.contains(&expression.scope_name.as_str()) && operator != "Exists" {
        let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.push(Error::invalid(&path.child("operator"), operator, detail));
    }
    let values = expression.values.as_deref().unwrap_or_default();
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.push(Error::required(&path.child("values"), detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.push(Error::invalid(&path.child("values"), json(&values), detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => errors.push(Error::invalid(&path.child("operator"), operator, "not a valid selector operator")),
    }
}

/// No pod is in both scopes of these pairs.
fn conflicts<'a>(errors: &mut Errors, path: &Path, given: impl Iterator<Item = &'a str>, spec: &ResourceQuotaSpec) {
    let given: Vec<_> = given.collect();
    for pair in [["BestEffort", "NotBestEffort"], ["NotTerminating", "Terminating"]] {
        if pair.iter().all(|scope| given.contains(scope)) {
            errors.push(Error::invalid(path, json(&spec.scopes), "conflicting scopes"));
        }
    }
}
