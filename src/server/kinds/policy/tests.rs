//! Good and bad disruption budgets.

use serde_json::json;

use crate::server::kinds::table_tests::Sound;

#[test]
fn budgets_are_checked() {
    let budgets = Sound::new("policy/v1", "PodDisruptionBudget", json!({"spec": {"selector": {}}}));
    budgets.accepts(&[json!({"spec": {"minAvailable": "50%"}}), json!({"spec": {"maxUnavailable": 1}})]);
    budgets.refuses(&[
        (
            json!({"spec": {"minAvailable": 1, "maxUnavailable": 1}}),
            "spec: Invalid value: {\"MinAvailable\":1,\"Selector\":{},\"MaxUnavailable\":1,\"UnhealthyPodEvictionPolicy\":null}: minAvailable and maxUnavailable cannot be both set",
        ),
        (
            json!({"spec": {"unhealthyPodEvictionPolicy": "Never"}}),
            "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Never\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
        ),
    ]);
    let condition = json!({"type": "A", "status": "Maybe", "reason": "", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": -1, "expectedPods": 0, "conditions": [condition]});
    let expected = [
        "status.conditions[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\"",
        "status.conditions[0].reason: Required value: must be set",
        "status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0",
    ];
    assert_eq!(budgets.status(json!(null), status), expected);
}
