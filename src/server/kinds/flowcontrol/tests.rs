//! Good and bad objects of flowcontrol.apiserver.k8s.io.

use serde_json::{Value, json};

use crate::server::kinds::table_tests::Sound;

const GROUP: &str = "flowcontrol.apiserver.k8s.io/v1";

#[test]
fn flow_schemas() {
    let rule = json!({"subjects": [{"kind": "User", "user": {"name": "u"}}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true}]});
    let spec = json!({"priorityLevelConfiguration": {"name": "p"}, "rules": [rule]});
    let sound = Sound::new(GROUP, "FlowSchema", json!({"spec": spec}));
    let with = |field: &str, value: Value| {
        let mut rule = rule.clone();
        rule[field] = value;
        json!({"spec": {"rules": [rule]}})
    };
    sound.accepts(&[
        json!({}),
        with("nonResourceRules", json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez/*"]}])),
        with("subjects", json!([{"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": "n"}}])),
    ]);
    sound.refuses(&[
        (
            json!({"spec": {"matchingPrecedence": 1}}),
            "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
        ),
        (
            json!({"spec": {"priorityLevelConfiguration": {"name": ""}}}),
            "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
        ),
        (
            json!({"spec": {"distinguisherMethod": {"type": "ByMood"}}}),
            "spec.distinguisherMethod.type: Unsupported value: {\"Type\":\"ByMood\"}: supported values: \"ByNamespace\", \"ByUser\"",
        ),
        (with("subjects", json!([])), "spec.rules[0].subjects: Required value: subjects must contain at least one value"),
        (
            with("subjects", json!([{"kind": "User", "user": {"name": "u"}, "group": {"name": "g"}}])),
            "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
        ),
        (
            with("subjects", json!([{"kind": "Group"}])),
            "spec.rules[0].subjects[0].group: Required value: group is required when subject kind is 'Group'",
        ),
        (
            with("resourceRules", json!([{"verbs": ["get", "*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}])),
            "spec.rules[0].resourceRules[0].verbs: Invalid value: [\"get\",\"*\"]: if '*' is present, must not specify other verbs",
        ),
        (
            with("resourceRules", json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}])),
            "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
        ),
        (
            with("nonResourceRules", json!([{"verbs": ["get"], "nonResourceURLs": ["/a*"]}])),
            "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"/a*\": wildcard can only do suffix matching",
        ),
    ]);
    let status = json!({"conditions": [{"type": "A"}, {"type": "A"}]});
    assert_eq!(sound.status(json!(null), status), ["status.conditions[1].type: Duplicate value: \"A\""]);
}

#[test]
fn priority_levels() {
    let spec = json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}});
    let sound = Sound::new(GROUP, "PriorityLevelConfiguration", json!({"spec": spec}));
    let limited = |limited: Value| json!({"spec": {"limited": limited}});
    sound.accepts(&[
        json!({}),
        limited(json!({"nominalConcurrencyShares": 0})),
        json!({"metadata": {"name": "exempt"}, "spec": {"type": "Exempt", "limited": null}}),
        json!({"metadata": {"name": "exempt"}, "spec": {"type": "Exempt", "limited": null, "exempt": {"lendablePercent": 5}}}),
    ]);
    sound.refuses(&[
        (limited(json!(null)), "spec.limited: Required value: must not be empty when type is Limited"),
        (
            limited(json!({"lendablePercent": 101})),
            "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
        ),
        (
            limited(json!({"limitResponse": {"type": "Reject"}})),
            "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited",
        ),
        (
            limited(json!({"limitResponse": {"queuing": {"queues": 4}}})),
            "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: should not be greater than queues (4)",
        ),
        (
            limited(json!({"limitResponse": {"queuing": {"queues": 1024}}})),
            "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 1024 and handSize 8 should not be greater than 60",
        ),
    ]);
    let problems = sound.create(json!({"metadata": {"name": "exempt"}}));
    assert_eq!(
        problems[0],
        "spec.type: Invalid value: \"Limited\": type must be 'Exempt' if and only if name is 'exempt'"
    );
    let fixed = "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value";
    assert!(problems.len() == 2 && problems[1].ends_with(fixed), "{problems:?}");
    assert_eq!(sound.cells(json!({}))[1..], [json!("Limited"), json!(30), json!(64), json!(8), json!(50)]);
}

#[test]
fn mandatory_objects_stay_as_they_are() {
    let level = json!({"metadata": {"name": "catch-all"}, "spec": {"type": "Limited", "limited":
        {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}}}});
    let sound = Sound::new(GROUP, "PriorityLevelConfiguration", level);
    sound.accepts(&[json!({})]);
    sound.refuses(&[(
        json!({"spec": {"limited": {"nominalConcurrencyShares": 6}}}),
        "spec: Invalid value: {\"limited\":{\"lendablePercent\":0,\"limitResponse\":{\"type\":\"Reject\"},\"nominalConcurrencyShares\":6},\"type\":\"Limited\"}: spec of 'catch-all' must equal the fixed value",
    )]);
}
