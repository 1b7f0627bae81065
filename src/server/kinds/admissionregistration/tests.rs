//! Good and bad objects of admissionregistration.k8s.io.

use serde_json::{Value, json};

use crate::server::kinds::table_tests::Sound;

const GROUP: &str = "admissionregistration.k8s.io/v1";

fn rule() -> Value {
    json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]})
}

/// Configurations of both kinds, empty; and a webhook for them with a change.
fn configurations() -> [Sound; 2] {
    ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"].map(|kind| Sound::new(GROUP, kind, json!({})))
}

fn hook(patch: Value) -> Value {
    let mut hook = json!({"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [rule()],
        "clientConfig": {"service": {"name": "s", "namespace": "n"}}});
    json_patch::merge(&mut hook, &patch);
    json!({"webhooks": [hook]})
}

fn resources(resources: Value) -> Value {
    let mut rule = rule();
    rule["resources"] = resources;
    hook(json!({"rules": [rule]}))
}

#[test]
fn webhooks_are_reachable_and_harmless() {
    for sound in configurations() {
        assert_eq!(sound.stored(hook(json!({})))["webhooks"][0]["clientConfig"]["service"]["port"], 443);
        sound.accepts(&[
            json!({}),
            hook(json!({})),
            hook(json!({"clientConfig": {"service": null, "url": "https://a.b/c"}})),
        ]);
        let one = &hook(json!({}))["webhooks"][0];
        let twice = json!({"webhooks": [one, one]});
        let long_name = format!(
            "webhooks[0].name: Invalid value: {:?}: must be no more than 253 bytes,a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            "A.b.c".to_owned() + &".d".repeat(130)
        );
        sound.refuses(&[
            (
                hook(json!({"name": "a.b"})),
                "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
            ),
            (
                hook(json!({"name": "A.b.c".to_owned() + &".d".repeat(130)})),
                long_name.as_str(),
            ),
            (
                hook(json!({"failurePolicy": ""})),
                "webhooks[0].failurePolicy: Unsupported value: \"\": supported values: \"Fail\", \"Ignore\"",
            ),
            (
                hook(json!({"sideEffects": "Some"})),
                "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
            ),
            (
                hook(json!({"sideEffects": ""})),
                "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
            ),
            (
                hook(json!({"timeoutSeconds": 31})),
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ),
            (
                hook(json!({"clientConfig": {"url": "https://a"}})),
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            ),
            (
                hook(json!({"clientConfig": {"service": null, "url": "http://a"}})),
                "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            ),
            (
                hook(json!({"clientConfig": {"service": {"path": "ab"}}})),
                "webhooks[0].clientConfig.service.path: Invalid value: \"ab\": must start with a '/'",
            ),
            (
                hook(json!({"admissionReviewVersions": ["v9"]})),
                "webhooks[0].admissionReviewVersions: Invalid value: [\"v9\"]: must include at least one of v1, v1beta1",
            ),
            (
                hook(json!({"matchConditions": [{"name": "a", "expression": " "}]})),
                "webhooks[0].matchConditions[0].expression: Required value",
            ),
            (
                twice,
                "webhooks[1].name: Duplicate value: \"a.b.c\"",
            ),
        ]);
    }
}

#[test]
fn webhooks_name_no_resource_twice() {
    for sound in configurations() {
        sound.accepts(&[resources(json!(["pods", "pods/*", "*/scale"])), resources(json!(["pods", "*"]))]);
        sound.refuses(&[
            (resources(json!([])), "webhooks[0].rules[0].resources: Required value"),
            (
                resources(json!(["pods/*", "pods/log"])),
                "webhooks[0].rules[0].resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log",
            ),
            (
                resources(json!(["*", "pods"])),
                "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources",
            ),
        ]);
    }
}

fn policies(kind: &str) -> Sound {
    let mut spec = json!({"matchConstraints": {"resourceRules": [rule()]}});
    match kind {
        "ValidatingAdmissionPolicy" => spec["validations"] = json!([{"expression": "true"}]),
        _ => {
            spec["mutations"] =
                json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'test'}]"}}]);
            spec["reinvocationPolicy"] = "Never".into();
        }
    }
    Sound::new(GROUP, kind, json!({"spec": spec}))
}

#[test]
fn both_policies() {
    for kind in ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"] {
        let sound = policies(kind);
        let defaulted = sound.stored(json!({}));
        assert_eq!(defaulted["spec"]["matchConstraints"]["resourceRules"][0]["scope"], "*");
        sound.accepts(&[
            json!({}),
            json!({"spec": {"paramKind": {"apiVersion": "a.b/v1", "kind": "Foo"}}}),
            json!({"spec": {"variables": [{"name": "a_1", "expression": "1"}, {"name": "b", "expression": "variables.a_1 + 1"}]}}),
            json!({"spec": {"paramKind": {"apiVersion": "v1", "kind": "Foo"}, "matchConditions": [
                {"name": "a", "expression": " authorizer.requestResource.check('get').allowed() && params.a == object.b && authorizer.group('').resource('pods').check('get').allowed() "}]}}),
        ]);
        sound.refuses(&[
            (json!({"spec": {"matchConstraints": null}}), "spec.matchConstraints: Required value"),
            (
                json!({"spec": {"matchConstraints": {"resourceRules": null}}}),
                "spec.matchConstraints.resourceRules: Required value",
            ),
            (
                json!({"spec": {"failurePolicy": "Shrug"}}),
                "spec.failurePolicy: Unsupported value: \"Shrug\": supported values: \"Fail\", \"Ignore\"",
            ),
            (
                json!({"spec": {"paramKind": {"apiVersion": "a/b/c", "kind": "Foo"}}}),
                "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
            ),
            (
                json!({"spec": {"variables": [{"name": "in", "expression": "1"}]}}),
                "spec.variables[0].name: Invalid value: \"in\": name is not a valid CEL identifier",
            ),
            (
                json!({"spec": {"variables": [{"name": "a", "expression": "1"}, {"name": "b", "expression": "variables.c + variables.a"}]}}),
                "spec.variables[1].expression: Invalid value: \"variables.c + variables.a\": compilation failed: ERROR: <input>:1:10: undefined field 'c'\n | variables.c + variables.a\n | .........^",
            ),
            (
                json!({"spec": {"matchConditions": [{"name": "a", "expression": "params.a == 1"}]}}),
                "spec.matchConditions[0].expression: Invalid value: \"params.a == 1\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.a == 1\n | ^",
            ),
            (
                json!({"spec": {"matchConditions": [{"name": "a", "expression": "request.dryRun ? 'a' : 'b'"}]}}),
                "spec.matchConditions[0].expression: Invalid value: \"request.dryRun ? 'a' : 'b'\": must evaluate to bool but got string",
            ),
            (
                json!({"spec": {"variables": [{"name": "a", "expression": ""}]}}),
                "spec.variables[0].expression: Required value: expression is not specified",
            ),
        ]);
    }
}

#[test]
fn what_policies_do() {
    policies("ValidatingAdmissionPolicy").refuses(&[
        (
            json!({"spec": {"validations": [{"expression": "true", "message": "a\nb"}]}}),
            "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
        ),
        (
            json!({"spec": {"validations": [{"expression": "true", "reason": "Mood"}]}}),
            "spec.validations[0].reason: Unsupported value: \"Mood\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
        ),
        (
            json!({"spec": {"validations": [{"expression": "object.x in [1, 2, "}]}}),
            "spec.validations[0].expression: Invalid value: \"object.x in [1, 2, \": compilation failed: ERROR: <input>:1:20: Syntax error: missing ']' at '<EOF>'\n | object.x in [1, 2, \n | ...................^",
        ),
        (
            json!({"spec": {"validations": [{"expression": "true", "messageExpression": "object.a + 1"}]}}),
            "spec.validations[0].messageExpression: Invalid value: \"object.a + 1\": must evaluate to string but got int",
        ),
        (
            json!({"spec": {"validations": [{"expression": "true", "messageExpression": "authorizer.path('/a').check('get').reason()"}]}}),
            "spec.validations[0].messageExpression: Invalid value: \"authorizer.path('/a').check('get').reason()\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'authorizer' (in container '')\n | authorizer.path('/a').check('get').reason()\n | ^",
        ),
        (
            json!({"spec": {"auditAnnotations": [{"key": "a", "valueExpression": "1"}]}}),
            "spec.auditAnnotations[0].valueExpression: Invalid value: \"1\": must evaluate to one of [string null_type] but got int",
        ),
        (
            json!({"spec": {"auditAnnotations": [{"key": "a", "valueExpression": ""}]}}),
            "spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not specified",
        ),
    ]);
    policies("MutatingAdmissionPolicy").accepts(&[
        json!({"spec": {"mutations": [{"patchType": "ApplyConfiguration", "jsonPatch": null, "applyConfiguration": {
            "expression": "Object{metadata: Object.metadata{labels: {'a': object.metadata.name}}}"}}]}}),
        json!({"spec": {"mutations": [{"patchType": "JSONPatch", "jsonPatch": {
            "expression": "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'x'}]"}}]}}),
    ]);
    policies("MutatingAdmissionPolicy").refuses(&[
        (
            json!({"spec": {"mutations": []}}),
            "spec.mutations: Required value: mutations must contain at least one item",
        ),
        (
            json!({"spec": {"mutations": [{"patchType": "JSONPatch"}]}}),
            "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
        ),
        (
            json!({"spec": {"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'test'}]"}, "applyConfiguration": {"expression": "x"}}]}}),
            "spec.mutations[0].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified when patchType is JSONPatch",
        ),
        (
            json!({"spec": {"mutations": [{"patchType": "ApplyConfiguration", "jsonPatch": null, "applyConfiguration": {"expression": "'a'"}}]}}),
            "spec.mutations[0].applyConfiguration.expression: Invalid value: \"'a'\": must evaluate to Object but got string",
        ),
        (
            json!({"spec": {"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[1]"}}]}}),
            "spec.mutations[0].jsonPatch.expression: Invalid value: \"[1]\": must evaluate to list(JSONPatch) but got list(int)",
        ),
        (
            json!({"spec": {"matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["DELETE"]}]}}}),
            "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
        ),
        (json!({"spec": {"reinvocationPolicy": null}}), "spec.reinvocationPolicy: Required value"),
    ]);
}

#[test]
fn both_bindings() {
    for kind in ["MutatingAdmissionPolicyBinding", "ValidatingAdmissionPolicyBinding"] {
        let sound = Sound::new(GROUP, kind, json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}}));
        let parameters = |parameters: Value| json!({"spec": {"paramRef": parameters}});
        sound.accepts(&[json!({}), parameters(json!({"name": "a", "parameterNotFoundAction": "Deny"}))]);
        sound.refuses(&[
            (json!({"spec": {"policyName": ""}}), "spec.policyName: Required value"),
            (
                parameters(json!({"parameterNotFoundAction": "Deny"})),
                "spec.paramRef: Required value: one of name or selector must be specified",
            ),
            (parameters(json!({"name": "a"})), "spec.paramRef.parameterNotFoundAction: Required value"),
        ]);
        assert_eq!(sound.cells(json!({})), [json!("x"), json!("p"), json!("<unset>")]);
    }
    let validating = Sound::new(GROUP, "ValidatingAdmissionPolicyBinding", json!({"spec": {"policyName": "p"}}));
    validating.refuses(&[
        (
            json!({"spec": {"validationActions": []}}),
            "spec.validationActions: Required value: at least one validation action is required",
        ),
        (
            json!({"spec": {"validationActions": ["Deny", "Warn"]}}),
            "spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
        ),
    ]);
}
