//! Revisions of a Deployment: which ReplicaSet is its current template, the numbers and
//! annotations that `kubectl rollout` reads, and what is left of history. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::size;
use crate::server::controllers::owners;

pub const HASH_LABEL: &str = "pod-template-hash";
pub const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
/// Bytes of remembered revisions, as upstream.
const HISTORY_LIMIT: usize = 2000;
/// Annotations of a Deployment that its ReplicaSets do not inherit.
const OWN: [&str; 7] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deployment.kubernetes.io/error-selector-overlapping-with",
    "deployment.kubernetes.io/selector-updated-at",
];

pub fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// 0 where there is none or it is not a number.
pub fn revision(set: &ReplicaSet) -> i64 {
    annotation(&set.metadata, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The oldest set whose template is the deployment's: the one it is rolling out to.
pub fn current(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Option<Arc<ReplicaSet>> {
    let wanted = bare(deployment.spec.as_ref().map(|spec| &spec.template));
    let equal = |set: &&Arc<ReplicaSet>| bare(set.spec.as_ref().and_then(|spec| spec.template.as_ref())) == wanted;
    let age = |set: &&Arc<ReplicaSet>| (set.metadata.creation_timestamp.clone(), set.metadata.name.clone());
    sets.iter().filter(equal).min_by_key(age).cloned()
}

/// The template without the label that only the ReplicaSet has.
fn bare(template: Option<&PodTemplateSpec>) -> PodTemplateSpec {
    let mut template = template.cloned().unwrap_or_default();
    let metadata = template.metadata.get_or_insert_default();
    if let Some(labels) = &mut metadata.labels {
        labels.remove(HASH_LABEL);
    }
    metadata.labels = metadata.labels.take().filter(|labels| !labels.is_empty());
    metadata.annotations = metadata.annotations.take().filter(|annotations| !annotations.is_empty());
    template
}

/// FNV-1a of the template and the number of collisions so far, in letters that make no words.
pub fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut bytes = serde_json::to_vec(template).unwrap_or_default();
    bytes.extend(collisions.into_iter().flat_map(i32::to_le_bytes));
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    hash.to_string().bytes().map(|digit| char::from(letters[usize::from(digit) % letters.len()])).collect()
}

/// The set for the deployment's template, of no size yet.
pub fn new_set(deployment: &Deployment) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = hash(&spec.template, collisions);
    let mut template = spec.template;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = Some(labels.clone());
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels,
            owner_references: Some(vec![owners::reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

/// Brings the current set's annotations up to date: the deployment's own, the revision, and the
/// revisions it had before where it is rolled back to.
pub fn annotate(deployment: &Deployment, set: &mut ReplicaSet, old: &[Arc<ReplicaSet>], is_new: bool) {
    let next = old.iter().map(|set| revision(set)).max().unwrap_or(0).max(0) + 1;
    let before = revision(set);
    let had = annotation(&set.metadata, REVISION).map(str::to_owned);
    let annotations = set.metadata.annotations.get_or_insert_default();
    let mut changed = inherit(deployment, annotations);
    if before < next {
        annotations.insert(REVISION.to_owned(), next.to_string());
        changed = true;
    }
    if let Some(had) = had.filter(|_| changed && before < next) {
        remember(annotations, &had);
    }
    if is_new {
        set_sizes(deployment, annotations);
    }
}

fn inherit(deployment: &Deployment, annotations: &mut BTreeMap<String, String>) -> bool {
    let mut changed = false;
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !OWN.contains(&key.as_str()) && annotations.get(key) != Some(value) {
            annotations.insert(key.clone(), value.clone());
            changed = true;
        }
    }
    changed
}

/// Adds a revision to those the set has served before; the oldest make room.
fn remember(annotations: &mut BTreeMap<String, String>, revision: &str) {
    let history = annotations.entry(HISTORY.to_owned()).or_default();
    if !history.is_empty() {
        history.push(',');
    }
    history.push_str(revision);
    while history.len() > HISTORY_LIMIT {
        let Some(comma) = history.find(',') else { break };
        history.drain(..=comma);
    }
}

/// The sizes by which a later scaling tells what was wanted when the set got its size.
pub fn set_sizes(deployment: &Deployment, annotations: &mut BTreeMap<String, String>) {
    annotations.insert(DESIRED.to_owned(), size::replicas(deployment).to_string());
    annotations.insert(MAXIMUM.to_owned(), size::maximum(deployment).to_string());
}

/// The old sets that history has no room for and nobody needs.
pub fn expired(deployment: &Deployment, old: &[Arc<ReplicaSet>]) -> Vec<Arc<ReplicaSet>> {
    let Some(limit) = deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit) else { return Vec::new() };
    let limit = usize::try_from(limit).unwrap_or(0);
    let mut sets: Vec<_> = old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).cloned().collect();
    sets.sort_by_key(|set| (revision(set), set.metadata.creation_timestamp.clone()));
    sets.truncate(sets.len().saturating_sub(limit));
    sets.retain(|set| {
        let status = set.status.clone().unwrap_or_default();
        let observed = status.observed_generation >= set.metadata.generation;
        status.replicas == 0 && size::set_replicas(set) == 0 && observed
    });
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn set_at(revision: &str) -> ReplicaSet {
        let mut set = ReplicaSet::default();
        set.metadata.annotations = Some(annotated(&[(REVISION, revision)]));
        set
    }

    #[test]
    fn hashes_are_names_and_differ_by_collision() {
        let template = PodTemplateSpec::default();
        let names = [hash(&template, None), hash(&template, Some(1)), hash(&template, Some(2))];
        assert!(names.iter().all(|n| n.len() <= 10 && n.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b))));
        assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), 3);
    }

    #[test]
    fn rolling_back_renumbers_and_remembers() {
        let mut deployment = Deployment::default();
        deployment.metadata.annotations = Some(annotated(&[("note", "x"), (REVISION, "2")]));
        let mut back = set_at("1");
        annotate(&deployment, &mut back, &[Arc::new(set_at("2"))], false);
        let expected = annotated(&[("note", "x"), (REVISION, "3"), (HISTORY, "1")]);
        assert_eq!(back.metadata.annotations, Some(expected));
        let again = back.clone();
        annotate(&deployment, &mut back, &[Arc::new(set_at("2"))], false);
        assert_eq!(back, again, "nothing more to do");
    }

    #[test]
    fn history_keeps_the_newest_and_whatever_still_runs() {
        let mut deployment = Deployment::default();
        deployment.spec.get_or_insert_default().revision_history_limit = Some(1);
        let old = (1..=4).map(|n| {
            let mut set = set_at(&n.to_string());
            set.spec.get_or_insert_default().replicas = Some(i32::from(n == 2));
            set.metadata.generation = Some(1);
            set.status.get_or_insert_default().observed_generation = Some(1);
            Arc::new(set)
        });
        let old = old.collect::<Vec<_>>();
        let revisions: Vec<_> = expired(&deployment, &old).iter().map(|set| revision(set)).collect();
        assert_eq!(revisions, [1, 3]);
    }
}
