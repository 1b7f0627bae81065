//! The real kubectl against an API server that listens: what it learns from the API's own documents.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use orch::lifecycle::Component;
use orch::server::catalog::catalog;
use orch::server::http::listener::Listener;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::wire;

/// kubectl with a home of its own.
struct Kubectl {
    dir: TempDir,
    listener: Listener,
}

impl Kubectl {
    async fn start() -> Self {
        let (dir, server, listener, kubeconfig) = wire::listening().await;
        std::fs::write(dir.path().join("config"), kubeconfig).unwrap();
        Cluster::over(server).await;
        Self { dir, listener }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.dir.path()).env("KUBECONFIG", self.path("config"));
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs kubectl without holding up the server that it talks to.
    async fn run(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command(args);
        let input = input.to_owned();
        let run = move || {
            let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let mut child = child.expect("kubectl is installed");
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    async fn ok(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kubectl {args:?}: {said}");
        assert_eq!(said, "", "kubectl {args:?} complains");
        String::from_utf8(output.stdout).unwrap()
    }

    async fn refused(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input).await;
        assert!(!output.status.success(), "kubectl {args:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    async fn stop(mut self) {
        self.listener.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_explained() {
    let kubectl = Kubectl::start().await;
    for kind in catalog().kinds() {
        let meta = kind.meta();
        let api_version = meta.api_version();
        let text = kubectl.ok(&["explain", meta.plural, "--api-version", &api_version], "").await;
        assert!(text.contains(&format!("KIND:       {}\n", meta.kind)), "{}: {text}", meta.plural);
        assert!(text.contains("FIELDS:\n") && text.contains("  apiVersion\t<string>\n"), "{text}");
        assert!(text.contains("DESCRIPTION:\n    ") && !text.contains("DESCRIPTION:\n    <empty>"), "{text}");
        let recursive = kubectl.ok(&["explain", meta.plural, "--api-version", &api_version, "--recursive"], "").await;
        let fields = |text: &str| text.lines().filter(|line| line.contains("\t<")).count();
        assert!(fields(&recursive) >= fields(&text) + meta.has_status() as usize, "{}", meta.plural);
    }
    let probe = kubectl.ok(&["explain", "pod.spec.containers.livenessProbe"], "").await;
    assert!(probe.contains("FIELD: livenessProbe <Probe>"), "{probe}");
    assert!(probe.contains("  failureThreshold\t<integer>\n"), "{probe}");
    // The older document, which client-go reads in protobuf only.
    let older = ["explain", "deployment.spec.strategy.rollingUpdate", "--output=plaintext-openapiv2"];
    let older = kubectl.ok(&older, "").await;
    assert!(older.contains("maxSurge") && older.contains("maxUnavailable"), "{older}");
    let unknown = kubectl.refused(&["explain", "pod.spec.nothing"], "").await;
    assert!(unknown.contains("field \"nothing\" does not exist"), "{unknown}");
    kubectl.stop().await;
}

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: a, image: a:1, ports: [{containerPort: 80}]}
      - {name: b, image: b:1}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn apply_and_diff_find_merge_keys() {
    let kubectl = Kubectl::start().await;
    let apply = &["apply", "-f", "-"];
    assert_eq!(kubectl.ok(apply, DEPLOYMENT).await, "deployment.apps/web created\n");
    assert_eq!(kubectl.ok(apply, DEPLOYMENT).await, "deployment.apps/web unchanged\n");
    // Somebody adds a container; applying the same again with another image for one of ours keeps it.
    let patch = r#"{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"c:1"}]}}}}"#;
    kubectl.ok(&["patch", "deployment", "web", "-p", patch], "").await;
    let newer = DEPLOYMENT.replace("b:1", "b:2");
    assert_eq!(kubectl.ok(apply, &newer).await, "deployment.apps/web configured\n");
    let images = &["get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[*].image}"];
    let mut found: Vec<String> = kubectl.ok(images, "").await.split(' ').map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, ["a:1", "b:2", "c:1"]);
    // A diff is a server-side dry run and the programs `diff` on two files.
    let diff = kubectl.run(&["diff", "-f", "-"], &newer.replace("a:1", "a:2")).await;
    let text = String::from_utf8_lossy(&diff.stdout).into_owned();
    assert_eq!(diff.status.code(), Some(1), "{}", String::from_utf8_lossy(&diff.stderr));
    assert!(text.contains("-      - image: a:1\n+      - image: a:2\n"), "{text}");
    let served = &["apply", "--server-side", "--field-manager=other", "-f", "-"];
    let conflict = kubectl.refused(served, &newer.replace("b:2", "b:3")).await;
    assert!(conflict.contains("conflict with \"kubectl-client-side-apply\""), "{conflict}");
    let forced = &["apply", "--server-side", "--force-conflicts", "-f", "-"];
    assert_eq!(kubectl.ok(forced, &newer).await, "deployment.apps/web serverside-applied\n");
    kubectl.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_refused_or_warned_of_by_the_server() {
    let kubectl = Kubectl::start().await;
    let wrong = DEPLOYMENT.replace("image: a:1", "imago: a:1");
    let refused = kubectl.refused(&["create", "--validate=strict", "-f", "-"], &wrong).await;
    assert!(refused.contains("unknown field \"spec.template.spec.containers[0].imago\""), "{refused}");
    let warned = kubectl.run(&["create", "--validate=warn", "-f", "-"], &wrong).await;
    let said = String::from_utf8_lossy(&warned.stderr).into_owned();
    assert!(said.contains("Warning: unknown field \"spec.template.spec.containers[0].imago\""), "{said}");
    kubectl.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn api_resources_and_versions_are_the_catalogs() {
    let kubectl = Kubectl::start().await;
    let names = kubectl.ok(&["api-resources", "-o", "name"], "").await;
    for kind in catalog().kinds() {
        let meta = kind.meta();
        let name = meta.resource().to_string();
        assert!(names.lines().any(|line| line == name), "no {name}");
    }
    let wide = kubectl.ok(&["api-resources", "-o", "wide", "--api-group=apps"], "").await;
    let deployments = wide.lines().find(|line| line.starts_with("deployments")).unwrap();
    let words: Vec<&str> = deployments.split_whitespace().collect();
    let verbs = "create,delete,deletecollection,get,list,patch,update,watch";
    assert_eq!(words, ["deployments", "deploy", "apps/v1", "true", "Deployment", verbs, "all"]);
    let versions = kubectl.ok(&["api-versions"], "").await;
    assert!(versions.lines().any(|line| line == "autoscaling/v2") && versions.lines().any(|line| line == "v1"));
    kubectl.stop().await;
}
