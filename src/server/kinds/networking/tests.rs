//! Good and bad objects of networking.k8s.io.

use serde_json::{Value, json};

use crate::server::kinds::table_tests::Sound;

const GROUP: &str = "networking.k8s.io/v1";

fn service(port: Value) -> Value {
    json!({"service": {"name": "s", "port": port}})
}

#[test]
fn ingresses() {
    let sound = Sound::new(GROUP, "Ingress", json!({"spec": {"defaultBackend": service(json!({"number": 80}))}}));
    let route = |kind: &str, path: &str| {
        let route = json!({"pathType": kind, "path": path, "backend": service(json!({"name": "http"}))});
        json!({"spec": {"rules": [{"host": "a.b", "http": {"paths": [route]}}]}})
    };
    sound.accepts(&[
        json!({}),
        route("Prefix", "/a"),
        route("ImplementationSpecific", ""),
        json!({"spec": {"defaultBackend": {"service": {"name": "1s"}}}}),
        json!({"spec": {"defaultBackend": {"service": null, "resource": {"kind": "Bucket", "name": "b"}}}}),
        json!({"spec": {"tls": [{"hosts": ["*.a.b"], "secretName": "s"}], "ingressClassName": "c"}}),
    ]);
    sound.refuses(&[
        (
            json!({"spec": {"defaultBackend": null}}),
            "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified",
        ),
        (
            json!({"spec": {"defaultBackend": {"service": null}}}),
            "spec.defaultBackend: Invalid value: \"\": resource or service backend is required",
        ),
        (
            json!({"spec": {"defaultBackend": {"service": {"port": {"number": null}}}}}),
            "spec.defaultBackend: Required value: port name or number is required",
        ),
        (
            json!({"spec": {"defaultBackend": {"service": {"port": {"name": "a"}}}}}),
            "spec.defaultBackend: Invalid value: \"\": cannot set both port name & port number",
        ),
        (
            route("Exact", "/a/.."),
            "spec.rules[0].http.paths[0].path: Invalid value: \"/a/..\": cannot end with '/..'",
        ),
        (route("", "/"), "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"),
        (
            route("Regex", "/"),
            "spec.rules[0].http.paths[0].pathType: Unsupported value: \"Regex\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\"",
        ),
        (
            json!({"spec": {"rules": [{"host": "010.0.0.1"}]}}),
            "spec.rules[0].host: Invalid value: \"010.0.0.1\": must be a DNS name, not an IP address",
        ),
        (
            json!({"spec": {"ingressClassName": "a"}, "metadata": {"annotations": {"kubernetes.io/ingress.class": "b"}}}),
            "annotations.kubernetes.io/ingress.class: Invalid value: \"b\": must match `ingressClassName` when both are specified",
        ),
    ]);
    let old = json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "b"}}});
    let expected =
        "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead";
    assert_eq!(sound.warnings(old), [expected]);
    let status = sound.status(json!(null), json!({"loadBalancer": {"ingress": [{"hostname": "10.0.0.1"}]}}));
    let expected =
        "status.loadBalancer.ingress[0].hostname: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address";
    assert_eq!(status, [expected]);
}

#[test]
fn ingress_classes() {
    let sound = Sound::new(GROUP, "IngressClass", json!({"spec": {"controller": "a.b/c"}}));
    let parameters = |parameters: Value| json!({"spec": {"parameters": parameters}});
    sound.accepts(&[json!({}), parameters(json!({"kind": "K", "name": "n"}))]);
    sound.refuses(&[
        (
            json!({"spec": {"controller": "c"}}),
            "spec.controller: Invalid value: \"c\": must be a domain-prefixed path (such as \"acme.io/foo\")",
        ),
        (json!({"spec": {"controller": null}}), "spec.controller: Required value"),
        (
            parameters(json!({"kind": "K", "name": "n", "scope": "Namespace"})),
            "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
        ),
        (
            parameters(json!({"kind": "K", "name": "n", "scope": ""})),
            "spec.parameters.scope: Unsupported value: \"\": supported values: \"Cluster\", \"Namespace\"",
        ),
        (
            parameters(json!({"kind": "K", "name": "n", "namespace": "a"})),
            "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
        ),
        (parameters(json!({"kind": "", "name": "n"})), "spec.parameters.kind: Required value"),
    ]);
    sound.changes(&[(
        json!({"spec": {"controller": "a.b/d"}}),
        &["spec.controller: Invalid value: \"a.b/d\": field is immutable"],
    )]);
}

#[test]
fn network_policies() {
    let sound = Sound::new(GROUP, "NetworkPolicy", json!({"spec": {}}));
    let port = |port: Value| json!({"spec": {"ingress": [{"ports": [port]}]}});
    let block = |cidr: &str, except: &str| json!({"spec": {"ingress": [{"from": [{"ipBlock": {"cidr": cidr, "except": [except]}}]}]}});
    sound.accepts(&[port(json!({"port": 80, "endPort": 90})), block("10.0.0.0/8", "10.1.0.0/16")]);
    sound.refuses(&[
        (
            port(json!({"port": 80, "endPort": 70})),
            "spec.ingress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`",
        ),
        (
            port(json!({"endPort": 70})),
            "spec.ingress[0].ports[0].endPort: Invalid value: 70: may not be specified when `port` is not specified",
        ),
        (
            port(json!({"port": "http", "endPort": 70})),
            "spec.ingress[0].ports[0].endPort: Invalid value: 70: may not be specified when `port` is non-numeric",
        ),
        (
            block("10.0.0.0/8", "10.0.0.0/8"),
            "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`",
        ),
        (
            json!({"spec": {"egress": [{"to": [{"ipBlock": {"cidr": ""}}]}]}}),
            "spec.egress[0].to[0].ipBlock.cidr: Required value",
        ),
        (
            block("010.0.0.0/8", "10.1.0.0/16"),
            "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"010.0.0.0/8\": must not have leading 0s in IP or prefix length",
        ),
        (
            json!({"spec": {"policyTypes": ["Ingress", "Egress", "Ingress"]}}),
            "spec.policyTypes: Invalid value: [\"Ingress\",\"Egress\",\"Ingress\"]: may not specify more than two policyTypes",
        ),
    ]);
}

#[test]
fn a_peer_is_a_block_or_a_selector() {
    let sound = Sound::new(GROUP, "NetworkPolicy", json!({"spec": {}}));
    let both = json!({"spec": {"ingress": [{"from": [{"podSelector": {}, "ipBlock": {"cidr": "a"}}]}]}});
    let expected = [
        "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"a\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
    ];
    assert_eq!(sound.create(both), expected);
}

#[test]
fn ranges_and_addresses_of_services() {
    let ranges = Sound::new(GROUP, "ServiceCIDR", json!({"spec": {"cidrs": ["10.0.0.0/16"]}}));
    ranges.accepts(&[json!({}), json!({"spec": {"cidrs": ["10.0.0.0/16", "fd00::/64"]}})]);
    ranges.refuses(&[
        (json!({"spec": {"cidrs": []}}), "spec.cidrs: Required value: at least one CIDR required"),
        (
            json!({"spec": {"cidrs": ["10.0.0.0/16", "10.1.0.0/16"]}}),
            "spec.cidrs: Invalid value: [\"10.0.0.0/16\",\"10.1.0.0/16\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
        ),
        (
            json!({"spec": {"cidrs": ["10.0.0.0/16", "a"]}}),
            "spec.cidrs[1]: Invalid value: \"a\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        ),
        (
            json!({"spec": {"cidrs": ["10.0.0.1/16"]}}),
            "spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must not have bits set beyond the prefix length",
        ),
    ]);
    ranges.changes(&[
        (json!({"spec": {"cidrs": ["10.0.0.0/16", "fd00::/64"]}}), &[]),
        (
            json!({"spec": {"cidrs": ["10.1.0.0/16"]}}),
            &["spec.cidrs[0]: Invalid value: \"10.1.0.0/16\": field is immutable"],
        ),
        (
            json!({"spec": {"cidrs": ["10.1.0.0/16", "fd00::/64"]}}),
            &["spec.cidrs[0]: Invalid value: \"10.1.0.0/16\": field is immutable"],
        ),
        (json!({"spec": {"cidrs": []}}), &["spec.cidrs: Invalid value: []: field is immutable"]),
    ]);
    let parent = json!({"resource": "services", "namespace": "default", "name": "s"});
    let addresses =
        Sound::new(GROUP, "IPAddress", json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": parent}}));
    addresses.accepts(&[json!({})]);
    addresses.refuses(&[
        (json!({"spec": {"parentRef": null}}), "spec.parentRef: Required value"),
        (json!({"spec": {"parentRef": {"resource": ""}}}), "spec.parentRef.resource: Required value"),
        (
            json!({"spec": {"parentRef": {"name": "a/b"}}}),
            "spec.parentRef.name: Invalid value: \"a/b\": may not contain '/'",
        ),
    ]);
    assert_eq!(addresses.update(json!({}), json!({"spec": {"parentRef": {"name": "t"}}})).0.len(), 1);
}
