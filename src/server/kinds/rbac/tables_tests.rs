//! Good and bad roles and bindings.

use serde_json::json;

use crate::server::kinds::table_tests::Sound;

const GROUP: &str = "rbac.authorization.k8s.io/v1";

#[test]
fn roles() {
    let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    let role = Sound::new(GROUP, "Role", json!({"rules": [rule]}));
    role.accepts(&[json!({}), json!({"metadata": {"name": "system:a"}}), json!({"rules": null})]);
    role.refuses(&[(
        json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/a"]}]}),
        "rules[0].nonResourceURLs: Invalid value: [\"/a\"]: namespaced rules cannot apply to non-resource URLs",
    )]);
    let cluster = Sound::new(GROUP, "ClusterRole", json!({"rules": [rule]}));
    cluster.accepts(&[json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}})]);
    let selectors =
        json!({"aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}});
    let expected = [
        "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        "aggregationRule.clusterRoleSelectors[0]: Invalid value: null: invalid label selector.",
    ];
    assert_eq!(cluster.create(selectors), expected);
    cluster.refuses(&[(
        json!({"aggregationRule": {}}),
        "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil",
    )]);
}

#[test]
fn what_a_binding_grants_stays() {
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        let binding = Sound::new(GROUP, kind, json!({"roleRef": {"kind": "ClusterRole", "name": "r"}}));
        binding.changes(&[
            (json!({"subjects": [{"kind": "User", "name": "u"}]}), &[]),
            (
                json!({"roleRef": {"name": "s"}}),
                &["roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"ClusterRole\",\"Name\":\"s\"}: cannot change roleRef"],
            ),
        ]);
        let bound = json!({"subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]});
        assert_eq!(binding.cells(bound), [json!("x"), json!("ClusterRole/r"), json!("u"), json!(""), json!("n/s")]);
    }
}
