//! What all workers of the kubelet share: where things are on this node, the runtime, the API and the caches.
//! Built once by `agent`; holds no pod's state.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodStatus};
use kube::Client;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::certificates::Certificates;
use super::cgroup::Cgroups;
use super::env::Facts;
use super::probes::Results;
use super::pull::Puller;
use super::resize::Claim;
use super::sandbox::Sandboxes;
use super::sources::Sources;
use super::starts::Starts;
use crate::agent::dns;
use crate::agent::runtime::Runtime;
use crate::agent::services::Services;
use crate::client;
use crate::net::node_address::NodeAddress;
use crate::reconcile::events::{EventType, Recorder, reference};

/// Names and places.
#[derive(Clone, Debug)]
pub struct Settings {
    pub node_name: String,
    pub node_address: NodeAddress,
    /// `<data-dir>/agent/pods`
    pub pods_dir: PathBuf,
    /// `/var/log/pods`
    pub log_dir: PathBuf,
    pub cluster_dns: Option<Ipv4Addr>,
    pub cluster_domain: String,
}

/// What the node can give.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capacity {
    pub cpu_milli: i64,
    pub memory: i64,
    pub storage: i64,
    pub pods: i64,
}

pub struct Host {
    pub settings: Settings,
    pub capacity: Capacity,
    pub client: Client,
    pub runtime: Arc<dyn Runtime>,
    pub sandboxes: Arc<dyn Sandboxes>,
    pub cgroups: Cgroups,
    pub sources: Sources,
    pub services: Services,
    pub dns_metrics: Arc<dns::Metrics>,
    pub requests: Arc<client::Counts>,
    pub certificates: Certificates,
    pub recorder: Recorder,
    pub puller: Puller,
    /// Bounds how many containers are being created at once.
    pub starts: Semaphore,
    /// Bounds how many probes run at once.
    pub probes: Semaphore,
    pub probe_results: Results,
    pub pod_starts: Starts,
    pub boot: String,
    /// The newest status of each pod, by uid.
    pub statuses: Mutex<HashMap<String, Arc<PodStatus>>>,
    /// What each pod, by uid, takes of the node; who waits for more hears of every change.
    pub claims: watch::Sender<HashMap<String, Claim>>,
}

impl Host {
    /// What the kubelet itself last said of a pod.
    pub fn status(&self, uid: &str) -> Option<PodStatus> {
        self.statuses.lock().get(uid).map(|status| (**status).clone())
    }

    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.settings.pods_dir.join(uid)
    }

    /// `/var/log/pods/<ns>_<name>_<uid>`
    pub fn pod_log_dir(&self, pod: &super::model::PodId) -> PathBuf {
        self.settings.log_dir.join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
    }

    pub fn facts(&self, pod_ip: Option<Ipv4Addr>, host_network: bool) -> Facts {
        let host_ip = self.settings.node_address.get().to_string();
        Facts {
            pod_ip: if host_network { host_ip.clone() } else { pod_ip.map(|ip| ip.to_string()).unwrap_or_default() },
            host_ip,
            node_name: self.settings.node_name.clone(),
            node_cpu: self.capacity.cpu_milli,
            node_memory: self.capacity.memory,
            node_storage: self.capacity.storage,
        }
    }

    /// An event about the pod, or about one of its containers.
    pub fn event(&self, pod: &Pod, container: Option<&str>, kind: EventType, reason: &str, message: impl Into<String>) {
        self.recorder.event_at(about(pod, container), kind, reason, message);
    }
}

fn about(pod: &Pod, container: Option<&str>) -> ObjectReference {
    let mut about = reference(pod);
    let Some(name) = container else { return about };
    let spec = pod.spec.as_ref();
    let in_init = spec.and_then(|spec| spec.init_containers.as_ref());
    let in_ephemeral = spec.and_then(|spec| spec.ephemeral_containers.as_ref());
    let list = match () {
        () if in_init.is_some_and(|list| list.iter().any(|container| container.name == name)) => "initContainers",
        () if in_ephemeral.is_some_and(|list| list.iter().any(|container| container.name == name)) => {
            "ephemeralContainers"
        }
        () => "containers",
    };
    about.field_path = Some(format!("spec.{list}{{{name}}}"));
    about
}
