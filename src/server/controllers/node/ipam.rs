//! Gives every node its part of the cluster's pod addresses (`spec.podCIDR`). One key at a time, so that no
//! two nodes get the same part. A range is free again when its node is gone.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use crate::reconcile::events::{EventType, Recorder};
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};

/// The size of a node's part.
const V4_PREFIX: u8 = 24;
const V6_PREFIX: u8 = 64;

pub struct NodeIpam {
    nodes: Informer<Node>,
    cluster: IpNet,
    events: Recorder,
}

impl NodeIpam {
    pub fn new(env: &Env, cluster: IpNet) -> Self {
        Self { nodes: env.informers.get(), cluster, events: env.events.recorder("cidrAllocator", None) }
    }
}

fn cidr(node: &Node) -> Option<IpNet> {
    node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()
}

/// The first part of `cluster` that overlaps none of `used`.
fn free(cluster: IpNet, used: &HashSet<IpNet>) -> Option<IpNet> {
    let prefix = if cluster.addr().is_ipv4() { V4_PREFIX } else { V6_PREFIX };
    let overlaps = |part: &IpNet| used.iter().any(|taken| taken.contains(part) || part.contains(taken));
    let mut parts = cluster.subnets(prefix.max(cluster.prefix_len())).ok()?;
    // Parts of the usual size are found by equality; only others need the full comparison.
    let odd = used.iter().any(|taken| taken.prefix_len() != prefix);
    parts.find(|part| !(used.contains(part) || odd && overlaps(part)))
}

impl NodeIpam {
    /// Ranges given by hand may overlap; pods of one of the nodes cannot be reached then.
    fn tell_of_duplicates(&self, node: &Node, own: IpNet) {
        for other in self.nodes.store().state() {
            let Some(taken) = cidr(&other).filter(|_| other.metadata.uid != node.metadata.uid) else { continue };
            if !(own.contains(&taken) || taken.contains(&own)) {
                continue;
            }
            let name = other.metadata.name.as_deref().unwrap_or_default();
            let message = format!(
                "pod CIDR {own} overlaps {taken} of node {name}; drain and delete one of the two nodes, it gets another range when it registers again"
            );
            self.events.event(node, EventType::Warning, "CIDRConflict", message);
        }
    }
}

#[async_trait]
impl Controller for NodeIpam {
    type Key = Key;

    fn name(&self) -> &'static str {
        "node-ipam"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        let this = self.clone();
        watches.on(&self.nodes, move |change| match &change.new {
            // A range that is new may be one that another node has.
            Some(node) if cidr(node).is_none() || change.old.as_deref().and_then(cidr) != cidr(node) => {
                vec![Key::of(node.as_ref())]
            }
            Some(_) => Vec::new(),
            // A range became free: whoever waits for one may have it.
            None => {
                let waiting = this.nodes.store().state_filter(|node| cidr(node).is_none());
                waiting.iter().map(|node| Key::of(node.as_ref())).collect()
            }
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let Some(node) = self.nodes.get("", &key.name) else { return Ok(Action::done()) };
        if node.metadata.deletion_timestamp.is_some() {
            return Ok(Action::done());
        }
        if let Some(own) = cidr(&node) {
            self.tell_of_duplicates(&node, own);
            return Ok(Action::done());
        }
        let used = self.nodes.store().state().iter().filter_map(|node| cidr(node)).collect();
        let Some(part) = free(self.cluster, &used) else {
            let message = format!("Node {} status is now: CIDRNotAvailable", key.name);
            self.events.event(node.as_ref(), EventType::Normal, "CIDRNotAvailable", message);
            return Ok(Action::done());
        };
        let patch = json!({
            "metadata": {"uid": node.metadata.uid},
            "spec": {"podCIDR": part.to_string(), "podCIDRs": [part.to_string()]},
        });
        cx.cluster::<Node>().merge(&key.name, &patch).await?;
        Ok(Action::done())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    #[test]
    fn the_first_free_part() {
        let cases: [(&str, &[&str], Option<&str>); 7] = [
            ("10.42.0.0/16", &[], Some("10.42.0.0/24")),
            ("10.42.0.0/16", &["10.42.0.0/24", "10.42.2.0/24"], Some("10.42.1.0/24")),
            ("10.42.0.0/16", &["10.42.0.0/23"], Some("10.42.2.0/24")),
            ("10.42.0.0/16", &["10.42.0.128/25"], Some("10.42.1.0/24")),
            ("10.42.0.0/23", &["10.42.0.0/24", "10.42.1.0/24"], None),
            ("10.42.0.0/25", &[], Some("10.42.0.0/25")),
            ("fd00::/56", &["fd00::/64"], Some("fd00:0:0:1::/64")),
        ];
        for (cluster, used, expected) in cases {
            let used = used.iter().map(|text| net(text)).collect();
            assert_eq!(free(net(cluster), &used), expected.map(net), "{cluster}");
        }
    }
}
