//! The cases by which structured-merge-diff documents itself, on a type like the ones in its tests.

use serde_json::{Value, json};

use super::*;
use crate::api::schema;

fn kind() -> Type {
    let items = json!({"type": "object", "properties": {
        "name": {"type": "string"},
        "size": {"type": "integer"},
        "value": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
    }});
    schema::custom(
        "Test",
        Some(&json!({"type": "object", "properties": {
            "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "list": {"type": "array", "items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            "struct": {"type": "object", "properties": {
                "name": {"type": "string"},
                "scalar": {"type": "string"},
                "complex": {"type": "object", "properties": {"name": {"type": "string"}}},
            }},
        }})),
    )
}

enum Step {
    Apply(&'static str, Value),
    Update(&'static str, Value),
}
use Step::{Apply, Update};

fn object(fields: &Value) -> Value {
    let mut object = json!({"apiVersion": "test.io/v1", "kind": "Test", "metadata": {"name": "x"}});
    for (name, value) in fields.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

/// Does the steps and gives the object without its metadata, and the paths of each manager.
fn run(steps: &[Step]) -> Result<(Value, Vec<String>), ApplyError> {
    let kind = kind();
    let request = |manager| Request {
        schema: &kind,
        group: "test.io",
        version: "v1",
        kind: "Test",
        subresource: "",
        status_is_separate: false,
        status_only: false,
        custom: true,
        manager,
        now: "2026-01-02T03:04:05Z".parse().unwrap(),
    };
    let mut live: Option<Value> = None;
    for step in steps {
        live = Some(match step {
            Apply(manager, fields) => apply(live.as_ref(), &object(fields), false, &request(manager))?.object,
            Update(manager, fields) => {
                let mut new = object(fields);
                update_managed_fields(live.as_ref(), &mut new, &request(manager));
                new
            }
        });
    }
    let mut live = live.unwrap();
    let managers = managers::decode(&live).unwrap();
    let owned = managers.iter().map(|(manager, owned)| {
        let paths: Vec<_> = owned.set.paths().iter().map(|path| set::shown(path)).collect();
        format!("{}: {}", manager.name, paths.join(" "))
    });
    let mut owned: Vec<_> = owned.collect();
    owned.sort();
    for name in ["apiVersion", "kind", "metadata"] {
        live.as_object_mut().unwrap().remove(name);
    }
    Ok((live, owned))
}

fn check(steps: &[Step], wanted: Value, owned: &[&str]) {
    let (object, found) = run(steps).unwrap();
    assert_eq!(object, wanted);
    let mut owned = owned.to_vec();
    owned.sort_unstable();
    assert_eq!(found, owned);
}

#[test]
fn sets() {
    let set = |items: &[&str]| json!({"set": items});
    check(
        &[Apply("one", set(&["a", "c"])), Apply("one", set(&["a", "b", "c", "d"]))],
        set(&["a", "b", "c", "d"]),
        &["one: .set[=\"a\"] .set[=\"b\"] .set[=\"c\"] .set[=\"d\"]"],
    );
    check(
        &[
            Apply("one", set(&["a", "c"])),
            Update("controller", set(&["a", "b", "c", "d"])),
            Apply("one", set(&["a", "aprime", "c", "cprime"])),
        ],
        set(&["a", "b", "aprime", "c", "d", "cprime"]),
        &[
            "one: .set[=\"a\"] .set[=\"aprime\"] .set[=\"c\"] .set[=\"cprime\"]",
            "controller: .set[=\"b\"] .set[=\"d\"]",
        ],
    );
    check(
        &[
            Apply("one", set(&["a", "c"])),
            Update("controller", set(&["a", "b", "c", "d"])),
            Apply("one", set(&["a", "b", "c"])),
        ],
        set(&["a", "b", "c", "d"]),
        &["one: .set[=\"a\"] .set[=\"b\"] .set[=\"c\"]", "controller: .set[=\"b\"] .set[=\"d\"]"],
    );
    check(
        &[Apply("one", set(&["a", "b", "c", "d"])), Apply("one", set(&["a", "d", "c", "b"]))],
        set(&["a", "d", "c", "b"]),
        &["one: .set[=\"a\"] .set[=\"b\"] .set[=\"c\"] .set[=\"d\"]"],
    );
    check(
        &[
            Apply("one", set(&["a", "b", "c", "d"])),
            Update("controller", set(&["a", "d", "c", "b"])),
            Apply("one", set(&["a", "b", "c", "d"])),
        ],
        set(&["a", "b", "c", "d"]),
        &["one: .set[=\"a\"] .set[=\"b\"] .set[=\"c\"] .set[=\"d\"]"],
    );
    check(
        &[Apply("one", set(&["a", "b", "c"])), Apply("one", set(&["a", "c"]))],
        set(&["a", "c"]),
        &["one: .set[=\"a\"] .set[=\"c\"]"],
    );
}

#[test]
fn appliers_of_one_list() {
    let list = |names: &[&str]| json!({"list": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
    check(
        &[Apply("one", list(&["a", "b", "c"])), Apply("two", list(&["c", "d"])), Apply("one", list(&["a"]))],
        list(&["a", "c", "d"]),
        &[
            "one: .list[name=\"a\"] .list[name=\"a\"].name",
            "two: .list[name=\"c\"] .list[name=\"d\"] .list[name=\"c\"].name .list[name=\"d\"].name",
        ],
    );
    let sized = |size: i32| json!({"list": [{"name": "a", "size": size}]});
    let owner = |name: &str| format!("{name}: .list[name=\"a\"] .list[name=\"a\"].name .list[name=\"a\"].size");
    check(&[Apply("one", sized(0)), Apply("two", sized(0))], sized(0), &[&owner("one"), &owner("two")]);
    let conflict = run(&[Apply("one", sized(0)), Apply("two", sized(1))]).unwrap_err();
    let text = "Apply failed with 1 conflict: conflict with \"one\": .list[name=\"a\"].size";
    assert_eq!(conflict.to_string(), text);
}

#[test]
fn nested_lists_and_what_dangles() {
    let nested = |a: &[&str], b: Option<&[&str]>| {
        let item = |name: &str, value: &[&str]| match value {
            [] => json!({"name": name}),
            value => json!({"name": name, "value": value}),
        };
        let mut list = vec![item("a", a)];
        list.extend(b.map(|b| item("b", b)));
        json!({"list": list})
    };
    let only_b = |value: &[&str]| json!({"list": [{"name": "b", "value": value}]});
    // One keeps its element for the sake of another's part of it.
    check(
        &[
            Apply("one", nested(&[], Some(&["c"]))),
            Apply("two", only_b(&["d"])),
            Update("controller", nested(&[], Some(&["c", "d", "e"]))),
            Apply("one", nested(&[], None)),
        ],
        nested(&[], Some(&["d", "e"])),
        &[
            "one: .list[name=\"a\"] .list[name=\"a\"].name",
            "two: .list[name=\"b\"] .list[name=\"b\"].name .list[name=\"b\"].value[=\"d\"]",
            "controller: .list[name=\"b\"].value[=\"e\"]",
        ],
    );
}

#[test]
fn fields_that_are_unset() {
    let of = |fields: Value| json!({"struct": fields});
    let alone = of(json!({"name": "a"}));
    for more in [json!({"name": "a", "scalar": "a"}), json!({"name": "a", "complex": {"name": "b"}})] {
        check(&[Apply("one", of(more.clone())), Apply("one", alone.clone())], alone.clone(), &["one: .struct.name"]);
        let mut others = more.clone();
        others.as_object_mut().unwrap().remove("name");
        let (object, _) =
            run(&[Apply("one", of(more.clone())), Apply("two", of(others)), Apply("one", alone.clone())]).unwrap();
        assert_eq!(object, of(more));
    }
    check(
        &[
            Update("updater", of(json!({"name": "a", "scalar": "a"}))),
            Apply("one", of(json!({"name": "a", "scalar": "a"}))),
            Apply("one", alone.clone()),
        ],
        of(json!({"name": "a", "scalar": "a"})),
        &["one: .struct.name", "updater: .struct .struct.name .struct.scalar"],
    );
    check(
        &[
            Apply("one", of(json!({"name": "a", "scalar": "a"}))),
            Update("updater", of(json!({"name": "a", "scalar": "b"}))),
        ],
        of(json!({"name": "a", "scalar": "b"})),
        &["one: .struct.name", "updater: .struct.scalar"],
    );
}
