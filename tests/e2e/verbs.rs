//! The real kubectl's verbs, one thought each: what people type and what they then read.

use std::io::Write as _;

use crate::support::{Cluster, Running, told};

const SETTINGS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: x}}
data: {color: green}
"#;

/// A cluster without a node, where no pod is needed.
fn api_only() -> Cluster {
    Cluster::start_with(&["--disable-agent"])
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// kubectl fed with a manifest, whatever it comes to.
fn fed(cluster: &Cluster, args: &[&str], manifest: &str) -> (Option<i32>, String, String) {
    let mut running: Running = cluster.start_kubectl(args);
    running.child.stdin.as_mut().expect("a pipe").write_all(manifest.as_bytes()).expect("kubectl reads");
    running.rest()
}

#[test]
fn apply_creates_changes_and_leaves_alone_needs_root() {
    let cluster = api_only();
    let apply = |manifest: &str| cluster.kubectl_with(&["apply", "-f", "-"], manifest);
    assert_eq!(apply(SETTINGS), "configmap/settings created\n");
    assert_eq!(apply(SETTINGS), "configmap/settings unchanged\n");
    assert_eq!(apply(&SETTINGS.replace("color: green", "shape: round")), "configmap/settings configured\n");
    let data = cluster.kubectl(&["get", "configmap", "settings", "-o", "jsonpath={.data}"]);
    assert_eq!(data, r#"{"shape":"round"}"#, "what was applied before and is not now is gone");
}

#[test]
fn apply_on_the_server_tells_of_conflicts_needs_root() {
    let cluster = api_only();
    let mine = ["apply", "--server-side", "--field-manager=mine", "-f", "-"];
    let yours = ["apply", "--server-side", "--field-manager=yours", "-f", "-"];
    assert_eq!(cluster.kubectl_with(&mine, SETTINGS), "configmap/settings serverside-applied\n");
    let (code, _, errors) = fed(&cluster, &yours, &SETTINGS.replace("green", "blue"));
    assert_eq!(code, Some(1));
    assert!(errors.contains("Apply failed with 1 conflict: conflict with \"mine\": .data.color"), "{errors}");
    let forced = [&yours[..], &["--force-conflicts"]].concat();
    cluster.kubectl_with(&forced, &SETTINGS.replace("green", "blue"));
    assert_eq!(cluster.kubectl(&["get", "configmap", "settings", "-o", "jsonpath={.data.color}"]), "blue");
}

#[test]
fn diff_shows_what_apply_would_change_needs_root() {
    let cluster = api_only();
    cluster.apply(SETTINGS);
    let diff = |manifest: &str| fed(&cluster, &["diff", "-f", "-"], manifest);
    assert_eq!(diff(SETTINGS), (Some(0), String::new(), String::new()));
    let (code, shown, errors) = diff(&SETTINGS.replace("green", "blue"));
    assert_eq!(code, Some(1), "{errors}");
    assert!(shown.contains("\n-  color: green\n+  color: blue\n"), "{shown}");
    assert_eq!(cluster.kubectl(&["get", "configmap", "settings", "-o", "jsonpath={.data.color}"]), "green");
}

#[test]
fn every_output_format_is_there_needs_root() {
    let cluster = api_only();
    cluster.apply(SETTINGS);
    let get = |format: &str| cluster.kubectl(&["get", "configmap", "settings", "-o", format]);
    assert!(get("json").contains("\"color\": \"green\""));
    assert!(get("yaml").starts_with("apiVersion: v1\ndata:\n  color: green\nkind: ConfigMap\n"));
    assert!(get("wide").starts_with("NAME       DATA   AGE\nsettings   1"));
    assert_eq!(get("name"), "configmap/settings\n");
    assert_eq!(get("jsonpath={.data.color}"), "green");
    assert_eq!(get("go-template={{.data.color}}"), "green");
    assert_eq!(get("custom-columns=WHO:.metadata.name,COLOR:.data.color"), "WHO        COLOR\nsettings   green\n");
    let labels = cluster.kubectl(&["get", "configmap", "settings", "--show-labels", "--no-headers"]);
    assert!(labels.ends_with("app=x\n"), "{labels}");
    let selected = cluster.kubectl(&["get", "configmap", "-l", "app=x", "-o", "name", "--sort-by=.metadata.name"]);
    assert_eq!(selected, "configmap/settings\n");
}

#[test]
fn replace_label_annotate_and_edit_needs_root() {
    let cluster = api_only();
    cluster.apply(SETTINGS);
    let k = |args: &[&str]| cluster.kubectl(args);
    let replaced = cluster.kubectl_with(&["replace", "-f", "-"], &SETTINGS.replace("green", "blue"));
    assert_eq!(replaced, "configmap/settings replaced\n");
    assert_eq!(k(&["label", "configmap", "settings", "tier=one"]), "configmap/settings labeled\n");
    let again = cluster.try_kubectl(&["label", "configmap", "settings", "tier=two"]);
    assert!(told(&again).contains("already has a value (one), and --overwrite is false"), "{}", told(&again));
    assert_eq!(k(&["label", "configmap", "settings", "tier-"]), "configmap/settings unlabeled\n");
    assert_eq!(k(&["annotate", "configmap", "settings", "note=x"]), "configmap/settings annotated\n");
    let mut edit = cluster.host.command("kubectl");
    edit.env("KUBECONFIG", cluster.kubeconfig()).env("KUBE_EDITOR", "sed -i s/blue/red/");
    assert_eq!(crate::support::run(edit.args(["edit", "configmap", "settings"])), "configmap/settings edited\n");
    assert_eq!(k(&["get", "configmap", "settings", "-o", "jsonpath={.data.color}"]), "red");
}

#[test]
fn rollouts_have_a_history_needs_root() {
    let cluster = Cluster::start();
    cluster.hello();
    let k = |args: &[&str]| cluster.kubectl(args);
    k(&["set", "env", "deployment/hello", "COLOR=green"]);
    k(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    let history = k(&["rollout", "history", "deployment/hello"]);
    assert_eq!(lines(&history)[1..], ["REVISION  CHANGE-CAUSE", "1         <none>", "2         <none>", ""]);
    assert!(k(&["rollout", "history", "deployment/hello", "--revision=2"]).contains("COLOR:\tgreen"));
    assert_eq!(k(&["rollout", "undo", "deployment/hello"]), "deployment.apps/hello rolled back\n");
    k(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    assert!(!k(&["get", "deployment", "hello", "-o", "yaml"]).contains("COLOR"));
    assert_eq!(k(&["rollout", "restart", "deployment/hello"]), "deployment.apps/hello restarted\n");
    k(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    assert_eq!(k(&["rollout", "pause", "deployment/hello"]), "deployment.apps/hello paused\n");
    assert_eq!(k(&["rollout", "resume", "deployment/hello"]), "deployment.apps/hello resumed\n");
}

#[test]
fn a_node_is_cordoned_tainted_and_drained_needs_root() {
    let cluster = Cluster::start();
    cluster.hello();
    let k = |args: &[&str]| cluster.kubectl(args);
    assert_eq!(k(&["cordon", "node-1"]), "node/node-1 cordoned\n");
    assert!(k(&["get", "nodes"]).contains("Ready,SchedulingDisabled"));
    let drained = k(&["drain", "node-1", "--timeout=60s"]);
    assert!(drained.ends_with("node/node-1 drained\n") && drained.contains("evicted"), "{drained}");
    let pods = "jsonpath={.items[*].status.phase}";
    k(&["wait", "--for=jsonpath={.status.unavailableReplicas}=3", "deployment/hello", "--timeout=60s"]);
    assert_eq!(k(&["get", "pods", "-o", pods]), "Pending Pending Pending");
    assert_eq!(k(&["uncordon", "node-1"]), "node/node-1 uncordoned\n");
    k(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    assert_eq!(k(&["taint", "nodes", "node-1", "away=yes:NoExecute"]), "node/node-1 tainted\n");
    k(&["wait", "--for=jsonpath={.status.unavailableReplicas}=3", "deployment/hello", "--timeout=60s"]);
    assert_eq!(k(&["taint", "nodes", "node-1", "away-"]), "node/node-1 untainted\n");
    k(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
}

#[test]
fn everybody_learns_who_they_are_and_what_they_may_needs_root() {
    let cluster = api_only();
    let k = |args: &[&str]| cluster.kubectl(args);
    assert!(k(&["auth", "whoami"]).contains("system:masters"));
    assert_eq!(k(&["auth", "can-i", "delete", "nodes"]), "yes\n");
    k(&["create", "serviceaccount", "robot"]);
    let token = k(&["create", "token", "robot", "--duration=10m"]);
    let as_robot = ["--kubeconfig=/dev/null", "--insecure-skip-tls-verify"];
    let server = format!("--server=https://{}:6443", cluster.host.ip);
    let token = format!("--token={}", token.trim());
    let who = k(&[&as_robot[..], &[server.as_str(), token.as_str(), "auth", "whoami"]].concat());
    assert!(who.contains("system:serviceaccount:default:robot"), "{who}");
}

#[test]
fn a_certificate_is_asked_for_and_approved_needs_root() {
    let cluster = api_only();
    let key = cluster.host.dir.join("key.pem");
    let request = crate::support::run(
        cluster.host.command("openssl").args(["req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt"]).args([
            "ec_paramgen_curve:P-256",
            "-subj",
            "/O=team/CN=jane",
            "-keyout",
            key.to_str().expect("a path"),
        ]),
    );
    let mut encode = cluster.host.command("base64");
    encode.arg("-w0");
    let mut encode = Running::start(encode);
    encode.child.stdin.as_mut().expect("a pipe").write_all(request.as_bytes()).expect("base64 reads");
    let (_, encoded, _) = encode.rest();
    let manifest = format!(
        "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: jane}}\nspec: {{request: {encoded}, \
         signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}}\n"
    );
    cluster.apply(&manifest);
    assert!(cluster.kubectl(&["get", "csr", "jane"]).contains("Pending"));
    let approved = cluster.kubectl(&["certificate", "approve", "jane"]);
    assert_eq!(approved, "certificatesigningrequest.certificates.k8s.io/jane approved\n");
    cluster.kubectl(&["wait", "--for=jsonpath={.status.certificate}", "csr/jane", "--timeout=60s"]);
    assert!(cluster.kubectl(&["get", "csr", "jane"]).contains("Approved,Issued"));
}

#[test]
fn a_kind_is_explained_needs_root() {
    let cluster = api_only();
    let explained = cluster.kubectl(&["explain", "deployment.spec.replicas"]);
    assert!(explained.starts_with("GROUP:      apps\nKIND:       Deployment\nVERSION:    v1\n"), "{explained}");
    assert!(explained.contains("FIELD: replicas <integer>"), "{explained}");
}

#[test]
fn resources_are_listed_needs_root() {
    let cluster = api_only();
    let wide = cluster.kubectl(&["api-resources", "-o", "wide", "--sort-by=name"]);
    let pods =
        wide.lines().find(|line| line.starts_with("pods ")).expect("pods").split_whitespace().collect::<Vec<_>>();
    assert_eq!(pods[..5], ["pods", "po", "v1", "true", "Pod"]);
    assert_eq!(pods[5], "create,delete,deletecollection,get,list,patch,update,watch");
    assert!(cluster.kubectl(&["api-versions"]).contains("rbac.authorization.k8s.io/v1\n"));
    assert!(cluster.kubectl(&["cluster-info"]).contains("Kubernetes control plane"));
    assert!(cluster.kubectl(&["version"]).contains("Server Version: v1.36"));
}
