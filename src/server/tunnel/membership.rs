//! Whose tunnels may be open, and how long: those of nodes that have a Node, by the key that has claimed the name, until
//! their certificate ends. Reads the store and writes nothing.

use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::Tunnels;
use crate::api::claim;
use crate::store::{EventKind, Result, Store};

const NODES: &str = "/registry/core/nodes/";
const CONFIG_MAPS: &str = "/registry/core/configmaps/";
/// The wall clock may jump and does not pass while the machine sleeps, as timers do: look at it at least so often.
const LONGEST: Duration = Duration::from_secs(3600);
/// After the store could not be watched.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a node that shows this key gets no tunnel; `None` where it does.
pub fn refusal(store: &dyn Store, node: &str, fingerprint: &str) -> Option<String> {
    if !exists(store, node) {
        return Some(format!("there is no Node {node:?}"));
    }
    let claim = store.get(&format!("{CONFIG_MAPS}{}/{node}", claim::NAMESPACE))?;
    let claim: Value = serde_json::from_slice(&claim.value).ok()?;
    let holder = claim["data"][claim::FIELD].as_str()?;
    (holder != fingerprint).then(|| format!("node name {node:?} belongs to another machine's key"))
}

fn exists(store: &dyn Store, node: &str) -> bool {
    store.get(&format!("{NODES}{node}")).is_some()
}

/// Ends when a certificate does (in seconds since the epoch).
pub async fn expired(not_after: i64) {
    loop {
        let Ok(left) = u64::try_from(not_after.saturating_sub(Timestamp::now().as_second())) else { return };
        tokio::time::sleep(Duration::from_secs(left.saturating_add(1)).min(LONGEST)).await;
    }
}

/// Closes the tunnels of nodes whose Node is deleted, as long as there are tunnels to be.
pub async fn follow(store: Arc<dyn Store>, tunnels: Weak<Tunnels>) {
    while tunnels.strong_count() > 0 {
        if let Err(error) = watch(store.as_ref(), &tunnels).await {
            tracing::debug!(%error, "deleted nodes are looked for anew");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Returns when the watch was overrun or the store has ended.
async fn watch(store: &dyn Store, tunnels: &Weak<Tunnels>) -> Result<()> {
    let mut watch = store.watch(NODES, store.revision()).await?;
    if let Some(tunnels) = tunnels.upgrade() {
        tunnels.nodes().iter().filter(|node| !exists(store, node)).for_each(|node| tunnels.close(node));
    }
    while let Some(event) = watch.events.recv().await {
        let event = event?;
        let Some(tunnels) = tunnels.upgrade() else { return Ok(()) };
        if event.kind == EventKind::Deleted
            && let Some(node) = event.item.key.strip_prefix(NODES)
        {
            tunnels.close(node);
        }
    }
    Ok(())
}
