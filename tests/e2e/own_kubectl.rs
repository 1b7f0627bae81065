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
    edits(&cluster);
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

/// The first edit is invalid; the file comes back with why, and the second one is good.
fn edits(cluster: &Cluster) {
    let editor = cluster.host.dir.join("editor");
    let script = "#!/bin/sh\nif grep -q 'was not valid' \"$1\"; then cp \"$1\" \"$0.seen\"; \
                  else exec sed -i 's/^  revisionHistoryLimit: .*/  revisionHistoryLimit: -1/' \"$1\"; fi\n\
                  exec sed -i 's/^  revisionHistoryLimit: .*/  revisionHistoryLimit: 7/' \"$1\"\n";
    std::fs::write(&editor, script).expect("a script");
    std::fs::set_permissions(&editor, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it runs");
    let edit = |editor: &str| {
        let mut command = cluster.host.command(&*crate::support::ORCH);
        command.env("KUBECONFIG", cluster.kubeconfig()).env("KUBE_EDITOR", editor);
        told(&command.args(["kubectl", "edit", "deployment/hello"]).output().expect("orch runs"))
    };
    let said = edit(editor.to_str().expect("a path"));
    assert!(said.contains("error: deployments.apps \"hello\" is invalid"), "{said}");
    assert!(said.contains("deployment.apps/hello edited"), "{said}");
    let seen = std::fs::read_to_string(editor.with_extension("seen")).expect("what the editor saw");
    let why = "# deployments.apps \"hello\" was not valid:\n# * spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0\n#\n";
    assert!(seen.contains(why) && seen.contains("\n  revisionHistoryLimit: -1\n"), "{seen}");
    let limit = cluster.kubectl(&["get", "deployment", "hello", "-o", "jsonpath={.spec.revisionHistoryLimit}"]);
    assert_eq!(limit, "7");
    assert!(edit("true").contains("Edit cancelled, no changes made."));
}
