//! What the kernel can do, found out by trying where there is no other way to know.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{LinkVeth, LinkVxlan};
use rustix::net::{AddressFamily, SocketType, ipproto, socket};

use super::super::observed::{Kernel, Machine};
use crate::cmd::preflight::find_program;
use crate::net::netlink::Netlink;
use crate::net::netns::{self, NamespaceSpec};
use crate::net::overlay;

/// `own_containerd`: the agent will run containerd itself.
pub fn machine(own_containerd: bool) -> Machine {
    let containerd = [("containerd", "containerd"), ("containerd-shim-runc-v2", "containerd"), ("runc", "runc")];
    let needed = containerd.into_iter().filter(|_| own_containerd);
    Machine {
        root: rustix::process::geteuid().is_root(),
        programs: needed.map(|(program, package)| (program, package, find_program(program))).collect(),
        overlayfs: has_filesystem("overlay"),
        missing_controllers: missing_controllers(Path::new("/sys/fs/cgroup")),
        nf_tables: crate::net::nft::tables().err().map(|error| error.to_string()),
    }
}

pub async fn kernel(run_dir: &Path) -> Kernel {
    let kinds = ["net", "mnt", "pid", "uts", "ipc", "user", "cgroup"];
    let missing = kinds.into_iter().filter(|kind| !Path::new("/proc/self/ns").join(kind).exists());
    Kernel {
        missing_namespaces: missing.collect(),
        links: links(run_dir).await,
        sctp: socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::SCTP)).is_ok(),
        conntrack: Path::new("/proc/sys/net/netfilter/nf_conntrack_max").exists() || loads("nf_conntrack"),
        forwarding: std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1"),
    }
}

/// Looks again after loading the module of its name.
fn has_filesystem(name: &str) -> bool {
    let known = || {
        let list = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        list.lines().any(|line| line.split_whitespace().last() == Some(name))
    };
    known() || (loads(name) && known())
}

fn loads(module: &str) -> bool {
    let status = Command::new("modprobe").arg(module).stdin(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// cgroup v2 with its controllers, or v1 with each of them mounted.
fn missing_controllers(root: &Path) -> Vec<&'static str> {
    let unified = std::fs::read_to_string(root.join("cgroup.controllers"));
    let has = |name: &str| match &unified {
        Ok(controllers) => controllers.split_whitespace().any(|c| c == name),
        Err(_) => root.join(name).is_dir(),
    };
    ["cpu", "memory", "pids"].into_iter().filter(|controller| !has(controller)).collect()
}

/// Makes one link of each kind in a network namespace that is gone afterwards.
async fn links(run_dir: &Path) -> Option<Vec<(&'static str, String)>> {
    let dir = run_dir.join(format!("doctor-{}", std::process::id()));
    let spec = NamespaceSpec { net: true, ..NamespaceSpec::default() };
    let pinned = netns::pin(&dir, &spec).ok()?.net?;
    let failed = netns::run_in(&pinned, || {
        let veth = RouteNetlinkMessage::NewLink(LinkVeth::new("a", "b").build());
        let vxlan = LinkVxlan::new("c", overlay::VNI).port(overlay::PORT).build();
        let all = [("veth", veth), ("vxlan", RouteNetlinkMessage::NewLink(vxlan))];
        Ok(all.into_iter().filter_map(|(kind, link)| Some((kind, attempt(link).err()?.to_string()))).collect())
    });
    let failed = failed.await.ok();
    if let Err(error) = netns::unpin(&dir) {
        eprintln!("orch: {} was left behind: {error}", dir.display());
    }
    failed
}

fn attempt(link: RouteNetlinkMessage) -> io::Result<()> {
    Netlink::route()?.create(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_controller_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cgroup.controllers"), "cpu pids").unwrap();
        assert_eq!(missing_controllers(dir.path()), ["memory"]);
        std::fs::write(dir.path().join("cgroup.controllers"), "cpu io memory pids").unwrap();
        assert!(missing_controllers(dir.path()).is_empty());
        std::fs::remove_file(dir.path().join("cgroup.controllers")).unwrap();
        std::fs::create_dir(dir.path().join("pids")).unwrap();
        assert_eq!(missing_controllers(dir.path()), ["cpu", "memory"], "version 1");
    }
}
