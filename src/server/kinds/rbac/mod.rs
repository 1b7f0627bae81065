//! Kinds of rbac.authorization.k8s.io.

pub mod cluster_role;
pub mod cluster_role_binding;
pub mod role;
pub mod role_binding;

#[cfg(test)]
mod tables_tests;

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::{cell, defaults};
use crate::server::validation::{json, named, required, required_name, text};

pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// The API groups that a binding leaves out.
fn complete(role: &mut RoleRef, subjects: &mut [Subject]) {
    defaults::text(&mut role.api_group, GROUP);
    for subject in subjects {
        match subject.kind.as_str() {
            "User" | "Group" => defaults::text(&mut subject.api_group, GROUP),
            _ => {}
        }
    }
}

/// Who is bound: users, groups and service accounts, as three cells.
fn subjects(subjects: &[Subject]) -> [Value; 3] {
    let of = |kind: &str| {
        let named = subjects.iter().filter(|subject| subject.kind == kind);
        let names = named.map(|subject| match (kind, &subject.namespace) {
            ("ServiceAccount", Some(namespace)) => format!("{namespace}/{}", subject.name),
            _ => subject.name.clone(),
        });
        Value::from(names.collect::<Vec<_>>().join(", "))
    };
    [of("User"), of("Group"), of("ServiceAccount")]
}

/// A rule names verbs, and either resources or paths.
fn rule(errors: &mut Errors, path: &Path, rule: &PolicyRule, namespaced: bool) {
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if rule.verbs.is_empty() {
        errors.push(Error::required(&path.child("verbs"), "verbs must contain at least one value"));
    }
    if !is_empty(&rule.non_resource_urls) {
        let here = path.child("nonResourceURLs");
        if namespaced {
            let detail = "namespaced rules cannot apply to non-resource URLs";
            errors.push(Error::invalid(&here, json(&rule.non_resource_urls), detail));
        }
        if !is_empty(&rule.api_groups) || !is_empty(&rule.resources) || !is_empty(&rule.resource_names) {
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(Error::invalid(&here, json(&rule.non_resource_urls), detail));
        }
        return;
    }
    if is_empty(&rule.api_groups) {
        let detail = "resource rules must supply at least one api group";
        errors.push(Error::required(&path.child("apiGroups"), detail));
    }
    if is_empty(&rule.resources) {
        let detail = "resource rules must supply at least one resource";
        errors.push(Error::required(&path.child("resources"), detail));
    }
}

/// What a binding grants is chosen once, so that whoever may edit it cannot make it grant more.
fn same_role(errors: &mut Errors, new: &RoleRef, old: Option<&RoleRef>) {
    if old.is_some_and(|old| old != new) {
        let value = serde_json::json!({"APIGroup": text(&new.api_group), "Kind": new.kind, "Name": new.name});
        errors.push(Error::invalid(&Path::new("roleRef"), value, "cannot change roleRef"));
    }
}

fn binding_cells(meta: &ObjectMeta, role: &RoleRef, bound: &[Subject], now: jiff::Timestamp) -> Vec<Value> {
    let [users, groups, accounts] = subjects(bound);
    let role = format!("{}/{}", role.kind, role.name);
    vec![cell::name(meta), role.into(), cell::age(meta, now), users, groups, accounts]
}

fn binding(errors: &mut Errors, role: &RoleRef, subjects: &[Subject], namespaced: bool) {
    let path = Path::new("roleRef");
    if text(&role.api_group) != GROUP {
        errors.push(Error::not_supported(&path.child("apiGroup"), text(&role.api_group), &[GROUP]));
    }
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&role.kind.as_str()) {
        errors.push(Error::not_supported_in_order(&path.child("kind"), role.kind.as_str(), kinds));
    }
    required_name(errors, &path.child("name"), &role.name, names::path_segment_name);
    for (at, subject) in subjects.iter().enumerate() {
        one_subject(errors, &Path::new("subjects").index(at), subject, namespaced);
    }
}

fn one_subject(errors: &mut Errors, path: &Path, subject: &Subject, namespaced: bool) {
    required(errors, &path.child("name"), &subject.name);
    let group = text(&subject.api_group);
    match subject.kind.as_str() {
        "ServiceAccount" => {
            if !subject.name.is_empty() {
                named(errors, &path.child("name"), &subject.name, names::dns1123_subdomain(&subject.name));
            }
            if !group.is_empty() {
                errors.push(Error::not_supported(&path.child("apiGroup"), group, &[""]));
            }
            if !namespaced && text(&subject.namespace).is_empty() {
                errors.push(Error::required(&path.child("namespace"), ""));
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.push(Error::not_supported(&path.child("apiGroup"), group, &[GROUP]));
            }
        }
        kind => {
            let kinds = ["ServiceAccount", "User", "Group"];
            errors.push(Error::not_supported_in_order(&path.child("kind"), kind, &kinds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::validation::lines;
    use serde_json::json;

    #[test]
    fn rules_and_bindings_are_checked() {
        let bad: PolicyRule = serde_json::from_value(json!({"verbs": [], "apiGroups": [""]})).unwrap();
        let mut errors = Errors::new();
        rule(&mut errors, &Path::new("rules").index(0), &bad, true);
        let expected = [
            "rules[0].verbs: Required value: verbs must contain at least one value",
            "rules[0].resources: Required value: resource rules must supply at least one resource",
        ];
        assert_eq!(lines(&errors), expected);
        let mut role: RoleRef = serde_json::from_value(json!({"kind": "Role", "name": "r"})).unwrap();
        let mut subjects: Vec<Subject> =
            serde_json::from_value(json!([{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]))
                .unwrap();
        complete(&mut role, &mut subjects);
        let mut errors = Errors::new();
        binding(&mut errors, &role, &subjects, false);
        let expected = [
            "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
            "subjects[1].namespace: Required value",
        ];
        assert_eq!(lines(&errors), expected);
    }
}
