//! What a kill, a stop and a reboot leave behind, and what comes back.

use std::process::Command;

use crate::support::{Cluster, run};

#[test]
fn a_killed_orch_leaves_pods_running_and_adopts_them_needs_root() {
    let mut cluster = Cluster::start();
    cluster.hello();
    let before = cluster.containers(&[]);
    let pod = before.split_whitespace().next().expect("a pod").to_owned();
    let process = cluster.process_of(&pod);
    let url = format!("http://{}:30080/", cluster.host.ip);

    for _ in 0..3 {
        cluster.kill();
        assert!(cluster.host.http(&url).is_some(), "pods and Services go on without orch");
        cluster.run_server();
        cluster.node_ready();
    }
    cluster.kubectl(&["annotate", "pod", &pod, "touched=yes"]);
    assert_eq!(cluster.containers(&[]), before);
    assert_eq!(cluster.process_of(&pod), process);
    // The adopted pod is still cared for: its end is seen and its container started anew.
    run(Command::new("kill").args(["-9", &process.to_string()]));
    let restarts = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1";
    cluster.kubectl(&["wait", restarts, &format!("pod/{pod}"), "--timeout=30s"]);
    let log = cluster.kubectl(&["logs", &pod, "--previous", "--tail=5"]);
    assert!(log.is_empty() || log.lines().count() <= 5);
}

/// A pod that shows a ConfigMap and its own labels.
const NOTED: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: noted}
data: {color: green}
---
apiVersion: v1
kind: Pod
metadata: {name: noted}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox:latest
    imagePullPolicy: Never
    command: [sleep, "3600"]
    volumeMounts: [{name: about, mountPath: /about}]
  volumes:
  - name: about
    projected:
      sources:
      - configMap: {name: noted}
      - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
"#;

#[test]
fn a_stopped_orch_keeps_its_pods_needs_root() {
    let mut cluster = Cluster::start();
    cluster.hello();
    cluster.import_busybox();
    cluster.apply(NOTED);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/noted", "--timeout=60s"]);
    let before = cluster.containers(&[]);
    cluster.stop();
    assert!(cluster.host.http(&format!("http://{}:30080/", cluster.host.ip)).is_some());
    cluster.run_server();
    cluster.node_ready();
    assert_eq!(cluster.containers(&[]), before);
    // Its volumes are kept up to date as before.
    cluster.kubectl(&["patch", "configmap", "noted", "-p", r#"{"data":{"color":"blue"}}"#]);
    cluster.kubectl(&["label", "pod", "noted", "new=label"]);
    let shown = "until grep -q blue /about/color && grep -q new /about/labels; do sleep 0.1; done";
    cluster.kubectl(&["exec", "noted", "--", "timeout", "30", "sh", "-c", shown]);
}

#[test]
fn a_reboot_starts_everything_anew_needs_root() {
    let mut cluster = Cluster::start();
    cluster.hello();
    cluster.kill();
    // A reboot leaves the data directory and nothing else.
    cluster.power_cycle();
    cluster.run_server();
    cluster.node_ready();
    let restarted = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1";
    cluster.kubectl(&["wait", restarted, "pod", "-l", "app=hello", "--timeout=60s"]);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod", "-l", "app=hello", "--timeout=60s"]);
    let answer = cluster.host.http_soon(&format!("http://{}:30080/", cluster.host.ip));
    assert!(answer.starts_with("Hello from pod hello-"), "{answer}");
}
