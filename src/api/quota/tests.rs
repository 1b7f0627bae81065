//! Usages, scopes and refusals, as tables.

use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:01:00Z".parse().unwrap()
}

fn pod(value: Value) -> Pod {
    serde_json::from_value(value).unwrap()
}

fn with_resources(resources: Value) -> Pod {
    pod(json!({"spec": {"containers": [{"name": "a", "resources": resources}]}}))
}

#[test]
fn usages() {
    let requests = json!({"requests": {"cpu": "500m", "memory": "1Gi", "example.com/gpu": "2", "hugepages-2Mi": "4Mi"},
        "limits": {"cpu": "1", "example.com/gpu": "2"}});
    let used = shown(&Counted::Pod(&with_resources(requests)).usage(now()));
    assert_eq!(
        used,
        "count/pods=1,cpu=500m,hugepages-2Mi=4Mi,limits.cpu=1,memory=1Gi,pods=1,requests.cpu=500m,\
         requests.example.com/gpu=2,requests.hugepages-2Mi=4Mi,requests.memory=1Gi"
    );
    for ended in [
        json!({"status": {"phase": "Succeeded"}}),
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}}),
    ] {
        assert_eq!(shown(&Counted::Pod(&pod(ended)).usage(now())), "count/pods=1");
    }
    let service = |spec: Value| -> Service { serde_json::from_value(json!({"spec": spec})).unwrap() };
    let balanced = service(json!({"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2}]}));
    assert_eq!(
        shown(&Counted::Service(&balanced).usage(now())),
        "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2"
    );
    let claim = json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}});
    let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
    assert_eq!(
        shown(&Counted::Claim(&claim).usage(now())),
        "count/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
         fast.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi"
    );
    let request = |class: &str, count: i64| json!({"deviceClassName": class, "count": count});
    let exactly = |name: &str, request: Value| json!({"name": name, "exactly": request});
    let claim = json!({"spec": {"devices": {"requests": [
        exactly("a", request("gpu", 2)),
        exactly("b", json!({"deviceClassName": "gpu", "allocationMode": "ExactCount"})),
        exactly("c", json!({"deviceClassName": "nic", "allocationMode": "All"})),
        {"name": "d", "firstAvailable": [request("gpu", 4), request("gpu", 8), request("fpga", 1)]},
    ]}}});
    let claim: ResourceClaim = serde_json::from_value(claim).unwrap();
    assert_eq!(
        shown(&Counted::Devices(&claim).usage(now())),
        "count/resourceclaims.resource.k8s.io=1,fpga.deviceclass.resource.k8s.io/devices=1,\
         gpu.deviceclass.resource.k8s.io/devices=11,nic.deviceclass.resource.k8s.io/devices=32"
    );
    assert_eq!(shown(&Counted::Other("", "secrets").usage(now())), "count/secrets=1,secrets=1");
    assert_eq!(shown(&Counted::Other("apps", "deployments").usage(now())), "count/deployments.apps=1");
}

#[test]
fn names_that_limit_pods() {
    let none = Pod::default();
    let limited = |name: &str| Counted::Pod(&none).is_limited_by(name);
    let devices = "requests.deviceclass.resource.kubernetes.io/gpu";
    for name in
        ["pods", "count/pods", "cpu", "limits.memory", "requests.hugepages-2Mi", "requests.example.com/gpu", devices]
    {
        assert!(limited(name), "{name}");
    }
    let native = "requests.notkubernetes.io/gpu";
    for name in ["services", "example.com/gpu", "requests.storage", "limits.example.com/gpu", "count/secrets", native] {
        assert!(!limited(name), "{name}");
    }
}

#[test]
fn scopes_choose_pods() {
    let bare = with_resources(json!({}));
    let busy = with_resources(json!({"requests": {"cpu": "1"}}));
    let mut job = busy.clone();
    job.spec.as_mut().unwrap().active_deadline_seconds = Some(1);
    let mut high = bare.clone();
    high.spec.as_mut().unwrap().priority_class_name = Some("high".to_owned());
    let selector = |operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
    let cases = [
        (json!({"scopes": ["BestEffort"]}), [true, false, false, true]),
        (json!({"scopes": ["NotBestEffort", "NotTerminating"]}), [false, true, false, false]),
        (json!({"scopes": ["Terminating"]}), [false, false, true, false]),
        (selector("In", json!(["high"])), [false, false, false, true]),
        (selector("NotIn", json!(["high"])), [true, true, true, false]),
        (selector("Exists", Value::Null), [false, false, false, true]),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), [false; 4]),
    ];
    for (spec, wanted) in cases {
        let quota: ResourceQuotaSpec = serde_json::from_value(spec.clone()).unwrap();
        let found = [&bare, &busy, &job, &high].map(|pod| Counted::Pod(pod).is_in_scope(&quota));
        assert_eq!(found, wanted, "{spec}");
    }
    let quota: ResourceQuotaSpec = serde_json::from_value(json!({"scopes": ["BestEffort"]})).unwrap();
    assert!(!Counted::Other("", "secrets").is_in_scope(&quota));
}

/// A claim is in a class's scope by what it wants, has, and is on its way to.
#[test]
fn scopes_choose_claims() {
    let claim = |wants: &str, has: &str| -> PersistentVolumeClaim {
        let object =
            json!({"spec": {"volumeAttributesClassName": wants}, "status": {"currentVolumeAttributesClassName": has}});
        serde_json::from_value(object).unwrap()
    };
    for (operator, values, wants, has, holds) in [
        ("In", json!(["gold"]), "gold", "", true),
        ("In", json!(["gold"]), "silver", "gold", true),
        ("In", json!(["gold"]), "", "", false),
        ("NotIn", json!(["gold"]), "gold", "gold", false),
        ("NotIn", json!(["gold"]), "silver", "gold", true),
        ("NotIn", json!(["gold"]), "", "", true),
        ("Exists", Value::Null, "", "gold", true),
        ("DoesNotExist", Value::Null, "", "gold", false),
    ] {
        let scope = json!({"scopeName": "VolumeAttributesClass", "operator": operator, "values": values});
        let quota = json!({"scopeSelector": {"matchExpressions": [scope]}});
        let quota: ResourceQuotaSpec = serde_json::from_value(quota).unwrap();
        let found = Counted::Claim(&claim(wants, has)).is_in_scope(&quota);
        assert_eq!(found, holds, "{operator} {values}: {wants}, {has}");
    }
}

#[test]
fn refusals_are_upstreams() {
    let read = |value: Value| amounts(Some(&serde_json::from_value(value).unwrap()));
    let hard = read(json!({"pods": "2", "requests.cpu": "1"}));
    let used = read(json!({"pods": "2", "requests.cpu": "500m"}));
    let asked = read(json!({"pods": "1", "requests.cpu": "200m"}));
    assert_eq!(
        exceeded("q", &asked, &used, &hard).unwrap(),
        "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    );
    assert_eq!(exceeded("q", &read(json!({"pods": "-1"})), &read(json!({"pods": "5"})), &hard), None);
    let two = pod(json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}],
        "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1"}}}]}}));
    assert_eq!(
        missing(&two, ["pods", "limits.memory", "requests.cpu"].into_iter()).unwrap(),
        "must specify limits.memory for: a,b,i; requests.cpu for: a,b"
    );
    assert_eq!(missing(&two, ["pods"].into_iter()), None);
    let whole = |resources: Value| pod(json!({"spec": {"containers": [{"name": "a"}], "resources": resources}}));
    let limits = || ["limits.memory"].into_iter();
    assert_eq!(missing(&whole(json!({"requests": {"cpu": "1"}})), limits()), None);
    assert_eq!(missing(&whole(json!({"requests": {}})), limits()).unwrap(), "must specify limits.memory for: a");
}
