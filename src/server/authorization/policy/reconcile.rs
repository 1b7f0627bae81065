//! What a default role or binding lacks, compared with what is there. Pure.
//!
//! As upstream's reconciliation: what is missing is added, what is extra stays, and nothing is
//! touched where `rbac.authorization.kubernetes.io/autoupdate` is `false`.

use bytes::Bytes;
use k8s_openapi::api::rbac::v1::{AggregationRule, PolicyRule, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::server::authorization::rules;

pub const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// A Role or a ClusterRole: they differ in nothing that matters here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregation_rule: Option<AggregationRule>,
    pub rules: Option<Vec<PolicyRule>>,
}

/// A RoleBinding or a ClusterRoleBinding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub role_ref: RoleRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subjects: Option<Vec<Subject>>,
}

/// An object that every cluster has.
#[derive(Clone, Debug, PartialEq)]
pub enum Preset {
    Role(Role),
    Binding(Binding),
}

/// What has to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Nothing,
    Create(Bytes),
    Update(Bytes),
    /// A binding cannot change its role: it is made anew.
    Recreate(Bytes),
}

impl Preset {
    pub fn kind(&self) -> &str {
        match self {
            Self::Role(role) => &role.kind,
            Self::Binding(binding) => &binding.kind,
        }
    }

    fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Role(role) => &role.metadata,
            Self::Binding(binding) => &binding.metadata,
        }
    }

    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Empty for the cluster's.
    pub fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }

    /// What is to be done, where `existing` is what is stored.
    pub fn reconcile(&self, existing: Option<&Bytes>) -> serde_json::Result<Step> {
        match (self, existing) {
            (Self::Role(role), None) => Ok(Step::Create(json(role)?)),
            (Self::Binding(binding), None) => Ok(Step::Create(json(binding)?)),
            (Self::Role(wanted), Some(bytes)) => {
                let existing: Role = serde_json::from_slice(bytes)?;
                let merged = merge_role(wanted, &existing);
                update(&existing.metadata, merged != existing, &merged)
            }
            (Self::Binding(wanted), Some(bytes)) => {
                let existing: Binding = serde_json::from_slice(bytes)?;
                if existing.role_ref != wanted.role_ref {
                    return match is_protected(&existing.metadata) {
                        true => Ok(Step::Nothing),
                        false => Ok(Step::Recreate(json(wanted)?)),
                    };
                }
                let merged = merge_binding(wanted, &existing);
                update(&existing.metadata, merged != existing, &merged)
            }
        }
    }
}

fn json(value: &impl Serialize) -> serde_json::Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from)
}

fn is_protected(meta: &ObjectMeta) -> bool {
    meta.annotations.as_ref().and_then(|all| all.get(AUTO_UPDATE)).is_some_and(|value| value == "false")
}

fn update(existing: &ObjectMeta, changed: bool, merged: &impl Serialize) -> serde_json::Result<Step> {
    match changed && !is_protected(existing) {
        true => Ok(Step::Update(json(merged)?)),
        false => Ok(Step::Nothing),
    }
}

/// Labels and annotations that are missing; those that are there keep their values.
fn merge_metadata(wanted: &ObjectMeta, existing: &ObjectMeta) -> ObjectMeta {
    let mut merged = existing.clone();
    let pairs = [(&wanted.labels, &mut merged.labels), (&wanted.annotations, &mut merged.annotations)];
    for (wanted, merged) in pairs {
        for (key, value) in wanted.iter().flatten() {
            merged.get_or_insert_default().entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    merged
}

fn merge_role(wanted: &Role, existing: &Role) -> Role {
    let mut merged = Role { metadata: merge_metadata(&wanted.metadata, &existing.metadata), ..existing.clone() };
    let selectors = |rule: &Option<AggregationRule>| rule.as_ref().and_then(|rule| rule.cluster_role_selectors.clone());
    match selectors(&wanted.aggregation_rule) {
        // The rules of an aggregated role are its controller's.
        Some(wanted) => {
            let mut all = selectors(&existing.aggregation_rule).unwrap_or_default();
            all.extend(wanted.into_iter().filter(|wanted| !all.contains(wanted)).collect::<Vec<_>>());
            merged.aggregation_rule = Some(AggregationRule { cluster_role_selectors: Some(all) });
        }
        None => {
            let held = existing.rules.as_deref().unwrap_or_default();
            let missing = match wanted.rules == existing.rules {
                true => Vec::new(),
                false => rules::missing(held, wanted.rules.as_deref().unwrap_or_default()),
            };
            if !missing.is_empty() {
                merged.rules.get_or_insert_default().extend(missing);
            }
        }
    }
    merged
}

fn merge_binding(wanted: &Binding, existing: &Binding) -> Binding {
    let mut merged = Binding { metadata: merge_metadata(&wanted.metadata, &existing.metadata), ..existing.clone() };
    for subject in wanted.subjects.iter().flatten() {
        let subjects = merged.subjects.get_or_insert_default();
        if !subjects.contains(subject) {
            subjects.push(subject.clone());
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::server::authorization::policy;

    fn find(kind: &str, name: &str) -> Preset {
        let all = policy::parse().unwrap();
        all.into_iter().find(|object| object.kind() == kind && object.name() == name).unwrap()
    }

    fn stored(object: &Preset) -> Value {
        match object {
            Preset::Role(role) => serde_json::to_value(role).unwrap(),
            Preset::Binding(binding) => serde_json::to_value(binding).unwrap(),
        }
    }

    fn updated(step: Step) -> Value {
        match step {
            Step::Update(bytes) => serde_json::from_slice(&bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_as_it_should_be_is_left_alone() {
        for wanted in policy::parse().unwrap() {
            assert!(matches!(wanted.reconcile(None).unwrap(), Step::Create(_)));
            let bytes = Bytes::from(stored(&wanted).to_string());
            assert_eq!(wanted.reconcile(Some(&bytes)).unwrap(), Step::Nothing, "{}", wanted.name());
        }
    }

    #[test]
    fn missing_rules_and_labels_come_back_and_extra_ones_stay() {
        let wanted = find("ClusterRole", "system:kube-dns");
        let mut object = stored(&wanted);
        object["rules"] = json!([
            {"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["services"]},
            {"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]},
        ]);
        object["metadata"]["labels"] = json!({"mine": "yes"});
        let found = updated(wanted.reconcile(Some(&object.to_string().into())).unwrap());
        let labels = json!({"mine": "yes", "kubernetes.io/bootstrapping": "rbac-defaults"});
        assert_eq!(found["metadata"]["labels"], labels);
        let rules = found["rules"].as_array().unwrap();
        assert_eq!(rules.len(), 4, "{rules:?}");
        assert_eq!(rules[2], json!({"verbs": ["list"], "apiGroups": [""], "resources": ["endpoints"]}));

        object["metadata"]["annotations"][AUTO_UPDATE] = json!("false");
        assert_eq!(wanted.reconcile(Some(&object.to_string().into())).unwrap(), Step::Nothing);
    }

    #[test]
    fn aggregated_roles_keep_the_rules_they_collected() {
        let wanted = find("ClusterRole", "view");
        let mut object = stored(&wanted);
        object["rules"] = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        assert_eq!(wanted.reconcile(Some(&object.to_string().into())).unwrap(), Step::Nothing);
        let other = json!({"matchLabels": {"a": "b"}});
        object["aggregationRule"]["clusterRoleSelectors"] = json!([other]);
        let found = updated(wanted.reconcile(Some(&object.to_string().into())).unwrap());
        assert_eq!(found["aggregationRule"]["clusterRoleSelectors"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn bindings_get_their_subjects_back_and_their_role() {
        let wanted = find("ClusterRoleBinding", "system:discovery");
        let mut object = stored(&wanted);
        object["subjects"] = json!([{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}]);
        let found = updated(wanted.reconcile(Some(&object.to_string().into())).unwrap());
        assert_eq!(found["subjects"].as_array().unwrap().len(), 2);
        object["roleRef"]["name"] = json!("cluster-admin");
        assert!(matches!(wanted.reconcile(Some(&object.to_string().into())).unwrap(), Step::Recreate(_)));
        object["metadata"]["annotations"][AUTO_UPDATE] = json!("false");
        assert_eq!(wanted.reconcile(Some(&object.to_string().into())).unwrap(), Step::Nothing);
    }
}
