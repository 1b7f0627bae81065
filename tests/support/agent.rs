//! A node that joined: `orch agent` on a host of its own.

use std::ops::{Deref, DerefMut};
use std::process::Output;

use super::{Cluster, Daemon, Host, ORCH};

pub struct AgentNode {
    daemon: Daemon,
    pub name: String,
    server: String,
}

impl Deref for AgentNode {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl DerefMut for AgentNode {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.daemon
    }
}

impl AgentNode {
    /// A machine that may join, but does not yet.
    pub fn new(cluster: &Cluster, host: Host, name: &str) -> Self {
        Self { daemon: Daemon::new(host), name: name.to_owned(), server: cluster.url() }
    }

    /// A machine that has joined with a token of its own, and is Ready.
    pub fn join(cluster: &Cluster, host: Host, name: &str) -> Self {
        let mut node = Self::new(cluster, host, name);
        node.start(&[&format!("--token={}", cluster.token(&[]))]);
        cluster.ready(name);
        node
    }

    fn flags(&self, more: &[&str]) -> Vec<String> {
        let own = [format!("--join={}", self.server), format!("--node-name={}", self.name)];
        own.into_iter().chain(more.iter().map(|&flag| flag.to_owned())).collect()
    }

    /// Starts the agent; does not wait for anything.
    pub fn start(&mut self, flags: &[&str]) {
        let flags = self.flags(flags);
        self.daemon.spawn("agent", &flags);
    }

    /// Runs an agent that ends by itself, since it may not join, and gives what it says.
    pub fn refused(&self, flags: &[&str]) -> String {
        let mut command = self.host.command("timeout");
        command.arg("30").arg(&*ORCH).arg("agent").args(self.host_flags()).args(self.flags(flags));
        let Output { status, stderr, .. } = command.output().expect("orch runs");
        let said = String::from_utf8_lossy(&stderr).into_owned();
        assert_eq!(status.code(), Some(1), "the agent did not end by itself: {said}");
        said
    }
}
