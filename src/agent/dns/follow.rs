//! Keeps the answers in step: with Services, with the administrator's ConfigMap, with the host's `resolv.conf`. What is
//! wrong in the ConfigMap is told there as an Event, and what was right before it goes on to count.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use hickory_proto::rr::{LowerName, Name};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::watch;

use super::resolv::Resolv;
use super::respond::{Responder, Route, Routes};
use super::settings::{Invalid, Own, Settings};
use super::zone::Zone;
use crate::agent::services::Services;
use crate::reconcile::events::{EventType, Recorder};
use crate::reconcile::memory::{Memory, Remembered, remembered};
use crate::reconcile::relist;

const NAMESPACE: &str = "kube-system";
const CONFIG_MAP: &str = "kube-dns";

/// Keeps reverse names and namespaces in step.
pub async fn services(zone: Arc<Zone>, services: Services) {
    let mut subscription = services.subscribe();
    loop {
        for key in subscription.changed().await {
            zone.index(key);
        }
    }
}

/// Watches the ConfigMap, which is remembered in the folder `memory`, if there is one.
pub fn config_map(client: Client, memory: Option<&Path>) -> Remembered<ConfigMap> {
    let only_ours = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
    let memory = memory.map(|dir| Memory { file: dir.join(CONFIG_MAP), without: &[], synced: false });
    remembered(relist::watch(Api::namespaced(client, NAMESPACE), only_ours), memory)
}

/// Follows the ConfigMap.
pub async fn settings(
    mut events: Remembered<ConfigMap>,
    own: Own,
    recorder: Recorder,
    settings: watch::Sender<Settings>,
) {
    let take = |found: Option<&ConfigMap>| {
        let data = found.and_then(|map| map.data.clone()).unwrap_or_default();
        match Settings::parse(&data, &own) {
            Ok(new) => drop(settings.send_if_modified(|old| std::mem::replace(old, new.clone()) != new)),
            Err(error) => complain(&recorder, found, &error),
        }
    };
    let mut listed = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed = false,
            Ok(watcher::Event::InitApply(map)) => {
                listed = true;
                take(Some(&map));
            }
            Ok(watcher::Event::Apply(map)) => take(Some(&map)),
            Ok(watcher::Event::InitDone) if listed => {}
            Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => take(None),
            Err(error) => tracing::debug!(%error, "watching the ConfigMap of DNS"),
        }
    }
}

fn complain(recorder: &Recorder, about: Option<&ConfigMap>, error: &Invalid) {
    let message = format!("{error}; DNS goes on with the last good configuration");
    tracing::warn!("ConfigMap {NAMESPACE}/{CONFIG_MAP}: {message}");
    if let Some(map) = about {
        recorder.event(map, EventType::Warning, "InvalidConfiguration", message);
    }
}

/// Sends questions the way that the ConfigMap and the host's file say now.
pub async fn routes(
    responder: Arc<Responder>,
    own: SocketAddr,
    mut resolv: Resolv,
    mut settings: watch::Receiver<Settings>,
) {
    let mut known = None;
    loop {
        let wanted = (settings.borrow_and_update().clone(), resolv.servers());
        if known.as_ref() != Some(&wanted) {
            let forget = known.as_ref().is_some_and(|(before, _)| *before != wanted.0);
            responder.reroute(leading(&wanted.0, &wanted.1, own), forget);
            known = Some(wanted);
            // Loops show while answers are given already.
            tokio::spawn({
                let responder = responder.clone();
                async move { responder.probe().await }
            });
        }
        tokio::select! {
            () = resolv.changed() => {}
            changed = settings.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Never to ourselves: that would have no end.
fn leading(settings: &Settings, of_host: &[SocketAddr], own: SocketAddr) -> Routes {
    let world = if settings.upstream.is_empty() { of_host } else { &settings.upstream };
    let others = |servers: &[SocketAddr]| servers.iter().copied().filter(|server| *server != own).collect::<Vec<_>>();
    let stubs = settings.stubs.iter().map(|(domain, servers)| Route::new(domain.clone(), others(servers)));
    let mut stubs: Vec<_> = stubs.collect();
    stubs.sort_by_key(|route| std::cmp::Reverse(route.domain.num_labels()));
    Routes { hosts: settings.hosts.clone(), stubs, world: Route::new(LowerName::new(&Name::root()), others(world)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_configmap_wins_over_the_host_and_nobody_is_asked_who_is_us() {
        let own = SocketAddr::from(([10, 43, 0, 10], 53));
        let server = |last| SocketAddr::from(([192, 0, 2, last], 53));
        let named = |name: &str| LowerName::new(&Name::from_ascii(name).unwrap());
        let world =
            |settings: &Settings| leading(settings, &[own, server(1)], own).world.pool.addresses().collect::<Vec<_>>();
        let mut settings = Settings::default();
        assert_eq!(world(&settings), [server(1)]);
        settings.upstream = vec![server(2), server(3)];
        assert_eq!(world(&settings), [server(2), server(3)]);
        settings.stubs = BTreeMap::from([(named("corp."), vec![server(4)]), (named("a.corp."), vec![server(5)])]);
        let routes = leading(&settings, &[], own);
        assert_eq!(routes.stubs.iter().map(|route| &*route.label).collect::<Vec<_>>(), ["a.corp.", "corp."]);
    }
}
