//! Roles and bindings, laid out for the question "what may this user do here": bindings are found
//! by the user and each group, so that a decision costs what is bound to these and not what there is.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::{RoleRules, denied};
use crate::server::authorization::follow;
use crate::server::authorization::{Decision, Granted, rules};
use crate::server::http::route::RequestInfo;
use crate::server::pipeline::user::User;
use crate::store::Item;

const PREFIX: &str = "/registry/rbac.authorization.k8s.io/";

/// Namespace (empty for the cluster) and name.
type Name = (Box<str>, Box<str>);

/// By user or by group, where [`Scope`] says which; a service account is found by its user name.
type BySubject = HashMap<Box<str>, Vec<Arc<Binding>>>;

struct Binding {
    /// Empty for a ClusterRoleBinding.
    namespace: Box<str>,
    name: Box<str>,
    role: RoleRef,
    subjects: Vec<Subject>,
}

/// The bindings of a namespace, or of the cluster.
#[derive(Default)]
struct Scope {
    users: BySubject,
    groups: BySubject,
}

type RulesByRole = HashMap<Box<str>, Arc<[PolicyRule]>>;

#[derive(Default)]
pub struct Index {
    /// Rules by role; a ClusterRole has no namespace.
    roles: HashMap<Box<str>, RulesByRole>,
    scopes: HashMap<Box<str>, Scope>,
    /// What each binding put into the scopes, to take it out again.
    bindings: HashMap<Name, Arc<Binding>>,
}

impl Index {
    /// Allows what any rule of any role bound to the user allows.
    pub fn authorize(&self, user: &User, request: &RequestInfo) -> Decision {
        let mut errors = Vec::new();
        for binding in self.applying(user, &request.namespace) {
            match self.role_rules(&binding.role.kind, &binding.role.name, &binding.namespace) {
                Ok(rules) if rules.iter().any(|rule| rules::allows(rule, request)) => {
                    return Decision::Allow(format!("RBAC: allowed by {}", binding.describe(user)));
                }
                Ok(_) => {}
                Err(error) => errors.push(error),
            }
        }
        denied(&errors)
    }

    pub fn rules_for(&self, user: &User, namespace: &str) -> Granted {
        let mut bindings: Vec<_> = self.applying(user, namespace).collect();
        bindings.sort_by_key(|binding| (&binding.namespace, &binding.name));
        // One that names both the user and a group of theirs counts once.
        bindings.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let mut granted = Granted::default();
        for binding in bindings {
            match self.role_rules(&binding.role.kind, &binding.role.name, &binding.namespace) {
                Ok(rules) => granted.rules.extend(rules.iter().cloned()),
                Err(error) => granted.errors.push(error),
            }
        }
        granted
    }

    /// The rules of a role that a binding of `namespace` names.
    fn role_rules(&self, kind: &str, name: &str, namespace: &str) -> RoleRules {
        let (home, resource) = match kind {
            "Role" => (namespace, "role"),
            "ClusterRole" => ("", "clusterrole"),
            other => return Err(format!("unsupported role reference kind: {other:?}")),
        };
        let found = self.roles.get(home).and_then(|roles| roles.get(name));
        found.cloned().ok_or_else(|| format!("{resource}.rbac.authorization.k8s.io \"{name}\" not found"))
    }

    /// The bindings that name the user or one of their groups: those of the cluster, then the namespace's.
    fn applying<'a>(&'a self, user: &'a User, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Binding>> {
        let local = (!namespace.is_empty()).then_some(namespace);
        let scopes = [Some(""), local].into_iter().flatten().filter_map(|namespace| self.scopes.get(namespace));
        scopes.flat_map(|scope| {
            let groups = user.groups.iter().filter_map(|group| scope.groups.get(group.as_str()));
            scope.users.get(user.name.as_str()).into_iter().chain(groups).flatten()
        })
    }

    fn bind(&mut self, binding: Binding) {
        let key = (binding.namespace.clone(), binding.name.clone());
        self.unbind(&key);
        let binding = Arc::new(binding);
        let scope = self.scopes.entry(binding.namespace.clone()).or_default();
        for subject in &binding.subjects {
            let Some((users, name)) = found_by(subject, &binding.namespace) else { continue };
            let by_name = if users { &mut scope.users } else { &mut scope.groups };
            let bound = by_name.entry(name).or_default();
            if !bound.iter().any(|other| Arc::ptr_eq(other, &binding)) {
                bound.push(binding.clone());
            }
        }
        self.bindings.insert(key, binding);
    }

    fn unbind(&mut self, key: &Name) {
        let Some(binding) = self.bindings.remove(key) else { return };
        let Some(scope) = self.scopes.get_mut(&binding.namespace) else { return };
        for subject in &binding.subjects {
            let Some((users, name)) = found_by(subject, &binding.namespace) else { continue };
            let by_name = if users { &mut scope.users } else { &mut scope.groups };
            if let Some(bound) = by_name.get_mut(&name) {
                bound.retain(|other| !Arc::ptr_eq(other, &binding));
                if bound.is_empty() {
                    by_name.remove(&name);
                }
            }
        }
        if scope.users.is_empty() && scope.groups.is_empty() {
            self.scopes.remove(&binding.namespace);
        }
    }

    fn set_role(&mut self, (namespace, name): Name, rules: Option<Vec<PolicyRule>>) {
        self.roles.entry(namespace).or_default().insert(name, rules.unwrap_or_default().into());
    }
}

/// Whether a subject is found among the users (or else the groups), and under which name.
fn found_by(subject: &Subject, namespace: &str) -> Option<(bool, Box<str>)> {
    match subject.kind.as_str() {
        "User" => Some((true, subject.name.as_str().into())),
        "Group" => Some((false, subject.name.as_str().into())),
        "ServiceAccount" => {
            // An account without a namespace is one of the binding's own.
            let own = subject.namespace.as_deref().filter(|own| !own.is_empty()).unwrap_or(namespace);
            let name = format!("system:serviceaccount:{own}:{}", subject.name);
            (!own.is_empty()).then(|| (true, name.into()))
        }
        _ => None,
    }
}

impl Binding {
    /// For audit logs: the binding, its role, and the first subject that is the user.
    fn describe(&self, user: &User) -> String {
        let (kind, name) = (&self.role.kind, &self.role.name);
        let is_user = |subject: &&Subject| match found_by(subject, &self.namespace) {
            Some((true, name)) => *name == *user.name,
            Some((false, group)) => user.in_group(&group),
            None => false,
        };
        let subject = self.subjects.iter().find(is_user).map(|subject| self.describe_subject(subject));
        let subject = subject.unwrap_or_default();
        match &*self.namespace {
            "" => format!("ClusterRoleBinding {:?} of {kind} {name:?} to {subject}", self.name),
            namespace => {
                format!("RoleBinding {:?} of {kind} {name:?} to {subject}", format!("{}/{namespace}", self.name))
            }
        }
    }

    fn describe_subject(&self, subject: &Subject) -> String {
        let Subject { kind, name, namespace, .. } = subject;
        match kind.as_str() {
            "ServiceAccount" => {
                let own = namespace.as_deref().filter(|own| !own.is_empty()).unwrap_or(&self.namespace);
                format!("{kind} {:?}", format!("{name}/{own}"))
            }
            _ => format!("{kind} {name:?}"),
        }
    }
}

/// The kind and the name that a key stands for.
fn parse(key: &str) -> Option<(&str, Name)> {
    let (plural, rest) = key.strip_prefix(PREFIX)?.split_once('/')?;
    let (namespace, name) = match plural {
        "roles" | "rolebindings" => rest.split_once('/')?,
        _ => ("", rest),
    };
    Some((plural, (namespace.into(), name.into())))
}

impl follow::Index for Index {
    const PREFIXES: &'static [&'static str] = &[PREFIX];

    fn put(&mut self, item: &Item) {
        let Some((plural, name)) = parse(&item.key) else { return };
        let result = match plural {
            "roles" => serde_json::from_slice(&item.value).map(|role: Role| self.set_role(name, role.rules)),
            "clusterroles" => {
                serde_json::from_slice(&item.value).map(|role: ClusterRole| self.set_role(name, role.rules))
            }
            "rolebindings" => serde_json::from_slice(&item.value).map(|binding: RoleBinding| {
                let subjects = binding.subjects.unwrap_or_default();
                self.bind(Binding { namespace: name.0, name: name.1, role: binding.role_ref, subjects });
            }),
            "clusterrolebindings" => serde_json::from_slice(&item.value).map(|binding: ClusterRoleBinding| {
                let subjects = binding.subjects.unwrap_or_default();
                self.bind(Binding { namespace: name.0, name: name.1, role: binding.role_ref, subjects });
            }),
            _ => Ok(()),
        };
        if let Err(error) = result {
            // What it granted before is granted no longer.
            tracing::error!(key = %item.key, %error, "a stored RBAC object cannot be read");
            follow::Index::remove(self, &item.key);
        }
    }

    fn remove(&mut self, key: &str) {
        let Some((plural, name)) = parse(key) else { return };
        match plural {
            "roles" | "clusterroles" => {
                if let Some(roles) = self.roles.get_mut(&name.0) {
                    roles.remove(&name.1);
                    if roles.is_empty() {
                        self.roles.remove(&name.0);
                    }
                }
            }
            "rolebindings" | "clusterrolebindings" => self.unbind(&name),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::follow::Index as _;
    use super::*;

    fn with(index: &mut Index, path: &str, object: Value) {
        let key = format!("{PREFIX}{path}");
        index.put(&Item { key: key.into(), value: object.to_string().into(), revision: 1 });
    }

    fn world() -> Index {
        let mut index = Index::default();
        let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        with(&mut index, "clusterroles/reader", json!({"metadata": {}, "rules": rules}));
        with(&mut index, "roles/a/reader", json!({"metadata": {}, "rules": rules}));
        let to = |kind: &str, name: &str| json!({"kind": kind, "name": name, "apiGroup": ""});
        let bind = |role: Value, subjects: Value| json!({"metadata": {}, "roleRef": role, "subjects": subjects});
        let all = json!([to("Group", "readers"), to("User", "rita")]);
        with(&mut index, "clusterrolebindings/all", bind(to("ClusterRole", "reader"), all));
        let local = json!([to("ServiceAccount", "bot"), {"kind": "ServiceAccount", "name": "bot", "namespace": "b"}]);
        with(&mut index, "rolebindings/a/local", bind(to("Role", "reader"), local));
        with(&mut index, "rolebindings/a/lost", bind(to("Role", "gone"), json!([to("User", "lou")])));
        with(&mut index, "rolebindings/a/lost2", bind(to("ClusterRole", "gone"), json!([to("User", "lou")])));
        index
    }

    fn decide(index: &Index, user: &User, namespace: &str) -> String {
        let request = RequestInfo {
            is_resource: true,
            verb: "get".into(),
            resource: "pods".into(),
            namespace: namespace.into(),
            ..RequestInfo::default()
        };
        match index.authorize(user, &request) {
            Decision::Allow(reason) => format!("yes: {reason}"),
            Decision::Deny(reason) => format!("no: {reason}"),
        }
    }

    #[test]
    fn bindings_decide_where_and_for_whom() {
        let mut index = world();
        let bot = User::service_account("a", "bot", "");
        let other_bot = User::service_account("b", "bot", "");
        let lost = "RBAC: [role.rbac.authorization.k8s.io \"gone\" not found, clusterrole.rbac.authorization.k8s.io \"gone\" not found]";
        let everywhere = "RBAC: allowed by ClusterRoleBinding \"all\" of ClusterRole \"reader\" to";
        let local = "RBAC: allowed by RoleBinding \"local/a\" of Role \"reader\" to ServiceAccount";
        let cases = [
            (User::new("rita", &[]), "", format!("yes: {everywhere} User \"rita\"")),
            (User::new("x", &["readers"]), "b", format!("yes: {everywhere} Group \"readers\"")),
            // The first subject that is the user is named, as upstream does.
            (User::new("rita", &["readers"]), "", format!("yes: {everywhere} Group \"readers\"")),
            (User::new("readers", &[]), "", "no: ".to_owned()),
            (bot.clone(), "a", format!("yes: {local} \"bot/a\"")),
            (other_bot, "a", format!("yes: {local} \"bot/b\"")),
            (bot.clone(), "b", "no: ".to_owned()),
            (bot.clone(), "", "no: ".to_owned()),
            (User::new("lou", &[]), "a", format!("no: {lost}")),
        ];
        for (user, namespace, expected) in cases {
            assert_eq!(decide(&index, &user, namespace), expected, "{user:?} in {namespace:?}");
        }
        index.remove(&format!("{PREFIX}rolebindings/a/local"));
        assert_eq!(decide(&index, &bot, "a"), "no: ");
        index.remove(&format!("{PREFIX}clusterroles/reader"));
        let rita = User::new("rita", &["readers"]);
        let gone = "no: RBAC: clusterrole.rbac.authorization.k8s.io \"reader\" not found";
        assert_eq!(decide(&index, &rita, ""), gone);
        index.remove(&format!("{PREFIX}clusterrolebindings/all"));
        assert_eq!(decide(&index, &rita, ""), "no: ");
    }

    #[test]
    fn a_binding_that_is_changed_forgets_whom_it_named() {
        let mut index = world();
        let role = json!({"kind": "ClusterRole", "name": "reader", "apiGroup": ""});
        let subjects = json!([{"kind": "User", "name": "sam", "apiGroup": ""}]);
        with(&mut index, "clusterrolebindings/all", json!({"metadata": {}, "roleRef": role, "subjects": subjects}));
        assert_eq!(decide(&index, &User::new("rita", &["readers"]), ""), "no: ");
        assert!(decide(&index, &User::new("sam", &[]), "").starts_with("yes"));
    }

    #[test]
    fn rules_are_listed_once_with_what_is_missing() {
        let index = world();
        let granted = index.rules_for(&User::new("rita", &["readers"]), "a");
        assert_eq!((granted.rules.len(), granted.errors.len()), (1, 0));
        let granted = index.rules_for(&User::new("lou", &[]), "a");
        assert_eq!((granted.rules.len(), granted.errors.len()), (0, 2));
    }
}
