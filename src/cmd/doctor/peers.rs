//! Asks every node that the kernel has a route to, all at the same time, by the overlay's self-test. Changes nothing.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, ResourceExt as _};

use super::finding::Finding;
use super::{DoctorArgs, overlay};
use crate::cmd::kubectl::Session;
use crate::cmd::teardown;
use crate::net::overlay::kernel::Kernel;
use crate::net::overlay::selftest::{self, Entry, Seen};
use crate::net::overlay::{OVERHEAD, Paths, VNI};

/// `wire` is the link that holds the node's address, and its MTU.
pub async fn ask(args: &DoctorArgs, wire: &(String, u32)) -> Vec<Finding> {
    let link = format!("{}.{VNI}", teardown::PREFIX);
    let (vxlan, paths) = match observe(&link) {
        Ok(found) => found,
        Err(error) => {
            let fix = "run it as root: sudo orch doctor";
            return vec![Finding::warn("overlay", format!("the kernel's entries cannot be read: {error}"), fix)];
        }
    };
    let entries = selftest::entries(&paths);
    if entries.is_empty() {
        return vec![Finding::ok("overlay", "there is no way to other pods: no other node is known, or none is used")];
    }
    let nodes = nodes(args).await;
    let mtu = if vxlan { mtu(&link).unwrap_or(wire.1 - OVERHEAD) } else { wire.1 };
    let asked = entries.into_iter().map(|entry| {
        let node = nodes.get(&entry.range).cloned();
        let (port, address) = (args.kubelet_port, node.as_ref().and_then(|(_, address)| *address));
        async move {
            let asked = entry.clone();
            let ask = move || match vxlan {
                true => selftest::ask(&asked, mtu, port, address),
                false => selftest::ask_neighbour(&asked, mtu, port, address),
            };
            (entry, node, tokio::task::spawn_blocking(ask).await)
        }
    });
    let asked = futures::future::join_all(asked).await;
    let judge = |entry: &Entry, node: Option<&str>, seen: &Seen| match vxlan {
        true => overlay::peer(entry, node, selftest::cause(seen), &link, &wire.0),
        false => overlay::neighbour(entry, node, selftest::cause(seen), &wire.0),
    };
    let findings = asked.into_iter().map(|(entry, node, seen)| match seen {
        Ok(Ok(seen)) => judge(&entry, node.as_ref().map(|(name, _)| name.as_str()), &seen),
        Ok(Err(error)) => {
            Finding::warn("overlay", format!("{} cannot be asked: {error}", entry.range), "run it as root")
        }
        Err(error) => Finding::warn("overlay", format!("{} was not asked: {error}", entry.range), "run it again"),
    });
    findings.collect()
}

/// Whether there is a VXLAN link, and the ways to other nodes' pods.
fn observe(link: &str) -> std::io::Result<(bool, Paths)> {
    let mut kernel = Kernel::open()?;
    let index = kernel.index(link)?;
    Ok((index.is_some(), kernel.observe(index)?))
}

fn mtu(link: &str) -> Option<u32> {
    std::fs::read_to_string(format!("/sys/class/net/{link}/mtu")).ok()?.trim().parse().ok()
}

/// Names and addresses of nodes by their pod ranges, where an administrator's kubeconfig is at hand.
async fn nodes(args: &DoctorArgs) -> HashMap<Ipv4Net, (String, Option<Ipv4Addr>)> {
    const PATIENCE: Duration = Duration::from_secs(3);
    const PUBLIC_IP: &str = "flannel.alpha.coreos.com/public-ip";
    let list = async {
        let session = Session::open(Some(&args.host.write_kubeconfig), None).await?;
        let nodes = Api::<Node>::all(session.client).list(&ListParams::default()).await?;
        anyhow::Ok(nodes.items)
    };
    let Ok(Ok(nodes)) = tokio::time::timeout(PATIENCE, list).await else { return HashMap::new() };
    let place = |node: &Node| {
        let range = node.spec.as_ref()?.pod_cidrs.iter().flatten().find_map(|range| range.parse().ok())?;
        let address = node.annotations().get(PUBLIC_IP).and_then(|text| text.parse().ok());
        Some((range, (node.name_any(), address)))
    };
    nodes.iter().filter_map(place).collect()
}
