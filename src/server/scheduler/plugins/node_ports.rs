//! NodePorts: a host port is free on the node.

use crate::server::scheduler::framework::{Filter, Reason, Wake};
use crate::server::scheduler::snapshot::{NodeInfo, PodInfo};

pub struct NodePorts;

impl Filter for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn reject(&self, pod: &PodInfo, node: &NodeInfo) -> Vec<Reason> {
        let taken = |port| node.ports.iter().any(|used| used.clashes(port));
        match pod.claim.ports.iter().any(taken) {
            true => vec!["node(s) didn't have free ports for the requested pod ports".into()],
            false => Vec::new(),
        }
    }

    fn woken_by(&self, _wake: Wake) -> bool {
        true
    }
}
