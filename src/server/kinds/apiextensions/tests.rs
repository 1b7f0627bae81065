//! Good and bad definitions of custom resources.

use serde_json::{Value, json};

use crate::server::kinds::table_tests::Sound;

fn version(name: &str, storage: bool, schema: Value) -> Value {
    json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}})
}

fn sound() -> Sound {
    let spec = json!({"group": "a.b", "scope": "Namespaced", "names": {"plural": "foos", "kind": "Foo"},
        "versions": [version("v1", true, json!({"type": "object"}))]});
    let fields = json!({"metadata": {"name": "foos.a.b"}, "spec": spec});
    Sound::new("apiextensions.k8s.io/v1", "CustomResourceDefinition", fields)
}

/// A definition whose only version has these fields beside its name.
fn one(patch: Value) -> Value {
    let mut version = version("v1", true, json!({"type": "object"}));
    json_patch::merge(&mut version, &patch);
    json!({"spec": {"versions": [version]}})
}

/// A definition with one schema for its spec.
fn schema(spec: Value) -> Value {
    one(json!({"schema": {"openAPIV3Schema": {"properties": {"spec": spec}}}}))
}

#[test]
fn the_storage_version_is_remembered() {
    let object = sound().stored(json!({}));
    assert_eq!(object["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(
        object["spec"]["names"],
        json!({"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"})
    );
    let moved = json!({"spec": {"versions": [
        version("v1", false, json!({"type": "object"})), version("v2", true, json!({"type": "object"}))]}});
    let (errors, object) = sound().update(json!({}), moved);
    assert_eq!((errors, &object["status"]["storedVersions"]), (vec![], &json!(["v1", "v2"])));
    let gone = json!({"spec": {"versions": [version("v2", true, json!({"type": "object"}))]}});
    let expected = "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions";
    assert_eq!(sound().update(json!({}), gone).0, [expected]);
}

#[test]
fn good_definitions_pass() {
    let column = json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"});
    let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    sound().accepts(&[
        json!({}),
        one(json!({"subresources": {"status": {}, "scale": scale}, "additionalPrinterColumns": [column]})),
        one(json!({"schema": {"openAPIV3Schema": {"properties": {"metadata": {"type": "object",
            "properties": {"name": {"type": "string", "maxLength": 10}}}}}}})),
        schema(json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})),
        schema(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
        schema(json!({"type": "string", "pattern": "^{[^[]+}$"})),
        schema(json!({"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"required": ["a"]}]})),
        schema(json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}})),
        json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "s", "namespace": "n"}}}}}}),
        json!({"metadata": {"name": "foos.x.k8s.io", "annotations": {"api-approved.kubernetes.io": "unapproved"}},
            "spec": {"group": "x.k8s.io"}}),
    ]);
}

#[test]
fn names_versions_and_conversion() {
    let twice = version("v1", false, json!({"type": "object"}));
    sound().refuses(&[
        (
            json!({"metadata": {"name": "bars.a.b"}}),
            "metadata.name: Invalid value: \"bars.a.b\": must be spec.names.plural+\".\"+spec.group",
        ),
        (
            json!({"metadata": {"name": "foos.a"}, "spec": {"group": "a"}}),
            "spec.group: Invalid value: \"a\": should be a domain with at least one dot",
        ),
        (
            json!({"spec": {"names": {"listKind": "Foo"}}}),
            "spec.names.listKind: Invalid value: \"Foo\": kind and listKind may not be the same",
        ),
        (
            json!({"spec": {"scope": "Galaxy"}}),
            "spec.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        (
            one(json!({"schema": null})),
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        ),
        (
            one(json!({"deprecationWarning": "old"})),
            "spec.versions[0].deprecationWarning: Invalid value: \"old\": can only be set for deprecated versions",
        ),
        (
            json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"]}}}}),
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
        ),
        (
            json!({"metadata": {"name": "foos.x.k8s.io"}, "spec": {"group": "x.k8s.io"}}),
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
        ),
        (
            json!({"spec": {"preserveUnknownFields": true}}),
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ),
    ]);
    let both = sound().create(json!({"spec": {"versions": [version("v1", true, json!({"type": "object"})), twice]}}));
    assert!(both.len() == 1 && both[0].ends_with("must contain unique version names"), "{both:?}");
}

#[test]
fn columns_subresources_and_selectable_fields() {
    let scale = json!({"specReplicasPath": ".replicas", "statusReplicasPath": ".status.replicas"});
    sound().refuses(&[
        (
            one(json!({"additionalPrinterColumns": [{"name": "A", "type": "money", "jsonPath": ".a"}]})),
            "spec.additionalPrinterColumns[0].type: Invalid value: \"money\": must be one of boolean,date,integer,number,string",
        ),
        (
            one(json!({"additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": "a"}]})),
            "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"a\": must be a simple json path starting with .",
        ),
        (
            one(json!({"subresources": {"scale": scale}})),
            "spec.subresources.scale.specReplicasPath: Invalid value: \".replicas\": should be a json path under .spec",
        ),
        (
            one(json!({"selectableFields": [{"jsonPath": ".spec.color"}]})),
            "spec.selectableFields[0].jsonPath: Invalid value: \".spec.color\": is an invalid path: does not refer to a valid field",
        ),
    ]);
}

#[test]
fn schemas_are_structural() {
    let spec = "spec.validation.openAPIV3Schema.properties[spec]";
    let cases = [
        (json!({}), format!("{spec}.type: Required value: must not be empty for specified object fields")),
        (json!({"type": "array"}), format!("{spec}.items: Required value: must be specified")),
        (
            json!({"type": "array", "items": {}}),
            format!("{spec}.items.type: Required value: must not be empty for specified array items"),
        ),
        (
            json!({"type": "string", "anyOf": [{"type": "string"}]}),
            format!("{spec}.anyOf[0].type: Forbidden: must be empty to be structural"),
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false}),
            format!("{spec}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"),
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true}),
            format!(
                "{spec}.properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
            ),
        ),
        (json!({"type": "string", "$ref": "#/a"}), format!("{spec}.$ref: Forbidden: $ref is not supported")),
        (
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-map-keys": ["k"]}),
            format!(
                "{spec}.x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty"
            ),
        ),
        (
            json!({"type": "string", "x-kubernetes-validations": [{"rule": " "}]}),
            format!("{spec}.x-kubernetes-validations[0].rule: Required value: rule is not specified"),
        ),
    ];
    for (given, expected) in cases {
        assert_eq!(sound().create(schema(given.clone())), [expected], "{given}");
    }
    let root = |patch: Value| one(json!({"schema": {"openAPIV3Schema": patch}}));
    let nested = root(json!({"properties": {}, "allOf": [{"properties": {"spec": {"minLength": 1}}}]}));
    let at = "spec.validation.openAPIV3Schema";
    sound().refuses(&[
        (root(json!({"type": "string"})), &format!("{at}.type: Invalid value: \"string\": must be object at the root")),
        (
            nested,
            &format!("{at}.properties[spec]: Required value: because it is defined in {at}.allOf[0].properties[spec]"),
        ),
        (
            root(json!({"properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}})),
            &format!("{at}.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified"),
        ),
        (root(json!({"nullable": true})), &format!("{at}.nullable: Forbidden: nullable cannot be true at the root")),
    ]);
}

#[test]
fn rules_about_values_are_read() {
    let spec = "spec.validation.openAPIV3Schema.properties[spec]";
    let cases = [
        (
            json!({"type": "string", "pattern": "^(a$"}),
            format!(
                "{spec}.pattern: Invalid value: \"^(a$\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `^(a$`"
            ),
        ),
        (
            json!({"type": "string", "allOf": [{"pattern": "[a"}]}),
            format!(
                "{spec}.allOf[0].pattern: Invalid value: \"[a\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ]: `[a`"
            ),
        ),
        (
            json!({"type": "string", "anyOf": [{"x-kubernetes-validations": [{"rule": "true"}]}]}),
            format!("{spec}.anyOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural"),
        ),
        (
            json!({"type": "integer", "default": "x"}),
            format!("{spec}.default: Invalid value: \"string\":  in body must be of type integer: \"string\""),
        ),
    ];
    for (given, expected) in cases {
        assert_eq!(sound().create(schema(given.clone())), [expected], "{given}");
    }
}

/// A spec with one rule, which is wrong at a field of it for a reason.
#[test]
fn rules_are_compiled() {
    let spec = "spec.validation.openAPIV3Schema.properties[spec]";
    let ruled = |rule: Value| {
        json!({"type": "object", "properties": {
            "replicas": {"type": "integer"}, "a-b": {"type": "string"}, "any": {"x-kubernetes-int-or-string": true},
            "names": {"type": "array", "items": {"type": "string"}},
        }, "x-kubernetes-validations": [rule]})
    };
    let good = [
        json!({"rule": "self.replicas > 1 && self.__dash__ == 'a'"}),
        json!({"rule": "self.replicas >= oldSelf.replicas", "messageExpression": "'not %d'.format([self.replicas])"}),
        json!({"rule": "self.names.all(name, name.size() < self.replicas)", "fieldPath": ".names"}),
        json!({"rule": "!oldSelf.hasValue() || oldSelf.value().replicas == self.replicas", "optionalOldSelf": true}),
        json!({"rule": "type(self.any) == int ? self.any > 1 : self.any == 'a'"}),
    ];
    for rule in good {
        let rule: Value = serde_json::from_str(&rule.to_string().replace("self.__dash__", "self.a__dash__b")).unwrap();
        assert_eq!(sound().create(schema(ruled(rule.clone()))), Vec::<String>::new(), "{rule}");
    }
    let value = |rule: &str, message: &str| {
        json!({"Rule": rule, "Message": "", "MessageExpression": message, "Reason": null, "FieldPath": "",
            "OptionalOldSelf": null})
    };
    let bad = [
        (
            json!({"rule": "self.replica > 1"}),
            format!(
                "rule: Invalid value: {}: compilation failed: ERROR: <input>:1:5: undefined field 'replica'\n | self.replica > 1\n | ....^",
                value("self.replica > 1", "")
            ),
        ),
        (
            json!({"rule": "self.replicas"}),
            format!("rule: Invalid value: {}: cel expression must evaluate to a bool", value("self.replicas", "")),
        ),
        (
            json!({"rule": "true", "messageExpression": "1"}),
            format!(
                "messageExpression: Invalid value: {}: messageExpression must evaluate to a string",
                value("true", "1")
            ),
        ),
        (
            json!({"rule": "true", "messageExpression": "x"}),
            format!(
                "messageExpression: Invalid value: {}: messageExpression compilation failed: ERROR: <input>:1:1: undeclared reference to 'x' (in container '')\n | x\n | ^",
                value("true", "x")
            ),
        ),
        (
            json!({"rule": "true", "optionalOldSelf": false}),
            "optionalOldSelf: Invalid value: false: may not be set if oldSelf is not used in rule".to_owned(),
        ),
        (
            json!({"rule": "true", "fieldPath": ".colour"}),
            "fieldPath: Invalid value: \".colour\": fieldPath must be a valid path".to_owned(),
        ),
    ];
    for (rule, expected) in bad {
        let expected = format!("{spec}.x-kubernetes-validations[0].{expected}");
        assert_eq!(sound().create(schema(ruled(rule.clone()))), [expected], "{rule}");
    }
    let items = json!({"type": "string", "maxLength": 10, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]});
    let expected = format!(
        "{spec}.items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within {spec}"
    );
    assert_eq!(sound().create(schema(json!({"type": "array", "maxItems": 10, "items": items}))), [expected]);
}

#[test]
fn rules_cost_no_more_than_they_may() {
    let spec = "spec.validation.openAPIV3Schema.properties[spec]";
    let hint = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
    let tags = |length: Value, items: Value| {
        schema(json!({"type": "array", "maxItems": items, "items": {"type": "string", "maxLength": length},
            "x-kubernetes-validations": [{"rule": "self.all(x, x.contains('gpu'))"}]}))
    };
    // The most that upstream's own validator takes.
    for (length, items) in [(16, 909_090), (63, 333_333), (253, 94_339), (1024, 24_154)] {
        assert_eq!(sound().create(tags(length.into(), items.into())), Vec::<String>::new(), "{length}");
        let refused = sound().create(tags(length.into(), (items + 1).into()));
        let expected = format!(
            "{spec}.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of 1.0"
        );
        assert!(refused.len() == 1 && refused[0].starts_with(&expected), "{length}: {refused:?}");
    }
    let rule = format!("{spec}.x-kubernetes-validations[0].rule: Forbidden:");
    let refused = sound().create(tags(16.into(), 3_000_000.into()));
    assert_eq!(refused, [format!("{rule} estimated rule cost exceeds budget by factor of 3.3x {hint}")]);
    let contributed = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
    let total = "spec.validation.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of";
    let expected = [
        format!("{rule} estimated rule cost exceeds budget by factor of more than 100x {hint}"),
        format!("{rule} {contributed}"),
        format!("{total} more than 100x {hint}"),
    ];
    assert_eq!(sound().create(tags(Value::Null, Value::Null)), expected);
    // Each is cheap enough, but there are too many; the dearest are told.
    let rules: Vec<_> = (0..11).map(|_| json!({"rule": "self.all(x, x.contains('gpu'))"})).collect();
    let many = schema(json!({"type": "array", "maxItems": 900_000, "items": {"type": "string", "maxLength": 16},
        "x-kubernetes-validations": rules}));
    let refused = sound().create(many);
    assert_eq!(refused.len(), 5, "{refused:?}");
    assert_eq!(refused[0], format!("{rule} {contributed}"));
    assert_eq!(refused[4], format!("{total} 1.089000x {hint}"));
    // A rule counts for as many values as there may be.
    let inside = |most: Value| {
        schema(
            json!({"type": "object", "maxProperties": most, "additionalProperties": {"type": "string", "maxLength": 1000,
            "x-kubernetes-validations": [{"rule": "self.startsWith('abcdefghijk')"}]}}),
        )
    };
    assert_eq!(sound().create(inside(1000.into())), Vec::<String>::new());
    let refused = sound().create(inside(5_000_000.into()));
    let here = format!("{spec}.additionalProperties.x-kubernetes-validations[0].rule: Forbidden:");
    assert_eq!(
        refused,
        [format!("{here} estimated rule cost exceeds budget by factor of 1.500000x {hint}")
            .replace("1.500000x", "1.5x")]
    );
    let message = json!({"rule": "true", "messageExpression": "'a' + string(self)"});
    let refused = sound().create(schema(json!({"type": "integer", "x-kubernetes-validations": [message]})));
    let here = format!("{spec}.x-kubernetes-validations[0].messageExpression: Forbidden:");
    assert_eq!(
        refused[0],
        format!("{here} estimated messageExpression cost exceeds budget by factor of more than 100x {hint}")
    );
}

#[test]
fn objects_of_different_places_are_not_compared() {
    let part = json!({"type": "object", "properties": {"x": {"type": "string", "maxLength": 5}}});
    let whole = |rule: &str| {
        schema(
            json!({"type": "object", "properties": {"a": part, "b": part}, "x-kubernetes-validations": [{"rule": rule}]}),
        )
    };
    assert_eq!(sound().create(whole("self.a.x == self.b.x")), Vec::<String>::new());
    let refused = sound().create(whole("self.a == self.b"));
    let wanted = "found no matching overload for '_==_' applied to '(selfType.a, selfType.b)'";
    assert!(refused.len() == 1 && refused[0].contains(wanted), "{refused:?}");
}

#[test]
fn names_are_taken_for_good_once_established() {
    let kind = json!({"spec": {"names": {"kind": "Bar", "listKind": "BarList"}}});
    assert_eq!(sound().update(json!({}), kind).0, Vec::<String>::new());
    let scope = sound().update(json!({}), json!({"spec": {"group": "c.d"}})).0;
    assert_eq!(scope, ["spec.group: Invalid value: \"c.d\": field is immutable"]);
}
