//! The plan of a deletion, as a table.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::*;

fn object<K: serde::de::DeserializeOwned>(metadata: Value, rest: &Value) -> K {
    let mut value = rest.clone();
    value["metadata"] = metadata;
    serde_json::from_value(value).unwrap()
}

fn options(value: Value) -> DeleteOptions {
    serde_json::from_value(value).unwrap()
}

const LATER: &str = "2999-01-01T00:00:30Z";

/// metadata, options, the kind's default → step, finalizers
#[test]
fn finalizers_by_wish_then_object_then_kind() {
    use Dependents::{Delete, Orphan, Unsupported};
    let cases = [
        (json!({}), json!({}), Delete, Step::Remove, json!(null)),
        (json!({}), json!({}), Orphan, Step::Mark, json!(["orphan"])),
        (json!({}), json!({"propagationPolicy": "Background"}), Orphan, Step::Remove, json!(null)),
        (json!({}), json!({"orphanDependents": false}), Orphan, Step::Remove, json!(null)),
        (json!({}), json!({"orphanDependents": true}), Delete, Step::Mark, json!(["orphan"])),
        (json!({}), json!({"propagationPolicy": "Foreground"}), Delete, Step::Mark, json!(["foregroundDeletion"])),
        (json!({}), json!({"propagationPolicy": "Foreground"}), Unsupported, Step::Remove, json!(null)),
        (json!({"finalizers": ["a/b"]}), json!({}), Delete, Step::Mark, json!(["a/b"])),
        (json!({"finalizers": ["orphan"]}), json!({}), Delete, Step::Mark, json!(["orphan"])),
        (json!({"finalizers": ["foregroundDeletion"]}), json!({}), Orphan, Step::Mark, json!(["foregroundDeletion"])),
        (
            json!({"finalizers": ["foregroundDeletion", "a/b"]}),
            json!({"propagationPolicy": "Orphan"}),
            Delete,
            Step::Mark,
            json!(["a/b", "orphan"]),
        ),
        (
            json!({"finalizers": ["orphan"]}),
            json!({"propagationPolicy": "Background"}),
            Delete,
            Step::Remove,
            json!(null),
        ),
    ];
    for (metadata, wish, default, step, finalizers) in cases {
        let mut map: ConfigMap = object(metadata.clone(), &json!({}));
        assert_eq!(plan(&mut map, &options(wish.clone()), default), step, "{metadata} {wish}");
        assert_eq!(json!(map.metadata.finalizers), finalizers, "{metadata} {wish}");
        assert_eq!(map.metadata.deletion_timestamp.is_some(), step == Step::Mark);
        assert_eq!(map.metadata.deletion_grace_period_seconds, (step == Step::Mark).then_some(0));
    }
}

/// metadata, spec and status, options → step, grace period afterwards
#[test]
fn pods_end_in_time() {
    let placed = json!({"spec": {"nodeName": "n", "containers": [], "terminationGracePeriodSeconds": 30}});
    let waiting = json!({"spec": {"containers": [], "terminationGracePeriodSeconds": 30}});
    let mut ended = placed.clone();
    ended["status"] = json!({"phase": "Failed"});
    let running_out = json!({"deletionTimestamp": LATER, "deletionGracePeriodSeconds": 30, "generation": 2});
    let fresh = json!({"generation": 1});
    let cases = [
        (&fresh, &placed, json!({}), Step::Mark, Some(30)),
        (&fresh, &placed, json!({"gracePeriodSeconds": 5}), Step::Mark, Some(5)),
        (&fresh, &placed, json!({"gracePeriodSeconds": 0}), Step::Remove, Some(0)),
        (&fresh, &placed, json!({"gracePeriodSeconds": -3}), Step::Mark, Some(1)),
        (&fresh, &waiting, json!({"gracePeriodSeconds": 60}), Step::Remove, Some(0)),
        (&fresh, &ended, json!({}), Step::Remove, Some(0)),
        (&running_out, &placed, json!({}), Step::Nothing, Some(30)),
        (&running_out, &placed, json!({"gracePeriodSeconds": 30}), Step::Nothing, Some(30)),
        (&running_out, &placed, json!({"gracePeriodSeconds": 10}), Step::Mark, Some(10)),
        (&running_out, &placed, json!({"gracePeriodSeconds": 0}), Step::Remove, Some(0)),
        (&running_out, &placed, json!({"propagationPolicy": "Foreground"}), Step::Nothing, Some(30)),
    ];
    for (metadata, rest, wish, step, grace) in cases {
        let mut pod: Pod = object(metadata.clone(), rest);
        assert_eq!(plan(&mut pod, &options(wish.clone()), Dependents::Delete), step, "{metadata} {wish}");
        assert_eq!(pod.metadata.deletion_grace_period_seconds, grace, "{metadata} {wish}");
        // Only the first deletion counts as a change of what is wanted.
        assert_eq!(pod.metadata.generation, Some(2), "{metadata} {wish}");
    }
    let mut shorter: Pod = object(running_out, &placed);
    plan(&mut shorter, &options(json!({"gracePeriodSeconds": 10})), Dependents::Delete);
    let deadline = shorter.metadata.deletion_timestamp.unwrap().0.to_string();
    assert_eq!(deadline, "2999-01-01T00:00:10Z");
}

#[test]
fn a_pod_with_a_finalizer_waits_after_its_time_too() {
    let rest = json!({"spec": {"containers": []}});
    let mut pod: Pod = object(json!({"finalizers": ["a/b"]}), &rest);
    assert_eq!(plan(&mut pod, &DeleteOptions::default(), Dependents::Delete), Step::Mark);
    let before = pod.clone();
    assert_eq!(plan(&mut pod, &DeleteOptions::default(), Dependents::Delete), Step::Mark);
    assert_eq!(pod, before);
}

#[test]
fn namespaces_know_no_grace() {
    let full = json!({"spec": {"finalizers": ["kubernetes"]}});
    let mut namespace: Namespace = object(json!({"name": "n"}), &full);
    assert_eq!(plan(&mut namespace, &DeleteOptions::default(), Dependents::Delete), Step::Mark);
    assert_eq!(namespace.metadata.deletion_grace_period_seconds, None);
    assert_eq!(namespace.status.as_ref().unwrap().phase.as_deref(), Some("Terminating"));
    assert_eq!(plan(&mut namespace, &DeleteOptions::default(), Dependents::Delete), Step::Nothing);
    namespace.spec = None;
    assert_eq!(plan(&mut namespace, &DeleteOptions::default(), Dependents::Delete), Step::Remove);
}
