//! The tunnels that agents have opened, by node: the server's way to nodes that it cannot reach by itself.
//!
//! A node has one tunnel or none; the newest wins, because an agent opens another only when it has lost the one before.
//! Agents open them ([`accept`]); [`crate::server::subresource::dial`] uses them. Nothing is kept when a tunnel ends.

mod accept;
mod live;
mod membership;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::store::Store;
pub use live::{Kind, Refused, Tunnel};

/// The open tunnels.
#[derive(Default)]
pub struct Tunnels {
    by_node: Mutex<HashMap<String, Arc<Tunnel>>>,
    /// Tells that one was opened.
    opened: watch::Sender<()>,
    open: Gauge,
    /// Closes those of deleted Nodes; begins with the first tunnel.
    follower: OnceLock<AbortOnDropHandle<()>>,
}

impl Tunnels {
    pub fn of(&self, node: &str) -> Option<Arc<Tunnel>> {
        self.by_node.lock().get(node).cloned()
    }

    /// The node's tunnel, as soon as it has one.
    pub async fn arrival(&self, node: &str) -> Arc<Tunnel> {
        let mut opened = self.opened.subscribe();
        loop {
            if let Some(tunnel) = self.of(node) {
                return tunnel;
            }
            // The sender lives as long as this.
            let _ = opened.changed().await;
        }
    }

    /// Shows how many there are.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "orch_tunnels_open",
            "Nodes whose agent keeps a tunnel to this server open",
            self.open.clone(),
        );
    }

    fn nodes(&self) -> Vec<String> {
        self.by_node.lock().keys().cloned().collect()
    }

    /// Ends the node's tunnel.
    fn close(&self, node: &str) {
        if let Some(tunnel) = self.of(node) {
            tunnel.close();
        }
    }

    fn follow_nodes(self: &Arc<Self>, store: &Arc<dyn Store>) {
        self.follower.get_or_init(|| {
            let follow = membership::follow(store.clone(), Arc::downgrade(self));
            AbortOnDropHandle::new(tokio::spawn(follow))
        });
    }

    /// Lists the tunnel until what it gives is dropped; the node's former one is closed.
    fn list(self: &Arc<Self>, node: &str, tunnel: Arc<Tunnel>) -> Listed {
        let former = self.by_node.lock().insert(node.to_owned(), tunnel.clone());
        match former {
            Some(former) => former.close(),
            None => drop(self.open.inc()),
        }
        self.opened.send_replace(());
        Listed { tunnels: self.clone(), node: node.to_owned(), tunnel }
    }
}

/// A tunnel's place in the list.
struct Listed {
    tunnels: Arc<Tunnels>,
    node: String,
    tunnel: Arc<Tunnel>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut by_node = self.tunnels.by_node.lock();
        if by_node.get(&self.node).is_some_and(|listed| Arc::ptr_eq(listed, &self.tunnel)) {
            by_node.remove(&self.node);
            self.tunnels.open.dec();
        }
    }
}
