//! Aggregated ClusterRoles: a role with an aggregation rule has the rules of all roles that its selectors find.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use serde_json::json;

use crate::api::selector::LabelSelector;
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};

pub struct ClusterRoleAggregation {
    roles: Informer<ClusterRole>,
}

impl ClusterRoleAggregation {
    pub fn new(env: &Env) -> Self {
        Self { roles: env.informers.get() }
    }
}

#[async_trait]
impl Controller for ClusterRoleAggregation {
    type Key = Key;

    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        // Any role may be one of those that are gathered: all that gather are looked at again.
        let all = self.roles.clone();
        watches.on(&self.roles, move |_| {
            let roles = all.store().state();
            let gathering = roles.iter().filter(|role| role.aggregation_rule.is_some());
            gathering.map(|role| Key::of(role.as_ref())).collect::<Vec<_>>()
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let Some(role) = self.roles.get("", &key.name) else { return Ok(Action::done()) };
        if role.aggregation_rule.is_none() {
            return Ok(Action::done());
        }
        let wanted = gather(&role, &self.roles.store().state());
        if role.rules.as_deref().unwrap_or_default() != wanted {
            cx.cluster::<ClusterRole>().merge(&key.name, &json!({"rules": wanted})).await?;
        }
        Ok(Action::done())
    }
}

/// The rules of the roles that are selected, each once, in the order of the roles' names.
fn gather(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Vec<PolicyRule> {
    let mut sorted: Vec<_> = all.iter().filter(|other| other.metadata.name != role.metadata.name).collect();
    sorted.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let selectors = role.aggregation_rule.as_ref().and_then(|rule| rule.cluster_role_selectors.as_deref());
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors.unwrap_or_default() {
        // Validation lets in no selector that cannot be read.
        let Ok(selector) = LabelSelector::from_api(Some(selector)) else { continue };
        let selected = sorted.iter().filter(|other| selector.matches_option(other.metadata.labels.as_ref()));
        for rule in selected.flat_map(|other| other.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, label: &str, verbs: &[&str]) -> Arc<ClusterRole> {
        let rules: Vec<_> =
            verbs.iter().map(|verb| json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"]})).collect();
        let role = json!({"metadata": {"name": name, "labels": {label: "true"}}, "rules": rules});
        Arc::new(serde_json::from_value(role).unwrap())
    }

    #[test]
    fn selected_rules_are_gathered_once_and_never_the_role_itself() {
        let gathering: ClusterRole = serde_json::from_value(json!({
            "metadata": {"name": "all", "labels": {"into": "true"}},
            "aggregationRule": {"clusterRoleSelectors": [
                {"matchLabels": {"into": "true"}},
                {"matchExpressions": [{"key": "also", "operator": "Exists"}]},
            ]},
            "rules": [{"verbs": ["old"], "apiGroups": [""], "resources": ["pods"]}],
        }))
        .unwrap();
        let all = [
            role("c", "also", &["list", "watch"]),
            role("b", "into", &["list"]),
            role("a", "into", &["get"]),
            role("x", "other", &["delete"]),
            Arc::new(gathering.clone()),
        ];
        let rules = gather(&gathering, &all);
        let verbs: Vec<&str> = rules.iter().map(|rule| rule.verbs[0].as_str()).collect();
        assert_eq!(verbs, ["get", "list", "watch"]);
    }
}
