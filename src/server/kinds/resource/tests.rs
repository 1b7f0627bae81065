//! Good and bad objects of resource.k8s.io.

use serde_json::{Value, json};

use crate::server::kinds::table_tests::Sound;

const GROUP: &str = "resource.k8s.io/v1";

fn claims() -> Sound {
    let request = json!({"name": "gpu", "exactly": {"deviceClassName": "c"}});
    Sound::new(GROUP, "ResourceClaim", json!({"spec": {"devices": {"requests": [request]}}}))
}

fn devices(field: &str, value: Value) -> Value {
    json!({"spec": {"devices": {field: value}}})
}

#[test]
fn claims_and_templates() {
    let stored = claims().stored(json!({}));
    let exactly = &stored["spec"]["devices"]["requests"][0]["exactly"];
    assert_eq!(*exactly, json!({"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1}));
    let opaque = |parameters: Value| json!([{"opaque": {"driver": "d.io", "parameters": parameters}}]);
    claims().accepts(&[
        json!({}),
        devices("constraints", json!([{"matchAttribute": "d.io/numa", "requests": ["gpu"]}])),
        devices("config", opaque(json!({"a": 1}))),
        devices("requests", json!([{"name": "a", "firstAvailable": [{"name": "b", "deviceClassName": "c"}]}])),
    ]);
    claims().refuses(&[
        (
            devices("requests", json!([{"name": "gpu"}])),
            "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
        ),
        (
            devices("requests", json!([{"name": "gpu", "exactly": {"deviceClassName": ""}}])),
            "spec.devices.requests[0].exactly.deviceClassName: Required value",
        ),
        (
            devices("requests", json!([{"name": "gpu", "exactly": {"deviceClassName": "c", "allocationMode": "All", "count": 2}}])),
            "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
        ),
        (
            devices("constraints", json!([{"matchAttribute": "numa"}])),
            "spec.devices.constraints[0].matchAttribute: Invalid value: \"numa\": a fully qualified name must be a domain and a name separated by a slash",
        ),
        (
            devices("constraints", json!([{"matchAttribute": "d.io/numa", "requests": ["cpu"]}])),
            "spec.devices.constraints[0].requests[0]: Invalid value: \"cpu\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
        ),
        (
            devices("config", opaque(json!(1))),
            "spec.devices.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
        ),
    ]);
    let changed = claims().update(json!({}), devices("requests", json!([]))).0;
    assert!(changed.len() == 1 && changed[0].ends_with("field is immutable"), "{changed:?}");
    let template = Sound::new(GROUP, "ResourceClaimTemplate", json!({"spec": {"spec": {}}}));
    template.refuses(&[
        (json!({"spec": {"metadata": {"name": "n"}}}), "spec.metadata.name: Forbidden: cannot be set"),
        (json!({"spec": {"metadata": {"uid": "u"}}}), "spec.metadata.uID: Forbidden: cannot be set"),
    ]);
    let problems = template.create(json!({"spec": {"spec": {"devices": {"requests": [{"name": "gpu"}]}}}}));
    assert!(problems.len() == 1 && problems[0].starts_with("spec.spec.devices.requests[0]: Required"), "{problems:?}");
}

#[test]
fn the_status_of_a_claim() {
    let user = json!([{"resource": "pods", "name": "p", "uid": "1"}]);
    let result = json!({"request": "gpu", "driver": "d.io", "pool": "p", "device": "dev0"});
    let allocation = json!({"devices": {"results": [result.clone()]}});
    let known = json!({"driver": "d.io", "pool": "p", "device": "dev0"});
    let cases = [
        (json!({}), json!({"allocation": allocation, "reservedFor": user}), vec![]),
        (
            json!({}),
            json!({"reservedFor": user}),
            vec!["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"],
        ),
        (
            json!({}),
            json!({"allocation": {"devices": {"results": [{"request": "cpu", "driver": "d.io", "pool": "p", "device": "d"}]}}}),
            vec![
                "status.allocation.devices.results[0].request: Invalid value: \"cpu\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
            ],
        ),
        (
            json!({"allocation": allocation}),
            json!({"allocation": allocation, "devices": [{"driver": "d.io", "pool": "p", "device": "dev1"}]}),
            vec!["status.devices[0]: Invalid value: d.io/p/dev1: must be an allocated device in the claim"],
        ),
        (
            json!({"allocation": allocation}),
            json!({"allocation": allocation, "devices": [known, known]}),
            vec!["status.devices[1]: Duplicate value: d.io/p/dev0"],
        ),
    ];
    let with = |field: &str, value: Value| {
        let mut result = result.clone();
        result[field] = value;
        json!({"allocation": {"devices": {"results": [result]}, "nodeSelector": {"nodeSelectorTerms": []}}})
    };
    let no_term =
        "status.allocation.nodeSelector.nodeSelectorTerms: Required value: must have at least one node selector term";
    let more = [
        (
            json!({}),
            with("shareID", json!("550E8400-e29b-41d4-a716-446655440000")),
            vec![
                "status.allocation.devices.results[0].shareID: Invalid value: \"550E8400-e29b-41d4-a716-446655440000\": uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters",
                no_term,
            ],
        ),
        (
            json!({}),
            with("bindingConditions", json!(["d.io/ready"])),
            vec![
                "status.allocation.devices.results[0].bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions",
                no_term,
            ],
        ),
    ];
    for (old, new, expected) in cases.into_iter().chain(more) {
        assert_eq!(claims().status(old, new.clone()), expected, "{new}");
    }
    assert_eq!(
        claims().cells(json!({"status": {"allocation": allocation, "reservedFor": user}}))[1],
        "allocated,reserved"
    );
}

#[test]
fn slices() {
    let pool = json!({"name": "p", "generation": 0, "resourceSliceCount": 1});
    let sound = Sound::new(GROUP, "ResourceSlice", json!({"spec": {"driver": "d.io", "nodeName": "n", "pool": pool}}));
    let device = |device: Value| json!({"spec": {"devices": [device]}});
    let policy = |policy: Value| {
        let capacity = json!({"memory": {"value": "10Gi", "requestPolicy": policy}});
        device(json!({"name": "a", "allowMultipleAllocations": true, "capacity": capacity}))
    };
    sound.accepts(&[
        json!({}),
        device(json!({"name": "a", "attributes": {"model": {"string": "m"}, "d.io/v": {"version": "1.2.3-rc.1+b"}},
            "capacity": {"memory": {"value": "10Gi"}}, "taints": [{"key": "k", "effect": "NoSchedule"}]})),
        policy(json!({"default": "1Gi", "validRange": {"min": "1Gi", "step": "1Gi"}})),
        policy(json!({"default": "1Gi", "validValues": ["1Gi", "2Gi"]})),
    ]);
    let long = "a".repeat(100);
    sound.refuses(&[
        (json!({"spec": {"driver": ""}}), "spec.driver: Required value"),
        (
            json!({"spec": {"nodeName": null}}),
            "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
        ),
        (
            json!({"spec": {"allNodes": true}}),
            "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set",
        ),
        (
            json!({"spec": {"pool": {"resourceSliceCount": 0}}}),
            "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
        ),
        (
            device(json!({"name": "a", "attributes": {"v": {"version": "1.2"}}})),
            "spec.devices[0].attributes[v].version: Invalid value: \"1.2\": must be a string compatible with semver.org spec 2.0.0",
        ),
        (
            device(json!({"name": "a", "attributes": {"v": {}}})),
            "spec.devices[0].attributes[v]: Invalid value: \"\": exactly one value must be specified",
        ),
        (
            device(json!({"name": "a", "allNodes": true})),
            "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
        ),
        (
            json!({"spec": {"nodeName": null, "nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "In"}]}]}}}),
            "spec.nodeSelector.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            device(json!({"name": "a", "bindingConditions": ["c"], "bindingFailureConditions": ["c"]})),
            "spec.devices[0].bindingFailureConditions[0]: Invalid value: \"c\": bindingFailureConditions must not overlap with bindingConditions",
        ),
        (
            device(json!({"name": "a", "attributes": {long.clone(): {"bool": true}}})),
            &format!("spec.devices[0].attributes[{}...{}]: Too long: may not be more than 32 bytes", "a".repeat(47), "a".repeat(46)),
        ),
        (
            policy(json!({"default": "3Gi", "validValues": ["1Gi", "2Gi"]})),
            "spec.devices[0].capacity[memory].requestPolicy.validValues: Invalid value: \"3Gi\": default value is not valid according to the requestPolicy",
        ),
        (
            policy(json!({"validRange": {"min": "1Gi"}})),
            "spec.devices[0].capacity[memory].requestPolicy.default: Required value: required when validRange is defined",
        ),
    ]);
    sound.changes(&[
        (json!({"spec": {"pool": {"generation": 1}}}), &[]),
        (json!({"spec": {"driver": "e.io"}}), &["spec.driver: Invalid value: \"e.io\": field is immutable"]),
    ]);
}

#[test]
fn device_classes() {
    let sound = Sound::new(GROUP, "DeviceClass", json!({"spec": {}}));
    sound.accepts(&[json!({}), json!({"spec": {"extendedResourceName": "d.io/gpu"}})]);
    let selector = |expression: &str| json!({"spec": {"selectors": [{"cel": {"expression": expression}}]}});
    sound.accepts(&[
        selector("device.driver == 'd.io' && device.attributes['d.io'].model.matches('^a')"),
        selector("device.attributes['d.io'].healthy"),
        selector("device.capacity['d.io'].memory.isGreaterThan(quantity('1Gi')) || !device.allowMultipleAllocations"),
        selector("cel.bind(d, device.attributes['d.io'], d.a && d.b)"),
    ]);
    sound.refuses(&[
        (
            selector("device.attributes[true].someBoolean"),
            "spec.selectors[0].cel.expression: Invalid value: \"device.attributes[true].someBoolean\": compilation failed: ERROR: <input>:1:18: found no matching overload for '_[_]' applied to '(map(string, map(string, any)), bool)'\n | device.attributes[true].someBoolean\n | .................^",
        ),
        (
            selector("device.driver"),
            "spec.selectors[0].cel.expression: Invalid value: \"device.driver\": must evaluate to bool or the unknown type, not string",
        ),
        (
            selector("device.attributes['d.io'].a.b"),
            "spec.selectors[0].cel.expression: Invalid value: \"device.attributes['d.io'].a.b\": must evaluate to bool or the unknown type, not dyn",
        ),
        (
            selector(&(0..6).fold("true".to_owned(), |inner, at| format!("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all(x{at}, {inner})"))),
            "spec.selectors[0].cel.expression: Forbidden: too complex, exceeds cost limit",
        ),
        (json!({"spec": {"selectors": [{}]}}), "spec.selectors[0].cel: Required value"),
        (
            json!({"spec": {"extendedResourceName": "cpu"}}),
            "spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name",
        ),
    ]);
}
