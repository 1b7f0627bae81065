//! A node that the server cannot reach by itself, and reaches by the tunnel that the node opened.

use super::manifest;
use crate::support::{AgentNode, Cluster, Host, Lan, told};

/// A pod on its host's network that listens on two ports and declares one.
const ON_HOST: &str = r#"
---
apiVersion: v1
kind: Pod
metadata: {name: on-host}
spec:
  nodeName: hidden
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox:latest
    imagePullPolicy: Never
    command: [sh, -c, "mkdir /www; echo here >/www/hostname; httpd -p 8082 -h /www; exec httpd -f -p 8081 -h /www"]
    ports: [{containerPort: 8081}]
    readinessProbe: {httpGet: {path: /hostname, port: 8081}, periodSeconds: 1}
"#;

#[test]
fn a_node_behind_a_translator_is_reached_by_its_tunnel_needs_root() {
    let lan = Lan::new();
    let cluster = Cluster::on(Host::on(&lan, 1), &["--disable-agent"]);
    let node = AgentNode::join(&cluster, Host::behind_nat(&lan, 2), "hidden");
    assert_eq!(cluster.field("node/hidden", "{.status.addresses[0].address}"), "192.168.2.1");
    assert!(cluster.host.http("http://192.168.2.1:10248/healthz").is_none(), "there is no direct way");
    node.import_busybox();
    cluster.apply(&[manifest("a", "hidden").as_str(), ON_HOST].concat());
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/a", "pod/on-host", "--timeout=60s"]);

    assert_eq!(cluster.kubectl(&["logs", "a"]), "serving\n");
    assert_eq!(cluster.kubectl(&["exec", "a", "--", "cat", "/www/name"]), "a\n");
    assert_eq!(cluster.kubectl(&["get", "--raw", "/api/v1/nodes/hidden/proxy/healthz"]), "ok");
    assert_eq!(cluster.kubectl(&["get", "--raw", "/api/v1/namespaces/default/pods/a:8080/proxy/name"]), "a\n");
    // A pod on the host's network has the ports that it declares.
    let on_host = |port: u16| format!("/api/v1/namespaces/default/pods/on-host:{port}/proxy/hostname");
    assert_eq!(cluster.kubectl(&["get", "--raw", &on_host(8081)]), "here\n");
    let refused = told(&cluster.try_kubectl(&["get", "--raw", &on_host(8082)]));
    assert!(refused.contains("192.168.2.1:8082"), "{refused}");
    let mut forward = cluster.start_kubectl(&["port-forward", "pod/a", "18080:8080"]);
    assert!(forward.line().contains("Forwarding from"));
    assert_eq!(cluster.host.http_soon("http://127.0.0.1:18080/name"), "a\n");
}
