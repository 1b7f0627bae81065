//! The documented behaviour of server-side apply, and what holds for every apply.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::schema;

const NOW: &str = "2026-01-02T03:04:05Z";

fn request<'a>(group: &'a str, kind: &'a str, manager: &'a str) -> Request<'a> {
    Request {
        schema: schema::for_kind(group, "v1", kind).unwrap(),
        group,
        version: "v1",
        kind,
        subresource: "",
        status_is_separate: true,
        status_only: false,
        custom: false,
        manager,
        now: NOW.parse().unwrap(),
    }
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec})
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": data})
}

fn apply_as(manager: &str, live: Option<&Value>, config: &Value, force: bool) -> Result<Value, ApplyError> {
    let kind = config["kind"].as_str().unwrap();
    let group = config["apiVersion"].as_str().unwrap().split_once('/').map_or("", |(group, _)| group);
    apply(live, config, force, &request(group, kind, manager)).map(|applied| applied.object)
}

/// The fields of an entry, by `manager/operation`.
fn fields(object: &Value, manager: &str, operation: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut found = entries.filter(|entry| entry["manager"] == manager && entry["operation"] == operation);
    found.next().map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

#[test]
fn a_created_object_records_what_was_applied() {
    let config = deployment(json!({
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [{"name": "a", "image": "x", "args": ["b"], "ports": [{"containerPort": 80}]}],
                "volumes": [{"name": "v", "emptyDir": {}}],
            },
        },
    }));
    let object = apply_as("me", None, &config, false).unwrap();
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "time": NOW,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:template": {
                    "f:metadata": {"f:labels": {"f:app": {}}},
                    "f:spec": {
                        "f:containers": {"k:{\"name\":\"a\"}": {
                            ".": {},
                            "f:args": {},
                            "f:image": {},
                            "f:name": {},
                            "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                        }},
                        "f:volumes": {"k:{\"name\":\"v\"}": {".": {}, "f:emptyDir": {}, "f:name": {}}},
                    },
                },
            }},
        }])
    );
    let mut bare = without_managed_fields(&object);
    assert_eq!(bare.take(), config);
}

#[test]
fn another_managers_field_is_a_conflict() {
    let mut live = deployment(json!({"replicas": 1, "minReadySeconds": 5}));
    update_managed_fields(None, &mut live, &request("apps", "Deployment", "kubectl-create"));
    let config = deployment(json!({"replicas": 3, "minReadySeconds": 5}));
    let error = apply_as("me", Some(&live), &config, false).unwrap_err();
    let message = "Apply failed with 1 conflict: conflict with \"kubectl-create\" using apps/v1: .spec.replicas";
    assert_eq!(error.to_string(), message);
    let failure = error.into_failure();
    assert_eq!((failure.code(), failure.reason()), (409, "Conflict"));
    let causes = failure.0.details.unwrap().causes.unwrap();
    assert_eq!(causes[0].reason.as_deref(), Some("FieldManagerConflict"));
    assert_eq!(causes[0].message.as_deref(), Some("conflict with \"kubectl-create\" using apps/v1"));
    assert_eq!(causes[0].field.as_deref(), Some(".spec.replicas"));

    let two = deployment(json!({"replicas": 3, "minReadySeconds": 6}));
    let error = apply_as("me", Some(&live), &two, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"kubectl-create\" using apps/v1:\n- .spec.minReadySeconds\n- .spec.replicas"
    );

    // By force it changes hands; a field of equal value is shared.
    let forced = apply_as("me", Some(&live), &config, true).unwrap();
    assert_eq!(forced["spec"]["replicas"], 3);
    assert_eq!(fields(&forced, "kubectl-create", "Update"), json!({"f:spec": {"f:minReadySeconds": {}}}));
    assert_eq!(fields(&forced, "me", "Apply"), json!({"f:spec": {"f:minReadySeconds": {}, "f:replicas": {}}}));
}

#[test]
fn what_is_no_longer_applied_goes_unless_somebody_else_owns_it() {
    let live = apply_as("one", None, &config_map(json!({"a": "1", "b": "2", "c": "3"})), false).unwrap();
    let live = apply_as("two", Some(&live), &config_map(json!({"b": "2"})), false).unwrap();
    let live = apply_as("one", Some(&live), &config_map(json!({"a": "1"})), false).unwrap();
    assert_eq!(live["data"], json!({"a": "1", "b": "2"}));
    assert_eq!(fields(&live, "one", "Apply"), json!({"f:data": {"f:a": {}}}));
    assert_eq!(fields(&live, "two", "Apply"), json!({"f:data": {"f:b": {}}}));
    // The last owner drops it, and with it the map.
    let live = apply_as("two", Some(&live), &config_map(json!({})), false).unwrap();
    assert_eq!(live["data"], json!({"a": "1"}));

    // What nobody owns was never this manager's to drop.
    let mut edited = live.clone();
    edited["data"]["d"] = json!("4");
    update_managed_fields(Some(&live), &mut edited, &request("", "ConfigMap", "kubectl-edit"));
    assert_eq!(fields(&edited, "kubectl-edit", "Update"), json!({"f:data": {"f:d": {}}}));
    let live = apply_as("one", Some(&edited), &config_map(json!({"e": "5"})), false).unwrap();
    assert_eq!(live["data"], json!({"d": "4", "e": "5"}));
}

#[test]
fn list_elements_have_owners() {
    let container = |name: &str| json!({"name": name, "image": "x"});
    let live = apply_as("one", None, &pod(json!({"containers": [container("a"), container("b")]})), false).unwrap();
    let live = apply_as("two", Some(&live), &pod(json!({"containers": [container("c"), container("b")]})), false);
    let live = live.unwrap();
    let names = |object: &Value| -> Vec<String> {
        let list = object["spec"]["containers"].as_array().unwrap();
        list.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&live), ["a", "c", "b"]);
    let live = apply_as("one", Some(&live), &pod(json!({"containers": [container("a")]})), false).unwrap();
    assert_eq!(names(&live), ["a", "c", "b"]);
    let live = apply_as("two", Some(&live), &pod(json!({"containers": [container("c")]})), false).unwrap();
    assert_eq!(names(&live), ["a", "c"]);
    // An atomic list is one field.
    let live = apply_as("three", Some(&live), &pod(json!({"containers": [{"name": "a", "args": ["x", "y"]}]})), false);
    let error =
        apply_as("four", Some(&live.unwrap()), &pod(json!({"containers": [{"name": "a", "args": ["x"]}]})), false);
    let text = "Apply failed with 1 conflict: conflict with \"three\": .spec.containers[name=\"a\"].args";
    assert_eq!(error.unwrap_err().to_string(), text);
}

#[test]
fn an_update_owns_what_it_changed() {
    let mut live = deployment(json!({
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "a", "image": "x", "resources": {}}], "dnsPolicy": "ClusterFirst"},
        },
    }));
    live["metadata"]["uid"] = json!("u");
    live["metadata"]["labels"] = json!({"app": "web"});
    live["status"] = json!({"replicas": 1});
    update_managed_fields(None, &mut live, &request("apps", "Deployment", "kubectl-create"));
    assert_eq!(
        fields(&live, "kubectl-create", "Update"),
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {
                        "f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}},
                        "f:dnsPolicy": {},
                    },
                },
            },
        })
    );
    // A status write owns status, and by its own entry.
    let mut written = live.clone();
    written["status"] = json!({"replicas": 2});
    written["metadata"]["managedFields"] = json!([]);
    let status = Request { subresource: "status", ..request("apps", "Deployment", "controller") };
    update_managed_fields(Some(&live), &mut written, &status);
    assert_eq!(fields(&written, "controller", "Update"), json!({"f:status": {"f:replicas": {}}}));
    assert_eq!(written["metadata"]["managedFields"][0]["subresource"], "status");
    assert_eq!(fields(&written, "kubectl-create", "Update"), fields(&live, "kubectl-create", "Update"));
    // What is removed is owned by nobody; what is unchanged keeps its owner, and the record its time.
    let mut removed = written.clone();
    removed["spec"].as_object_mut().unwrap().remove("replicas");
    update_managed_fields(Some(&written), &mut removed, &request("apps", "Deployment", "kubectl-edit"));
    assert_eq!(fields(&removed, "kubectl-edit", "Update"), Value::Null);
    assert!(fields(&removed, "kubectl-create", "Update")["f:spec"].get("f:replicas").is_none());
    let mut same = removed.clone();
    update_managed_fields(Some(&removed), &mut same, &request("apps", "Deployment", "other"));
    assert_eq!(same, removed);
}

#[test]
fn records_can_be_given_and_reset() {
    let mut live = config_map(json!({"a": "1"}));
    update_managed_fields(None, &mut live, &request("", "ConfigMap", "one"));
    for reset in [json!([]), json!([{}])] {
        let mut new = live.clone();
        new["metadata"]["managedFields"] = reset;
        new["data"]["b"] = json!("2");
        update_managed_fields(Some(&live), &mut new, &request("", "ConfigMap", "two"));
        assert!(new["metadata"].get("managedFields").is_none());
    }
    // A client that does not know the field does not lose it.
    let mut new = without_managed_fields(&live);
    update_managed_fields(Some(&live), &mut new, &request("", "ConfigMap", "two"));
    assert_eq!(new, live);
    // A broken record is replaced by the live one.
    new["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Sing", "apiVersion": "v1"}]);
    update_managed_fields(Some(&live), &mut new, &request("", "ConfigMap", "two"));
    assert_eq!(new, live);
    // An object without a record gets one by its first apply.
    let bare = without_managed_fields(&live);
    let applied = apply_as("three", Some(&bare), &config_map(json!({"b": "2"})), false).unwrap();
    assert_eq!(fields(&applied, "before-first-apply", "Update"), json!({"f:data": {".": {}, "f:a": {}}}));
}

#[test]
fn kubectl_takes_over_from_client_side_apply() {
    let mut live = deployment(json!({"replicas": 1, "minReadySeconds": 5}));
    let last = deployment(json!({"replicas": 1})).to_string();
    live["metadata"]["annotations"] = json!({LAST_APPLIED: last});
    update_managed_fields(None, &mut live, &request("apps", "Deployment", "kubectl-client-side-apply"));
    let config = deployment(json!({"replicas": 2}));
    assert!(apply_as("helm", Some(&live), &config, false).is_err());
    let object = apply_as("kubectl", Some(&live), &config, false).unwrap();
    assert_eq!(object["spec"]["replicas"], 2);
    let annotation = object["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(annotation).unwrap(), config);
    // But not what client-side apply had not set.
    let config = deployment(json!({"replicas": 2, "minReadySeconds": 6}));
    let error = apply_as("kubectl", Some(&live), &config, false).unwrap_err();
    let text = "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.minReadySeconds";
    assert_eq!(error.to_string(), text);
}

#[test]
fn what_is_refused() {
    let cases = [
        (json!({"apiVersion": "apps/v1", "kind": "Pod"}), "invalid object type: apps/v1, Kind=Pod"),
        (json!({"apiVersion": "v1", "kind": "Deployment"}), "invalid object type: /v1, Kind=Deployment"),
        (
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"managedFields": []}}),
            "metadata.managedFields must be nil",
        ),
        (
            deployment(json!({"foo": 1})),
            "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema",
        ),
        (
            deployment(json!({"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}})),
            "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
        ),
        (
            deployment(json!({"template": {"spec": {"containers": [{"image": "a"}]}}})),
            "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.template.spec.containers: element 0: associative list with keys has an element that omits all key fields [\"name\"] (and doesn't have default values for any key fields)",
        ),
    ];
    for (config, message) in cases {
        let error = apply(None, &config, false, &request("apps", "Deployment", "me")).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let wrong = deployment(json!({"replicas": "x", "template": []}));
    assert!(matches!(apply_as("me", None, &wrong, false), Err(ApplyError::Unclear(_))));
}

#[test]
fn many_updaters_are_joined() {
    let mut live = config_map(json!({}));
    update_managed_fields(None, &mut live, &request("", "ConfigMap", "first"));
    for at in 0..15 {
        let mut new = live.clone();
        new["data"][format!("k{at}")] = json!("v");
        if live["metadata"].get("managedFields").is_none() {
            update_managed_fields(None, &mut new, &request("", "ConfigMap", "m0"));
        } else {
            let manager = format!("m{at}");
            update_managed_fields(Some(&live), &mut new, &request("", "ConfigMap", &manager));
        }
        live = new;
    }
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10);
    assert!(!fields(&live, "ancient-changes", "Update").is_null());
    let all = managers::decode(&live).unwrap().into_values().fold(Set::default(), |all, owned| all.union(owned.set));
    assert_eq!(all.paths().len(), 16, "data and its fifteen keys");
}

fn any_spec() -> impl Strategy<Value = Value> {
    let container = (prop::sample::select(vec!["a", "b", "c"]), prop::option::of(0..3u8), prop::option::of(0..3u8));
    let containers = prop::collection::btree_map(container.clone().prop_map(|(name, ..)| name), container, 0..3);
    let selector = prop::collection::btree_map("[a-c]", "[xy]", 0..3);
    (containers, selector, 0..3i64, prop::sample::subsequence(vec!["f", "g"], 0..=2)).prop_map(
        |(containers, selector, grace, hosts)| {
            let container = |(name, (_, image, port)): (&str, (&str, Option<u8>, Option<u8>))| {
                let mut out = json!({"name": name});
                if let Some(image) = image {
                    out["image"] = json!(image.to_string());
                }
                if let Some(port) = port {
                    out["ports"] = json!([{"containerPort": port}]);
                }
                out
            };
            let containers: Vec<_> = containers.into_iter().map(container).collect();
            let mut spec = json!({});
            if !containers.is_empty() {
                spec["containers"] = containers.into();
            }
            if !selector.is_empty() {
                spec["nodeSelector"] = json!(selector);
            }
            // Go's types always have a spec, so it is never bare here either.
            spec["terminationGracePeriodSeconds"] = grace.into();
            if !hosts.is_empty() {
                spec["hostAliases"] = hosts.iter().map(|ip| json!({"ip": ip})).collect();
            }
            spec
        },
    )
}

/// Without the nulls and empty maps that pruning leaves; typed decoding does not tell them from nothing.
fn compact(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().map(|(name, value)| (name.clone(), compact(value)));
            Value::Object(kept.filter(|(_, value)| !value.is_null() && value != &json!({})).collect())
        }
        Value::Array(items) => items.iter().map(compact).collect(),
        other => other.clone(),
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let names = vec![
        "metadata",
        "spec",
        "containers",
        "name",
        "labels",
        "ports",
        "containerPort",
        "managedFields",
        "operation",
        "fieldsV1",
        "f:spec",
        "k:{\"name\":1}",
        "volumes",
        "finalizers",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-b]".prop_map(Value::from)
    ];
    leaf.prop_recursive(6, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(names.clone()), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    /// One manager alone gets exactly what it applied last.
    #[test]
    fn a_lone_applier_gets_what_it_applies(first in any_spec(), second in any_spec()) {
        let live = apply_as("me", None, &pod(first), false).unwrap();
        let config = pod(second);
        let object = apply_as("me", Some(&live), &config, false).unwrap();
        let sorted = |value: &Value| typed::paths(value, schema::for_kind("", "v1", "Pod").unwrap());
        let bare = compact(&without_managed_fields(&object));
        prop_assert_eq!(sorted(&bare).difference(&Set::of_fields(&["spec"])), sorted(&config).difference(&Set::of_fields(&["spec"])));
        // And applying again changes nothing.
        let again = apply(Some(&object), &config, false, &request("", "Pod", "me")).unwrap();
        prop_assert_eq!(compact(&again.object), compact(&object));
    }

    /// Whatever others did: after a forced apply everything applied is there and owned, and an unforced one then succeeds.
    #[test]
    fn a_forced_apply_wins(first in any_spec(), second in any_spec(), third in any_spec()) {
        let live = apply_as("one", None, &pod(first), false).unwrap();
        let live = apply_as("two", Some(&live), &pod(second), true).unwrap();
        let config = pod(third);
        let object = apply_as("one", Some(&live), &config, true).unwrap();
        let kind = schema::for_kind("", "v1", "Pod").unwrap();
        let merged = typed::merge(&without_managed_fields(&object), &config, kind).unwrap();
        prop_assert_eq!(compact(&merged), compact(&without_managed_fields(&object)));
        let again = apply_as("one", Some(&object), &config, false).unwrap();
        prop_assert_eq!(compact(&again), compact(&object));
    }

    #[test]
    fn never_panics(live in any_json(), config in any_json(), force in any::<bool>()) {
        let mut config = config;
        if let Value::Object(map) = &mut config {
            map.insert("apiVersion".to_owned(), "v1".into());
            map.insert("kind".to_owned(), "Pod".into());
        }
        let request = request("", "Pod", "kubectl");
        let _ = apply(Some(&live), &config, force, &request);
        let _ = apply(None, &config, force, &request);
        let mut new = config.clone();
        update_managed_fields(Some(&live), &mut new, &request);
        let mut new = live;
        update_managed_fields(None, &mut new, &request);
    }
}
