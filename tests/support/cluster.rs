//! A cluster: a server with its own node, and the real kubectl. More nodes join it as
//! [`AgentNode`](super::AgentNode)s.

use std::ops::{Deref, DerefMut};
use std::process::{Output, Stdio};

use super::{Daemon, HELLO, Host, Running, require_root_and, told};

/// A pod that does nothing but be a client.
const CLIENT: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: client, image: "busybox:latest", imagePullPolicy: Never, command: [sleep, "3600"]}
"#;

pub struct Cluster {
    daemon: Daemon,
    pub extra: Vec<String>,
}

impl Deref for Cluster {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.daemon
    }
}

impl Cluster {
    /// Starts a server and waits until its node is Ready.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(extra: &[&str]) -> Self {
        require_root_and(&["containerd", "runc", "nft", "kubectl", "curl", "nsenter", "ip"]);
        Self::on(Host::new(), extra)
    }

    /// Starts a server on a host and waits until its node, `node-1`, is Ready.
    pub fn on(host: Host, extra: &[&str]) -> Self {
        let extra = extra.iter().map(|&flag| flag.to_owned()).collect();
        let mut cluster = Self { daemon: Daemon::new(host), extra };
        cluster.run_server();
        if !cluster.extra.iter().any(|flag| flag == "--disable-agent") {
            cluster.node_ready();
        }
        cluster
    }

    pub fn node_ready(&self) {
        self.ready("node-1");
    }

    /// Waits until a node is Ready.
    pub fn ready(&self, node: &str) {
        let node = format!("node/{node}");
        self.kubectl(&["wait", "--for=create", &node, "--timeout=60s"]);
        self.kubectl(&["wait", "--for=condition=Ready", &node, "--timeout=60s"]);
    }

    /// Where the API is.
    pub fn url(&self) -> String {
        format!("https://{}:6443", self.host.ip)
    }

    /// A new token by which machines join.
    pub fn token(&self, flags: &[&str]) -> String {
        let output = self.orch(&[&["token", "create"], flags].concat());
        assert!(output.status.success(), "token: {}", told(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Starts the server's process and waits until the API is ready.
    pub fn run_server(&mut self) {
        let flags: Vec<_> = ["--node-name=node-1".to_owned()].into_iter().chain(self.extra.clone()).collect();
        self.daemon.spawn("server", &flags);
        let ready = format!("{}/readyz", self.url());
        let retry =
            ["-s", "-k", "-f", "--retry", "600", "--retry-delay", "0", "--retry-all-errors", "--retry-max-time", "60"];
        let answer = self.host.command("curl").args(retry).arg(&ready).output().expect("curl runs");
        assert!(answer.status.success(), "the server did not get ready: {}", self.log_text());
    }

    /// The real kubectl; panics with what it said where it fails.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let output = self.try_kubectl(args);
        assert!(output.status.success(), "kubectl {args:?}: {}\n--- server:\n{}", told(&output), self.tail());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn try_kubectl(&self, args: &[&str]) -> Output {
        let mut command = self.host.command("kubectl");
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.host.dir);
        command.args(args).stdin(Stdio::null()).output().expect("kubectl runs")
    }

    /// kubectl that goes on beside the test, with pipes.
    pub fn start_kubectl(&self, args: &[&str]) -> Running {
        self.start_kubectl_with(args, &[])
    }

    /// As above, with variables of its environment.
    pub fn start_kubectl_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut command = self.host.command("kubectl");
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.host.dir).args(args);
        command.envs(variables.iter().copied());
        Running::start(command)
    }

    /// kubectl with a manifest on its standard input.
    pub fn kubectl_with(&self, args: &[&str], manifest: &str) -> String {
        use std::io::Write as _;
        let mut command = self.host.command("kubectl");
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.host.dir).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl runs");
        child.stdin.take().expect("a pipe").write_all(manifest.as_bytes()).expect("kubectl reads");
        let output = child.wait_with_output().expect("kubectl ends");
        assert!(output.status.success(), "kubectl {args:?}: {}\n--- server:\n{}", told(&output), self.tail());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn apply(&self, manifest: &str) {
        self.kubectl_with(&["apply", "-f", "-"], manifest);
    }

    /// Fields of an object, such as `pod/a` and `{.status.podIP}`.
    pub fn field(&self, object: &str, path: &str) -> String {
        self.kubectl(&["get", object, "-o", &format!("jsonpath={path}")])
    }

    /// Restarts, ids and start times of containers, which do not change where pods are left alone: those of the named
    /// pods, two at least, or of all.
    pub fn containers(&self, pods: &[&str]) -> String {
        let fields = ["restartCount", "containerID", "state.running.startedAt"];
        let fields = fields.map(|field| format!("{{.status.containerStatuses[*].{field}}}")).join(" ");
        let each = format!("jsonpath={{range .items[*]}}{{.metadata.name}} {fields}{{\"\\n\"}}{{end}}");
        self.kubectl(&[&["get", "pods"], pods, &["-o", &each]].concat())
    }

    /// The demo, rolled out.
    pub fn hello(&self) {
        self.apply(HELLO);
        self.kubectl(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    }

    /// A pod with a shell, called `client`, ready.
    pub fn client(&self) {
        self.apply(CLIENT);
        self.kubectl(&["wait", "--for=condition=Ready", "pod/client", "--timeout=60s"]);
    }

    /// What an HTTP server on port 80 answers to a pod with a shell that knows its name only; nothing where the server
    /// took the client's last word for the end.
    pub fn answer_to(&self, pod: &str, name: &str) -> String {
        // Not wget: that of a static busybox crashes without the C library's resolver modules.
        let get = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {name} 80");
        self.kubectl(&["exec", pod, "--", "sh", "-c", &get])
    }

    /// The host's number of the first process of a pod's container, known by its environment.
    pub fn process_of(&self, pod: &str) -> u32 {
        let wanted = format!("POD_NAME={pod}");
        let entries = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mut found = pids.filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
        });
        found.next().unwrap_or_else(|| panic!("no process has {wanted}"))
    }
}
