//! Reads `manifests/rbac/`: rules and subjects as lines, in the form that the files explain. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{AggregationRule, PolicyRule, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;

use super::reconcile::{AUTO_UPDATE, Binding, Preset, Role};

pub const GROUP: &str = "rbac.authorization.k8s.io";
pub const VERSION: &str = "v1";

const CLUSTER_ROLES: &str = include_str!("../../../../manifests/rbac/cluster-roles.yaml");
const CONTROLLER_ROLES: &str = include_str!("../../../../manifests/rbac/controller-roles.yaml");
const BINDINGS: &str = include_str!("../../../../manifests/rbac/bindings.yaml");

type Rules = Vec<String>;

#[derive(Deserialize)]
#[serde(untagged)]
enum RoleEntry {
    Plain(Rules),
    #[serde(rename_all = "camelCase")]
    Aggregated {
        aggregate: Option<String>,
        into: Option<String>,
        #[serde(default)]
        rules: Rules,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum BindingEntry {
    /// Of the role with the binding's own name.
    Same(Vec<String>),
    To {
        role: String,
        subjects: Vec<String>,
    },
}

#[derive(Deserialize)]
struct Namespace {
    roles: BTreeMap<String, Rules>,
    bindings: BTreeMap<String, BindingEntry>,
}

#[derive(Deserialize)]
struct Bindings {
    cluster: BTreeMap<String, BindingEntry>,
    #[serde(flatten)]
    namespaces: BTreeMap<String, Namespace>,
}

/// Every default role and binding.
///
/// # Errors
/// Where a file is not what it says it is; a test keeps that from happening.
pub fn parse() -> Result<Vec<Preset>, serde_yaml_ng::Error> {
    let roles: BTreeMap<String, RoleEntry> = serde_yaml_ng::from_str(CLUSTER_ROLES)?;
    let controllers: BTreeMap<String, Rules> = serde_yaml_ng::from_str(CONTROLLER_ROLES)?;
    let bindings: Bindings = serde_yaml_ng::from_str(BINDINGS)?;
    let mut all: Vec<Preset> = roles.into_iter().map(|(name, entry)| Preset::Role(cluster_role(name, entry))).collect();
    for (controller, rules) in controllers {
        let name = format!("system:controller:{controller}");
        let account = vec![format!("ServiceAccount kube-system/{controller}")];
        all.push(Preset::Role(role("", name.clone(), &rules)));
        all.push(Preset::Binding(binding("", name, BindingEntry::Same(account))));
    }
    let cluster = bindings.cluster.into_iter().map(|(name, entry)| Preset::Binding(binding("", name, entry)));
    all.extend(cluster);
    for (namespace, Namespace { roles, bindings }) in bindings.namespaces {
        all.extend(roles.into_iter().map(|(name, rules)| Preset::Role(role(&namespace, name, &rules))));
        all.extend(bindings.into_iter().map(|(name, entry)| Preset::Binding(binding(&namespace, name, entry))));
    }
    Ok(all)
}

fn metadata(namespace: &str, name: String) -> ObjectMeta {
    let pair = |key: &str, value: &str| Some([(key.to_owned(), value.to_owned())].into());
    ObjectMeta {
        name: Some(name),
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        labels: pair("kubernetes.io/bootstrapping", "rbac-defaults"),
        annotations: pair(AUTO_UPDATE, "true"),
        ..ObjectMeta::default()
    }
}

fn kind(cluster: &str, namespaced: &str, namespace: &str) -> String {
    if namespace.is_empty() { cluster } else { namespaced }.to_owned()
}

fn role(namespace: &str, name: String, rules: &[String]) -> Role {
    Role {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: kind("ClusterRole", "Role", namespace),
        metadata: metadata(namespace, name),
        aggregation_rule: None,
        rules: Some(rules.iter().map(|line| rule(line)).collect()),
    }
}

fn aggregate_to(name: &str) -> (String, String) {
    (format!("{GROUP}/aggregate-to-{name}"), "true".to_owned())
}

fn cluster_role(name: String, entry: RoleEntry) -> Role {
    let (aggregate, into, rules) = match entry {
        RoleEntry::Plain(rules) => return role("", name, &rules),
        RoleEntry::Aggregated { aggregate, into, rules } => (aggregate, into, rules),
    };
    let mut role = role("", name, &rules);
    role.metadata.labels.get_or_insert_default().extend(into.as_deref().map(aggregate_to));
    if let Some(from) = aggregate {
        let selector = LabelSelector { match_labels: Some([aggregate_to(&from)].into()), match_expressions: None };
        role.aggregation_rule = Some(AggregationRule { cluster_role_selectors: Some(vec![selector]) });
        role.rules = None;
    }
    role
}

fn binding(namespace: &str, name: String, entry: BindingEntry) -> Binding {
    let (role, subjects) = match entry {
        BindingEntry::Same(subjects) => (name.clone(), subjects),
        BindingEntry::To { role, subjects } => (role, subjects),
    };
    let subjects: Vec<Subject> = subjects.iter().map(|line| subject(line)).collect();
    Binding {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: kind("ClusterRoleBinding", "RoleBinding", namespace),
        metadata: metadata(namespace, name),
        role_ref: RoleRef {
            api_group: Some(GROUP.to_owned()),
            kind: kind("ClusterRole", "Role", namespace),
            name: role,
        },
        subjects: (!subjects.is_empty()).then_some(subjects),
    }
}

fn subject(line: &str) -> Subject {
    let (kind, name) = line.split_once(' ').unwrap_or((line, ""));
    match (kind, name.split_once('/')) {
        ("ServiceAccount", Some((namespace, name))) => Subject {
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace: Some(namespace.to_owned()),
            api_group: None,
        },
        _ => {
            Subject { kind: kind.to_owned(), name: name.to_owned(), namespace: None, api_group: Some(GROUP.to_owned()) }
        }
    }
}

/// One rule from its line: `VERBS RESOURCES [in GROUPS] [named NAMES]` or `VERBS path PATHS`.
pub fn rule(line: &str) -> PolicyRule {
    let mut words = line.split_whitespace();
    let mut next = || words.next().unwrap_or_default();
    let split = |list: &str| -> Vec<String> { list.split(',').map(str::to_owned).collect() };
    let mut rule = PolicyRule { verbs: verbs(next()), ..PolicyRule::default() };
    let mut groups = "core";
    match next() {
        "path" => rule.non_resource_urls = Some(split(next())),
        resources => {
            rule.resources = Some(split(resources));
            loop {
                match next() {
                    "in" => groups = next(),
                    "named" => rule.resource_names = Some(split(next())),
                    _ => break,
                }
            }
            let group = |name: &str| if name == "core" { String::new() } else { name.to_owned() };
            rule.api_groups = Some(groups.split(',').map(group).collect());
        }
    }
    rule
}

/// Sorted, as upstream writes them.
fn verbs(list: &str) -> Vec<String> {
    let expand = |verb| match verb {
        "READ" => "get,list,watch",
        "WRITE" => "create,delete,deletecollection,patch,update",
        verb => verb,
    };
    let mut verbs: Vec<String> = list.split(',').flat_map(|verb| expand(verb).split(',')).map(str::to_owned).collect();
    verbs.sort();
    verbs
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::server::authorization::rules::list;

    #[test]
    fn lines_become_rules() {
        let found = rule("READ,create pods,pods/log in core,apps named a");
        assert_eq!(found.verbs, ["create", "get", "list", "watch"]);
        assert_eq!(list(&found.resources), ["pods", "pods/log"]);
        assert_eq!(list(&found.api_groups), ["", "apps"]);
        assert_eq!(list(&found.resource_names), ["a"]);
        assert_eq!(rule("get nodes").api_groups, Some(vec![String::new()]));
        let found = rule("get path /healthz,/livez");
        assert_eq!(list(&found.non_resource_urls), ["/healthz", "/livez"]);
        assert_eq!((found.resources, found.api_groups), (None, None));
    }

    #[test]
    fn every_manifest_line_says_what_it_means() {
        let all = parse().unwrap();
        let mut names = BTreeSet::new();
        let mut roles = BTreeSet::new();
        for object in &all {
            assert!(names.insert((object.kind().to_owned(), object.namespace().to_owned(), object.name().to_owned())));
            let Preset::Role(role) = object else { continue };
            roles.insert((role.kind.clone(), object.namespace().to_owned(), object.name().to_owned()));
            for rule in role.rules.iter().flatten() {
                let urls = list(&rule.non_resource_urls);
                assert!(urls.is_empty() != list(&rule.resources).is_empty(), "{rule:?}");
                assert!(urls.iter().all(|url| url.starts_with('/') || url == "*"), "{rule:?}");
                let words = rule.verbs.iter().chain(list(&rule.resources)).chain(list(&rule.api_groups));
                assert!(words.clone().all(|word| !word.contains(' ') && *word == word.to_lowercase()), "{rule:?}");
            }
        }
        for object in &all {
            let Preset::Binding(binding) = object else { continue };
            let role = &binding.role_ref;
            let home = if role.kind == "Role" { object.namespace() } else { "" };
            assert!(roles.contains(&(role.kind.clone(), home.to_owned(), role.name.clone())), "{binding:?}");
            for subject in binding.subjects.iter().flatten() {
                assert!(["User", "Group", "ServiceAccount"].contains(&subject.kind.as_str()), "{subject:?}");
                assert_eq!(subject.kind == "ServiceAccount", subject.namespace.is_some(), "{subject:?}");
            }
        }
        let of = |kind: &str| names.iter().filter(|(found, ..)| found == kind).count();
        let counts = [of("ClusterRole"), of("ClusterRoleBinding"), of("Role"), of("RoleBinding")];
        assert_eq!(counts, [69, 51, 7, 7]);
    }
}
