//! Upstream's documented cases, and the properties every patch has.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::schema;

fn patched(kind: (&str, &str, &str), target: &Value, patch: &Value) -> Result<Value> {
    let mut target = target.clone();
    apply(&mut target, patch, schema::for_kind(kind.0, kind.1, kind.2).unwrap()).map(|()| target)
}

fn pod(target: Value, patch: Value) -> Result<Value> {
    patched(("", "v1", "Pod"), &json!({"spec": target}), &json!({"spec": patch})).map(|mut value| value["spec"].take())
}

#[test]
fn lists_merge_by_their_keys() {
    let target = json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "1"}]});
    let cases = [
        // A change, an addition, an atomic list.
        (
            json!({"containers": [{"name": "a", "image": "2"}]}),
            json!({"containers": [{"name": "a", "image": "2", "args": ["x"]}, {"name": "b", "image": "1"}]}),
        ),
        (
            json!({"containers": [{"name": "c", "image": "1"}]}),
            json!({"containers": [{"name": "c", "image": "1"}, {"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "1"}]}),
        ),
        (
            json!({"containers": [{"name": "a", "args": ["y", "z"]}]}),
            json!({"containers": [{"name": "a", "image": "1", "args": ["y", "z"]}, {"name": "b", "image": "1"}]}),
        ),
        (
            json!({"containers": [{"$patch": "delete", "name": "a"}]}),
            json!({"containers": [{"name": "b", "image": "1"}]}),
        ),
        (
            json!({"containers": [{"name": "z", "image": "1"}, {"$patch": "replace"}]}),
            json!({"containers": [{"name": "z", "image": "1"}]}),
        ),
        (json!({"containers": null}), json!({})),
        (json!({"$patch": "replace", "nodeName": "n"}), json!({"nodeName": "n"})),
        (json!({"$patch": "delete"}), json!({})),
        // The order that is asked for.
        (
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
            json!({"containers": [{"name": "b", "image": "1"}, {"name": "a", "image": "1", "args": ["x"]}]}),
        ),
        (
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}], "containers": [{"name": "c", "image": "1"}]}),
            json!({"containers": [{"name": "b", "image": "1"}, {"name": "c", "image": "1"}, {"name": "a", "image": "1", "args": ["x"]}]}),
        ),
        // Nulls and directives in what is new are not stored.
        (
            json!({"volumes": [{"name": "v", "emptyDir": null, "secret": {"secretName": "s", "items": null}}, {"$patch": "delete", "name": "w"}]}),
            json!({"containers": target["containers"], "volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
        ),
    ];
    for (patch, wanted) in cases {
        assert_eq!(pod(target.clone(), patch.clone()).unwrap(), wanted, "{patch}");
    }
}

#[test]
fn maps_merge_and_unions_retain() {
    let labels = patched(
        ("", "v1", "ConfigMap"),
        &json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "data": {"x": "1"}}),
        &json!({"metadata": {"labels": {"b": null, "c": "3"}}, "data": {"y": "2"}}),
    );
    assert_eq!(labels.unwrap(), json!({"metadata": {"labels": {"a": "1", "c": "3"}}, "data": {"x": "1", "y": "2"}}));

    let deployment = ("apps", "v1", "Deployment");
    let rolling = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let recreate = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let wanted = json!({"spec": {"strategy": {"type": "Recreate"}}});
    assert_eq!(patched(deployment, &rolling, &recreate).unwrap(), wanted);
    let wrong = json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}});
    let error = patched(deployment, &rolling, &wrong).unwrap_err();
    assert_eq!(error, PatchError::BadRequest("invalid patch format of retainKeys".to_owned()));

    let volumes = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
    let swapped = json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]});
    assert_eq!(pod(volumes, swapped).unwrap(), json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}));
}

#[test]
fn sets_of_scalars() {
    let target = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
    let cases = [
        (json!({"finalizers": ["d", "b"]}), json!(["d", "a", "b", "c"])),
        (json!({"$deleteFromPrimitiveList/finalizers": ["a", "c"]}), json!(["b"])),
        (json!({"$setElementOrder/finalizers": ["c", "a", "b"]}), json!(["c", "a", "b"])),
        (
            json!({"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["d", "c", "b"], "finalizers": ["d"]}),
            json!(["d", "c", "b"]),
        ),
    ];
    for (patch, wanted) in cases {
        let result = patched(("", "v1", "Pod"), &target, &json!({"metadata": patch})).unwrap();
        assert_eq!(result["metadata"]["finalizers"], wanted, "{patch}");
    }
}

#[test]
fn what_is_refused() {
    let target = json!({"containers": [{"name": "a", "image": "1"}], "nodeSelector": {"a": "b"}});
    let cases = [
        (json!({"$patch": "merge"}), "unknown patch type: merge in map: map[$patch:merge]"),
        (json!({"containers": [{"image": "2"}]}), "map: map[image:2] does not contain declared merge key: name"),
        (
            json!({"containers": [{"$patch": "delete"}]}),
            "map: map[$patch:delete] does not contain declared merge key: name",
        ),
        (json!({"containers": [{"$patch": "x", "name": "a"}]}), "unknown patch type: x in map: map[$patch:x name:a]"),
        (json!({"$setElementOrder/containers": 1}), "invalid patch format of setElementOrder list"),
        (json!({"$setElementOrder": []}), "invalid patch format of setElementOrder list"),
        (json!({"$deleteFromPrimitiveList": []}), "invalid patch format of primitive list"),
        (json!({"$retainKeys": {}}), "invalid patch format of retainKeys"),
        (
            json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}),
            "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
        ),
        (json!({"containers": ["a"]}), "list element types are not identical: [[map[image:1 name:a]] [a]]"),
    ];
    for (patch, message) in cases {
        assert_eq!(pod(target.clone(), patch.clone()).unwrap_err().to_string(), message, "{patch}");
    }
    assert!(patched(("", "v1", "Pod"), &json!({}), &json!([])).is_err());
}

/// Values in the shapes a patch of a pod may have, directives included.
fn any_value() -> impl Strategy<Value = Value> {
    let names = vec![
        "spec",
        "containers",
        "name",
        "ports",
        "containerPort",
        "volumes",
        "metadata",
        "finalizers",
        "labels",
        "args",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$setElementOrder/finalizers",
        "$deleteFromPrimitiveList/finalizers",
        "$setElementOrder/x",
        "tolerations",
        "nodeSelector",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3i64).prop_map(Value::from),
        prop::sample::select(vec!["a", "b", "name", "delete", "replace", "merge"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(names.clone()), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

fn container() -> impl Strategy<Value = Value> {
    let image = prop::option::of(prop::sample::select(vec!["1", "2"]));
    (prop::sample::select(vec!["a", "b", "c", "d"]), image).prop_map(|(name, image)| match image {
        Some(image) => json!({"name": name, "image": image}),
        None => json!({"name": name}),
    })
}

/// Containers by name, the last of a name winning: the model of a merged list.
fn model(lists: [&[Value]; 2]) -> std::collections::BTreeMap<String, Object> {
    let mut out: std::collections::BTreeMap<String, Object> = Default::default();
    for item in lists.into_iter().flatten().filter_map(Value::as_object) {
        out.entry(item["name"].as_str().unwrap().to_owned()).or_default().extend(item.clone());
    }
    out
}

proptest! {
    #[test]
    fn never_panics(target in any_value(), patch in any_value()) {
        let _ = patched(("", "v1", "Pod"), &target, &patch);
        let _ = pod(target, patch);
    }

    #[test]
    fn merging_lists_is_merging_maps_by_key(
        old in prop::collection::vec(container(), 0..4),
        new in prop::collection::vec(container(), 0..4),
    ) {
        let unique = |list: Vec<Value>| -> Vec<Value> {
            model([&list, &[]]).into_values().map(Value::Object).collect()
        };
        let (old, new) = (unique(old), unique(new));
        let result = pod(json!({"containers": old.clone()}), json!({"containers": new.clone()})).unwrap();
        let merged = result["containers"].as_array().unwrap();
        prop_assert_eq!(merged.len(), model([&old, &new]).len());
        prop_assert_eq!(model([merged, &[]]), model([&old, &new]));
        // Applied again, the patch changes nothing.
        prop_assert_eq!(&pod(result.clone(), json!({"containers": new})).unwrap(), &result);
    }
}
