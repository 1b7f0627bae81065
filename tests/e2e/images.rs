//! Images from an archive, from a registry, and from nowhere.

use crate::support::{Cluster, Registry, told};

fn pod(name: &str, image: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {{name: main, image: "{image}", command: [sleep, "3600"]}}
"#
    )
}

#[test]
fn an_imported_image_runs_needs_root() {
    let cluster = Cluster::start();
    cluster.import_busybox();
    let listed = cluster.orch(&["image", "ls"]);
    assert!(told(&listed).contains("docker.io/library/busybox"), "{}", told(&listed));
    cluster.apply(&pod("imported", "busybox:latest").replace("name: main,", "name: main, imagePullPolicy: Never,"));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/imported", "--timeout=60s"]);
    assert_eq!(cluster.kubectl(&["exec", "imported", "--", "echo", "it", "runs"]), "it runs\n");
}

#[test]
fn an_image_is_pulled_from_a_registry_needs_root() {
    let cluster = Cluster::start_with(&[&format!("--insecure-registry={}", Registry::ADDRESS)]);
    let _registry = Registry::serve(&cluster.host);
    cluster.apply(&pod("pulled", Registry::IMAGE));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/pulled", "--timeout=60s"]);
    let id = cluster.kubectl(&["get", "pod", "pulled", "-o", "jsonpath={.status.containerStatuses[0].imageID}"]);
    assert!(id.contains("@sha256:"), "{id}");
}

#[test]
fn a_missing_image_backs_off_with_upstreams_words_needs_root() {
    let cluster = Cluster::start_with(&[&format!("--insecure-registry={}", Registry::ADDRESS)]);
    let _registry = Registry::serve(&cluster.host);
    let image = format!("{}/nobody/nothing:v1", Registry::ADDRESS);
    cluster.apply(&pod("missing", &image));
    let reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}";
    cluster.kubectl(&["wait", &format!("--for={reason}=ImagePullBackOff"), "pod/missing", "--timeout=60s"]);
    let message = cluster.kubectl(&["get", "pod", "missing", "-o", &reason.replace("reason", "message")]);
    let begin = format!("Back-off pulling image \"{image}\": ErrImagePull: ");
    assert!(message.starts_with(&begin) && message.contains("not found"), "{message}");
    cluster.apply(&pod("invalid", "Not A Reference"));
    cluster.kubectl(&["wait", &format!("--for={reason}=InvalidImageName"), "pod/invalid", "--timeout=60s"]);
}
