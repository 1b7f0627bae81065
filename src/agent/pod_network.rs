//! What pods on this node need of it beyond their cables: forwarding, a way to the outside, and their host ports. It
//! follows the node's pods and keeps one table of rules in step. Never touches a pod's own namespace, and leaves the
//! rules in place when it stops.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::task::JoinHandle;

use crate::lifecycle::{Component, StartError};
use crate::net::hostport::{self, HostPort};
use crate::net::masquerade;
use crate::net::nft::model::{Protocol, Table};
use crate::net::nft::watch::Deletions;
use crate::net::nft::{self, KernelTable};
use crate::reconcile::Informer;

/// What the component is told.
#[derive(Clone)]
pub struct PodNetworkConfig {
    /// The pods that are bound to this node.
    pub pods: Informer<Pod>,
    pub cluster_cidr: Ipv4Net,
    /// The table is called `<prefix>-pod`.
    pub table_prefix: String,
}

/// The component.
pub struct PodNetwork {
    config: PodNetworkConfig,
    task: Option<JoinHandle<()>>,
}

impl PodNetwork {
    pub fn new(config: PodNetworkConfig) -> Self {
        Self { config, task: None }
    }
}

#[async_trait]
impl Component for PodNetwork {
    fn name(&self) -> &'static str {
        "pod-network"
    }

    async fn start(&mut self) -> Result<(), StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError::new("pod-network", error);
        masquerade::allow_forwarding().map_err(|error| failed(&error))?;
        let name = format!("{}-pod", self.config.table_prefix);
        let kernel = KernelTable::open(&name).map_err(|error| failed(&error))?;
        let deletions = Deletions::listen(&name, kernel.port()).map_err(|error| failed(&error))?;
        let rules = Rules { kernel, cluster: self.config.cluster_cidr, ports: BTreeMap::new() };
        self.task = Some(tokio::spawn(rules.follow(self.config.pods.clone(), deletions)));
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Aborting is what we asked for.
            let _ = task.await;
        }
    }
}

/// Namespace and name of a pod.
type Key = (String, String);

struct Rules {
    kernel: KernelTable,
    cluster: Ipv4Net,
    /// The host ports of those pods that have some.
    ports: BTreeMap<Key, Vec<HostPort>>,
}

impl Rules {
    /// Begins when the list of pods is complete, so that a restart does not take away the ports of pods that were not
    /// listed yet.
    async fn follow(mut self, pods: Informer<Pod>, mut deletions: Deletions) {
        const AGAIN: Duration = Duration::from_secs(5);
        pods.wait_ready().await;
        for pod in pods.store().state() {
            self.take(&key(&pod), Some(&pod));
        }
        let mut changes = pods.changes();
        let mut due = true;
        loop {
            if due {
                let result = self.apply();
                due = result.is_err();
                if let Err(error) = result {
                    tracing::error!(%error, "pod network rules");
                }
            }
            tokio::select! {
                changed = changes.next() => {
                    let Some(changed) = changed else { return };
                    let key = (changed.namespace.unwrap_or_default(), changed.name);
                    due |= self.take(&key, pods.get(&key.0, &key.1).as_deref());
                }
                () = deletions.next() => {
                    tracing::warn!(table = self.kernel.table().name, "somebody deleted our table; putting it back");
                    self.kernel.distrust();
                    due = true;
                }
                () = tokio::time::sleep(AGAIN), if due => {}
            }
        }
    }

    /// Takes a pod as it is now, and says whether the rules are to follow.
    fn take(&mut self, key: &Key, pod: Option<&Pod>) -> bool {
        let ports = pod.map(host_ports).unwrap_or_default();
        if ports.is_empty() {
            return self.ports.remove(key).is_some();
        }
        self.ports.insert(key.clone(), ports.clone()) != Some(ports)
    }

    fn apply(&mut self) -> Result<(), nft::Error> {
        let mut table = Table { name: self.kernel.table().name.clone(), ..Table::default() };
        masquerade::extend(&mut table, self.cluster);
        hostport::extend(&mut table, self.ports.values().flatten());
        self.kernel.sync(table)
    }
}

fn key(pod: &Pod) -> Key {
    (pod.namespace().unwrap_or_default(), pod.name_any())
}

/// The host ports of a pod that has an address of its own and has not ended.
fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else { return Vec::new() };
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let Some(pod_address) = status.pod_ip.as_ref().and_then(|ip| ip.parse::<Ipv4Addr>().ok()) else {
        return Vec::new();
    };
    if ended || spec.host_network == Some(true) {
        return Vec::new();
    }
    // Only init containers that stay (restartPolicy Always) serve ports.
    let staying = spec.init_containers.iter().flatten().filter(|it| it.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(staying).flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let address = port.host_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "0.0.0.0");
            Some(HostPort {
                host_address: address.map(str::parse).transpose().ok()?,
                protocol: Protocol::parse(port.protocol.as_deref().unwrap_or("TCP"))?,
                host_port: u16::try_from(port.host_port?).ok().filter(|port| *port != 0)?,
                pod_address,
                container_port: u16::try_from(port.container_port).ok()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_running_pods_with_an_address_of_their_own_have_host_ports() {
        let pod = |spec: serde_json::Value, status: serde_json::Value| {
            let mut spec = spec;
            spec["containers"] = json!([{"name": "c", "ports": [
                {"containerPort": 80, "hostPort": 8080, "hostIP": "0.0.0.0"},
                {"containerPort": 81},
                {"containerPort": 82, "hostPort": 8082, "hostIP": "192.0.2.1", "protocol": "UDP"},
            ]}]);
            serde_json::from_value::<Pod>(json!({"metadata": {"name": "p"}, "spec": spec, "status": status})).unwrap()
        };
        let running = json!({"phase": "Running", "podIP": "10.42.0.2"});
        let ports = host_ports(&pod(json!({}), running.clone()));
        assert_eq!(
            ports.iter().map(|it| (it.host_port, it.container_port)).collect::<Vec<_>>(),
            [(8080, 80), (8082, 82)]
        );
        assert_eq!(ports[0].host_address, None);
        assert_eq!(ports[1].host_address, Some([192, 0, 2, 1].into()));
        assert_eq!(host_ports(&pod(json!({"hostNetwork": true}), running)), []);
        assert_eq!(host_ports(&pod(json!({}), json!({"phase": "Pending"}))), []);
        assert_eq!(host_ports(&pod(json!({}), json!({"phase": "Succeeded", "podIP": "10.42.0.2"}))), []);
    }
}
