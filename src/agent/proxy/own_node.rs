//! What the proxy must know of its own Node: the zone, by which topology hints choose. One watch of one object.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

const ZONE: &str = "topology.kubernetes.io/zone";

/// Keeps `zone` in step with the label of the Node, for as long as somebody listens.
pub async fn follow_zone(client: Client, node: String, zone: watch::Sender<Option<String>>) {
    let only = watcher::Config::default().fields(&format!("metadata.name={node}"));
    let mut events = watcher(Api::<Node>::all(client), only).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(it) | watcher::Event::InitApply(it)) => {
                let now = it.labels().get(ZONE).cloned();
                zone.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
            }
            // A Node that is registered anew says its zone then.
            Ok(watcher::Event::Delete(_) | watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => tracing::debug!(%error, "watching this node"),
        }
        if zone.is_closed() {
            return;
        }
    }
}
