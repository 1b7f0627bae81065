//! A pod's sandbox: pinned namespaces, an address and a cable. Made before its first container, found again
//! after a restart of orch, removed after the last one. Knows no container.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::model::{Sandbox, containers};
use super::resolv;
use crate::agent::runtime::Namespaces;
use crate::api::hex::hex;
use crate::net::ipam::{self, Ipam};
use crate::net::netns::{self, NamespaceSpec, Pinned};
use crate::net::pod_link::{self, PodLink};

/// Why a sandbox was not made; follows `Failed to create pod sandbox: `.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("rpc error: code = Unknown desc = failed to setup network for sandbox: the node has no pod CIDR yet")]
    NoRange,
    #[error("rpc error: code = Unknown desc = failed to setup network for sandbox: {0}")]
    Address(#[from] ipam::Error),
    #[error("rpc error: code = Unknown desc = failed to create sandbox: {0}")]
    Kernel(#[from] io::Error),
}

/// Makes and removes sandboxes; a trait so that workers are tested without a kernel.
#[async_trait]
pub trait Sandboxes: Send + Sync {
    /// Idempotent: what an earlier process made is kept.
    async fn create(&self, pod: &Pod) -> Result<Sandbox, Error>;
    /// The sandbox if it is complete.
    fn find(&self, pod: &Pod) -> Option<Sandbox>;
    async fn remove(&self, uid: &str) -> Result<(), Error>;
    /// The namespaces that the pod's containers join.
    fn namespaces(&self, pod: &Pod) -> Namespaces;
    /// The uids of all pods that hold something.
    fn owners(&self) -> Vec<String>;
}

const RANGE_PATIENCE: Duration = Duration::from_secs(30);

/// The real ones.
pub struct KernelSandboxes {
    dir: PathBuf,
    cluster_domain: String,
    mtu: u32,
    /// Given when the node has its pod range.
    ipam: watch::Receiver<Option<Arc<Ipam>>>,
}

impl KernelSandboxes {
    pub fn new(dir: PathBuf, cluster_domain: String, mtu: u32, ipam: watch::Receiver<Option<Arc<Ipam>>>) -> Self {
        Self { dir, cluster_domain, mtu, ipam }
    }

    /// A node that has just registered is given its range within a moment.
    async fn wait_for_range(&self) -> Result<Arc<Ipam>, Error> {
        let mut ipam = self.ipam.clone();
        let known = tokio::time::timeout(RANGE_PATIENCE, ipam.wait_for(Option::is_some)).await;
        known.ok().and_then(Result::ok).and_then(|book| book.clone()).ok_or(Error::NoRange)
    }

    fn address_book(&self) -> Option<Arc<Ipam>> {
        self.ipam.borrow().clone()
    }
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub(super) fn on_host(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true)
}

fn host_ipc(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_ipc) == Some(true)
}

fn has_host_ports(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(containers).map(|(_, container)| container);
    containers
        .flat_map(|container| container.ports.iter().flatten())
        .any(|port| port.host_port.is_some_and(|port| port > 0))
}

fn is_complete(pod: &Pod, pinned: &Pinned) -> bool {
    let own_network = !on_host(pod);
    pinned.uts.is_some() == own_network && pinned.net.is_some() == own_network && pinned.ipc.is_some() != host_ipc(pod)
}

/// At most 15 bytes, the same for the same pod.
pub fn link_name(uid: &str) -> String {
    format!("orch{}", &hex(&Sha256::digest(uid))[..10])
}

#[async_trait]
impl Sandboxes for KernelSandboxes {
    async fn create(&self, pod: &Pod) -> Result<Sandbox, Error> {
        let address = match on_host(pod) {
            true => None,
            false => Some(self.wait_for_range().await?.allocate(uid(pod))?),
        };
        let dir = self.dir.join(uid(pod));
        let mut pinned = netns::pinned(&dir);
        if !is_complete(pod, &pinned) {
            let spec = namespace_spec(pod, &self.cluster_domain);
            let pin = move || netns::pin(&dir, &spec);
            pinned = tokio::task::spawn_blocking(pin).await.map_err(io::Error::other)??;
        }
        if let (Some(netns), Some(address)) = (pinned.net, address) {
            let route_loopback = has_host_ports(pod);
            let link = PodLink { netns, host_name: link_name(uid(pod)), address, mtu: self.mtu, route_loopback };
            // What is right already stays, so this also mends a cable that somebody cut.
            pod_link::attach(&link).await?;
        }
        Ok(Sandbox { ip: address })
    }

    fn find(&self, pod: &Pod) -> Option<Sandbox> {
        if !is_complete(pod, &netns::pinned(&self.dir.join(uid(pod)))) {
            return None;
        }
        if on_host(pod) {
            return Some(Sandbox::default());
        }
        let ours = self.address_book()?.owners().into_iter().find(|(owner, _)| owner == uid(pod));
        ours.map(|(_, ip)| Sandbox { ip: Some(ip) })
    }

    async fn remove(&self, uid: &str) -> Result<(), Error> {
        pod_link::detach(&link_name(uid)).await?;
        let dir = self.dir.join(uid);
        tokio::task::spawn_blocking(move || netns::unpin(&dir)).await.map_err(io::Error::other)??;
        if let Some(book) = self.address_book() {
            book.release(uid)?;
        }
        Ok(())
    }

    fn namespaces(&self, pod: &Pod) -> Namespaces {
        let Pinned { net, ipc, uts } = netns::pinned(&self.dir.join(uid(pod)));
        let host_network = on_host(pod);
        Namespaces {
            net,
            ipc,
            uts,
            pid: None,
            host_net: host_network,
            host_uts: host_network,
            host_ipc: host_ipc(pod),
            host_pid: pod.spec.as_ref().and_then(|spec| spec.host_pid) == Some(true),
        }
    }

    fn owners(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut owners: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        if let Some(book) = self.address_book() {
            owners.extend(book.owners().into_iter().map(|(owner, _)| owner));
        }
        owners.sort();
        owners.dedup();
        owners
    }
}

fn namespace_spec(pod: &Pod, cluster_domain: &str) -> NamespaceSpec {
    let host_network = on_host(pod);
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let sysctls = context.and_then(|context| context.sysctls.as_ref()).into_iter().flatten();
    NamespaceSpec {
        net: !host_network,
        ipc: !host_ipc(pod),
        uts: !host_network,
        hostname: resolv::host_name(pod, cluster_domain).0,
        sysctls: sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_link_name_fits_the_kernel_and_is_stable() {
        let name = super::link_name("0b7c9a8e-1111-2222-3333-444455556666");
        assert_eq!(name.len(), 14);
        assert_eq!(name, super::link_name("0b7c9a8e-1111-2222-3333-444455556666"));
        assert_ne!(name, super::link_name("0b7c9a8e-1111-2222-3333-444455556667"));
    }
}
