//! Who a request comes from. Authentication makes it, authorization and admission read it.

use std::collections::BTreeMap;

use crate::api::names;

/// An authenticated (or anonymous) user, as `user.Info` of apiserver.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    pub const ANONYMOUS: &'static str = "system:anonymous";
    pub const AUTHENTICATED: &'static str = "system:authenticated";
    pub const UNAUTHENTICATED: &'static str = "system:unauthenticated";
    /// The key in `extra` of the name of the credential that was shown.
    pub const CREDENTIAL_ID: &'static str = "authentication.kubernetes.io/credential-id";

    /// The key in `extra` of the node that a service account's pod is on.
    pub const NODE_NAME: &'static str = "authentication.kubernetes.io/node-name";

    /// An authenticated user of the given groups; `system:authenticated` is added.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
        if !groups.iter().any(|group| group == Self::AUTHENTICATED) {
            groups.push(Self::AUTHENTICATED.to_owned());
        }
        Self { name: name.into(), groups, ..Self::default() }
    }
    /// May do everything.
    pub fn admin() -> Self {
        Self::new("system:admin", &["system:masters"])
    }
    pub fn anonymous() -> Self {
        Self { name: Self::ANONYMOUS.to_owned(), groups: vec![Self::UNAUTHENTICATED.to_owned()], ..Self::default() }
    }
    /// A controller of kube-controller-manager, under its own service account as upstream runs them.
    pub fn controller(name: &str) -> Self {
        Self::service_account("kube-system", name, "")
    }
    pub fn scheduler() -> Self {
        Self::new("system:kube-scheduler", &[])
    }
    pub fn node(name: &str) -> Self {
        Self::new(format!("system:node:{name}"), &["system:nodes"])
    }
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let group = format!("system:serviceaccounts:{namespace}");
        let mut user =
            Self::new(format!("system:serviceaccount:{namespace}:{name}"), &["system:serviceaccounts", &group]);
        user.uid = uid.to_owned();
        user
    }
    /// Namespace and name of the service account that a user's name stands for.
    pub fn split_service_account(name: &str) -> Option<(&str, &str)> {
        let (namespace, name) = name.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let valid = names::dns1123_label(namespace).is_empty() && names::dns1123_subdomain(name).is_empty();
        valid.then_some((namespace, name))
    }

    pub fn is_anonymous(&self) -> bool {
        self.name == Self::ANONYMOUS || self.in_group(Self::UNAUTHENTICATED)
    }
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}
