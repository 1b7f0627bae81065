//! `orch kubectl`: a machine with nothing else gets by.

use crate::support::{Cluster, told};

#[test]
fn the_built_in_kubectl_does_the_daily_work_needs_root() {
    let cluster = Cluster::start();
    let hello = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/examples/hello.yaml");
    let kubeconfig = cluster.kubeconfig();
    let run = |args: &[&str]| {
        let mut all = vec!["kubectl", "--kubeconfig", kubeconfig.to_str().unwrap()];
        all.extend(args);
        cluster.orch(&all)
    };
    let ok = |args: &[&str]| {
        let output = run(args);
        assert!(output.status.success(), "{args:?}: {}", told(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let applied = ok(&["apply", "-f", hello]);
    assert!(applied.contains("deployment.apps/hello serverside-applied"), "{applied}");
    assert!(ok(&["rollout", "status", "deployment/hello"]).contains("successfully rolled out"));
    assert!(ok(&["get", "deploy"]).contains("hello   3/3"));
    assert_eq!(ok(&["get", "svc", "hello-nodeport", "-o", "jsonpath={.spec.ports[0].nodePort}"]), "30080");
    assert!(ok(&["get", "pods", "-A", "-o", "wide"]).contains("node-1"));
    assert!(ok(&["describe", "deployment", "hello"]).contains("ScalingReplicaSet"));
    ok(&["scale", "deployment/hello", "--replicas=1"]);
    ok(&["wait", "--for=jsonpath={.status.replicas}=1", "deployment/hello", "--timeout=60s"]);
    ok(&["logs", "deployment/hello"]);
    assert!(ok(&["exec", "deployment/hello", "--", "/orch", "version"]).starts_with("orch "));
    ok(&["delete", "-f", hello]);
    let link = cluster.host.dir.join("kubectl");
    std::os::unix::fs::symlink(&*crate::support::ORCH, &link).unwrap();
    let linked =
        cluster.host.command(&link).env("KUBECONFIG", &kubeconfig).args(["get", "nodes", "-o", "name"]).output();
    assert_eq!(String::from_utf8_lossy(&linked.unwrap().stdout), "node/node-1\n");
    let gone = run(&["get", "deployment", "hello"]);
    assert!(
        told(&gone).contains("Error from server (NotFound): deployments.apps \"hello\" not found"),
        "{}",
        told(&gone)
    );
}
