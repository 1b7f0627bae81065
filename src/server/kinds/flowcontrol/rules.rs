//! Which requests a FlowSchema takes: subjects, and resources or paths that they ask for.

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchemaSpec, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::{json, named, required};

const PRECEDENCE_MAX: i32 = 10_000;
const VERBS: &[&str] = &["get", "list", "create", "update", "delete", "deletecollection", "patch", "watch", "proxy"];

pub fn flow_schema(name: &str, spec: &FlowSchemaSpec) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let (here, precedence) = (path.child("matchingPrecedence"), spec.matching_precedence.unwrap_or(0));
    if precedence <= 0 {
        errors.push(Error::invalid(&here, precedence, "must be a positive value"));
    }
    if precedence > PRECEDENCE_MAX {
        errors.push(Error::invalid(&here, precedence, format!("must not be greater than {PRECEDENCE_MAX}")));
    }
    if precedence == 1 && name != "exempt" {
        let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
        errors.push(Error::invalid(&here, precedence, detail));
    }
    let methods = ["ByNamespace", "ByUser"];
    if let Some(method) = spec.distinguisher_method.as_ref().filter(|method| !methods.contains(&method.type_.as_str()))
    {
        let value = serde_json::json!({"Type": method.type_});
        errors.push(Error::not_supported(&path.child("distinguisherMethod").child("type"), value, &methods));
    }
    let (here, level) =
        (path.child("priorityLevelConfiguration").child("name"), &spec.priority_level_configuration.name);
    if level.is_empty() {
        errors.push(Error::required(&here, "must reference a priority level"));
    } else {
        named(&mut errors, &here, level, names::dns1123_subdomain(level));
    }
    for (at, rule) in spec.rules.iter().flatten().enumerate() {
        with_subjects(&mut errors, &path.child("rules").index(at), rule);
    }
    errors
}

fn with_subjects(errors: &mut Errors, path: &Path, rule: &PolicyRulesWithSubjects) {
    if rule.subjects.is_empty() {
        errors.push(Error::required(&path.child("subjects"), "subjects must contain at least one value"));
    }
    for (at, one) in rule.subjects.iter().enumerate() {
        subject(errors, &path.child("subjects").index(at), one);
    }
    let resources = rule.resource_rules.as_deref().unwrap_or_default();
    let others = rule.non_resource_rules.as_deref().unwrap_or_default();
    if resources.is_empty() && others.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(Error::required(path, detail));
    }
    for (at, rule) in resources.iter().enumerate() {
        resource_rule(errors, &path.child("resourceRules").index(at), rule);
    }
    for (at, rule) in others.iter().enumerate() {
        non_resource_rule(errors, &path.child("nonResourceRules").index(at), rule);
    }
}

/// Exactly the part that belongs to the kind of subject.
fn subject(errors: &mut Errors, path: &Path, subject: &Subject) {
    let parts = [
        ("ServiceAccount", "serviceAccount", subject.service_account.is_some()),
        ("User", "user", subject.user.is_some()),
        ("Group", "group", subject.group.is_some()),
    ];
    let kind = subject.kind.as_str();
    if !parts.iter().any(|(known, ..)| *known == kind) {
        errors.push(Error::not_supported(&path.child("kind"), kind, &["Group", "ServiceAccount", "User"]));
        return;
    }
    for (of, field, present) in parts {
        let here = path.child(field);
        match (of == kind, present) {
            (true, false) => {
                errors.push(Error::required(&here, format!("{field} is required when subject kind is '{of}'")));
            }
            (false, true) => {
                let detail = format!("{field} is forbidden when subject kind is not '{of}'");
                errors.push(Error::forbidden(&here, detail));
            }
            _ => {}
        }
    }
    match (kind, &subject.service_account, &subject.user, &subject.group) {
        ("User", _, Some(user), _) => required(errors, &path.child("user").child("name"), &user.name),
        ("Group", _, _, Some(group)) => required(errors, &path.child("group").child("name"), &group.name),
        ("ServiceAccount", Some(account), ..) => {
            let path = path.child("serviceAccount");
            required(errors, &path.child("name"), &account.name);
            if !matches!(account.name.as_str(), "" | "*") {
                named(errors, &path.child("name"), &account.name, names::dns1123_subdomain(&account.name));
            }
            let (path, namespace) = (path.child("namespace"), &account.namespace);
            if namespace.is_empty() {
                errors.push(Error::required(&path, "must specify namespace for service account"));
            } else {
                named(errors, &path, namespace, names::dns1123_label(namespace));
            }
        }
        _ => {}
    }
}

fn all(list: &[String]) -> bool {
    list.iter().any(|item| item == "*")
}

/// A list that is not empty, and in which `*` stands alone.
fn wildcard(errors: &mut Errors, path: &Path, list: &[String], what: &str, missing: &str) {
    if list.is_empty() {
        errors.push(Error::required(path, missing));
    } else if list.len() > 1 && all(list) {
        let detail = format!("if '*' is present, must not specify other {what}");
        errors.push(Error::invalid(path, json(&list), detail));
    }
}

fn verbs(errors: &mut Errors, path: &Path, verbs: &[String]) {
    wildcard(errors, path, verbs, "verbs", "verbs must contain at least one value");
    if !all(verbs) && verbs.iter().any(|verb| !VERBS.contains(&verb.as_str())) {
        errors.push(Error::not_supported(path, json(&verbs), VERBS));
    }
}

fn non_resource_rule(errors: &mut Errors, path: &Path, rule: &NonResourcePolicyRule) {
    verbs(errors, &path.child("verbs"), &rule.verbs);
    let path = path.child("nonResourceURLs");
    let urls = &rule.non_resource_urls;
    let missing = "nonResourceURLs must contain at least one value";
    wildcard(errors, &path, urls, "non-resource URLs", missing);
    for (at, url) in urls.iter().enumerate().filter(|_| !all(urls)) {
        if let Some(problem) = url_problem(url) {
            errors.push(Error::invalid(&path.index(at), url.as_str(), problem));
        }
    }
}

fn url_problem(url: &str) -> Option<&'static str> {
    let stars = url.matches('*').count();
    match () {
        () if url.is_empty() => Some("must not be empty"),
        () if url == "/" => None,
        () if !url.starts_with('/') => Some("must start with slash"),
        () if url.contains(' ') => Some("must not contain white-space"),
        () if url.contains("//") => Some("must not contain double slash"),
        () if stars > 1 || (stars == 1 && !url.ends_with("/*")) => Some("wildcard can only do suffix matching"),
        () => None,
    }
}

fn resource_rule(errors: &mut Errors, path: &Path, rule: &ResourcePolicyRule) {
    verbs(errors, &path.child("verbs"), &rule.verbs);
    let missing = "resource rules must supply at least one api group";
    wildcard(errors, &path.child("apiGroups"), &rule.api_groups, "api groups", missing);
    let missing = "resource rules must supply at least one resource";
    wildcard(errors, &path.child("resources"), &rule.resources, "resources", missing);
    let path = path.child("namespaces");
    let namespaces = rule.namespaces.as_deref().unwrap_or_default();
    if !namespaces.is_empty() || rule.cluster_scope != Some(true) {
        let missing = "resource rules that are not cluster scoped must supply at least one namespace";
        wildcard(errors, &path, namespaces, "namespaces", missing);
    }
    for (at, name) in namespaces.iter().enumerate().filter(|_| !all(namespaces)) {
        for problem in names::dns1123_label(name) {
            let detail = format!("each member of this list must be '*' or a DNS-1123 label; {problem}");
            errors.push(Error::invalid(&path.index(at), name.as_str(), detail));
        }
    }
}
