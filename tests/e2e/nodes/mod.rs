//! Several nodes on a wire: who may join, how they reach each other and are reached, and what goes on when parts fail.

mod failures;
mod host_gateway;
mod joining;
mod nat;
mod network;
mod outage;
mod restart;

use crate::support::{AgentNode, Cluster, Daemon, Host, Lan};

/// A server and an agent on a wire, as `node-1` and `node-2`, with a pod on each: `a` and `b`.
struct Pair {
    agent: AgentNode,
    cluster: Cluster,
    lan: Lan,
}

impl Pair {
    fn start(flags: &[&str]) -> Self {
        let lan = Lan::new();
        let cluster = Cluster::on(Host::on(&lan, 1), flags);
        let agent = AgentNode::join(&cluster, Host::on(&lan, 2), "node-2");
        cluster.import_busybox();
        agent.import_busybox();
        cluster.apply(&[manifest("a", "node-1"), manifest("b", "node-2")].concat());
        cluster.kubectl(&["wait", "--for=condition=Ready", "pod/a", "pod/b", "--timeout=60s"]);
        Self { agent, cluster, lan }
    }

    fn pods(&self) -> [Pod<'_>; 2] {
        [Pod::of(&self.cluster, &self.cluster, "a"), Pod::of(&self.cluster, &self.agent, "b")]
    }
}

/// A pod on a node that serves its name and something large, and stays whatever happens to the node.
fn manifest(name: &str, node: &str) -> String {
    format!(
        r#"---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  tolerations: [{{operator: Exists}}]
  containers:
  - name: main
    image: busybox:latest
    imagePullPolicy: Never
    command: [sh, -c, "mkdir /www; hostname >/www/name; head -c 65536 /dev/zero >/www/large; echo serving; exec httpd -f -p 8080 -h /www"]
    readinessProbe: {{httpGet: {{path: /name, port: 8080}}, periodSeconds: 1}}
"#
    )
}

/// A pod made by [`manifest`], from inside and from outside.
struct Pod<'a> {
    on: &'a Daemon,
    uid: String,
    ip: String,
}

impl<'a> Pod<'a> {
    fn of(cluster: &Cluster, on: &'a Daemon, name: &str) -> Self {
        let found = cluster.field(&format!("pod/{name}"), "{.metadata.uid} {.status.podIP}");
        let (uid, ip) = found.split_once(' ').expect("a pod with an address");
        Self { on, uid: uid.to_owned(), ip: ip.to_owned() }
    }

    fn url(&self, file: &str) -> String {
        format!("http://{}:8080/{file}", self.ip)
    }

    /// What an HTTP server answers to this pod; nothing where it does not in time.
    fn get(&self, url: &str) -> Vec<u8> {
        let output = self.on.in_pod(&self.uid, "curl").args(["-s", "-f", "-m", "2", url]).output().expect("curl runs");
        output.stdout
    }

    fn reaches(&self, other: &Pod) -> bool {
        !self.get(&other.url("name")).is_empty()
    }

    /// How large packets of this pod may be.
    fn mtu(&self) -> usize {
        let output = self.on.in_pod(&self.uid, "ip").args(["-o", "link", "show", "eth0"]).output().expect("ip runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = text.split_whitespace().skip_while(|word| *word != "mtu");
        words.nth(1).and_then(|size| size.parse().ok()).unwrap_or_else(|| panic!("no mtu in {text}"))
    }

    /// Whether a packet of that size, which nobody may divide, comes there and back.
    fn pings(&self, other: &Pod, size: usize) -> bool {
        const HEADERS: usize = 28;
        let mut ping = self.on.in_pod(&self.uid, "ping");
        ping.args(["-q", "-c", "1", "-W", "2", "-M", "do", "-s", &(size - HEADERS).to_string(), &other.ip]);
        ping.output().expect("ping runs").status.success()
    }
}
