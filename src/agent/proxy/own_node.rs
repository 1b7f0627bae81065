//! What the proxy must know of its own Node: the zone, by which topology hints choose.

use kube::ResourceExt;
use tokio::sync::watch;

use crate::agent::nodes::Nodes;

const ZONE: &str = "topology.kubernetes.io/zone";

/// Keeps `zone` in step with the label of the Node, for as long as somebody listens. A Node that is registered anew says
/// its zone then; until that happens the old one counts.
pub async fn follow_zone(nodes: Nodes, zone: watch::Sender<Option<String>>) {
    let mut own = nodes.own();
    loop {
        let known = own.borrow_and_update().clone();
        if let Some(node) = known {
            let now = node.labels().get(ZONE).cloned();
            zone.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
        }
        if zone.is_closed() || own.changed().await.is_err() {
            return;
        }
    }
}
