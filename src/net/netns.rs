//! Namespaces that outlive the processes in them: created on a thread of their own and kept by bind
//! mounts, so that a pod needs no pause process. Never changes the namespaces of the caller's thread.
//! Called by the kubelet (pin, unpin) and by pod_link (run_in).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rtnetlink::LinkMessageBuilder;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::net::netlink::Netlink;
use crate::net::sysctl;

/// Which namespaces to make, and how they are before anybody enters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceSpec {
    pub net: bool,
    pub ipc: bool,
    pub uts: bool,
    /// Set in the new UTS namespace; empty keeps the host's.
    pub hostname: String,
    /// Parameters of the new namespaces, in either spelling of sysctl(8); they win over [`DEFAULT_SYSCTLS`].
    pub sysctls: BTreeMap<String, String>,
}

/// Where the namespaces can be entered; `None` means the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    pub net: Option<PathBuf>,
    pub ipc: Option<PathBuf>,
    pub uts: Option<PathBuf>,
}

/// What a pod's network namespace has unless its spec says otherwise, as containerd's CRI since 2.0:
/// ports below 1024 and ping without a capability, which is safe in a namespace of one's own.
pub const DEFAULT_SYSCTLS: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

const FILES: [&str; 3] = ["net", "ipc", "uts"];

/// Creates the namespaces and keeps them as `dir/{net,ipc,uts}`. Whatever an earlier, interrupted
/// attempt left there is dropped first. A file is mounted only when its namespace is completely
/// configured, so what [`pinned`] finds after a crash is usable.
///
/// # Errors
/// Those of the kernel; nothing stays behind then.
pub fn pin(dir: &Path, spec: &NamespaceSpec) -> io::Result<Pinned> {
    unpin(dir)?;
    if let Some(base) = dir.parent() {
        shelter(base)?;
    }
    fs::create_dir_all(dir)?;
    let result = on_thread("pin namespaces", || create(dir, spec));
    if result.is_err()
        && let Err(error) = unpin(dir)
    {
        tracing::warn!(dir = %dir.display(), %error, "namespaces were left behind");
    }
    result
}

/// The namespaces that are pinned in a directory: what a restarted agent adopts.
pub fn pinned(dir: &Path) -> Pinned {
    let outside = dir.metadata().map(|meta| meta.dev()).ok();
    let file = |name: &str| {
        let path = dir.join(name);
        path.metadata().is_ok_and(|meta| Some(meta.dev()) != outside).then_some(path)
    };
    Pinned { net: file("net"), ipc: file("ipc"), uts: file("uts") }
}

/// Lets go of the namespaces; they vanish with the last process in them. A missing directory is fine.
pub fn unpin(dir: &Path) -> io::Result<()> {
    for name in FILES {
        let path = dir.join(name);
        // An interrupted attempt may have mounted twice; the kernel says EINVAL when nothing is mounted.
        while rustix::mount::unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
        ignore_missing(fs::remove_file(&path))?;
    }
    ignore_missing(fs::remove_dir(dir))
}

/// Removes a directory of pinned namespaces with everything in it: for uninstalling.
pub fn unpin_all(base: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        unpin(&entry?.path())?;
    }
    while is_mounted(base)? {
        rustix::mount::unmount(base, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    }
    ignore_missing(fs::remove_dir(base))
}

/// Runs a function on a thread of its own inside a network namespace. The closure may hold sockets
/// that were opened outside: they keep belonging to the namespace they were opened in.
pub async fn run_in<T: Send + 'static>(
    netns: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let namespace = File::open(netns).map_err(|error| named(netns, &error))?;
    let (answer, answered) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("netns".to_owned()).spawn(move || {
        let result = enter(&namespace).and_then(|()| work());
        // The caller may have been cancelled; then nobody waits for the answer.
        let _ = answer.send(result);
    })?;
    answered.await.map_err(|_| io::Error::other("the thread in the network namespace panicked"))?
}

/// Moves the calling thread, which must not be used for anything else afterwards.
fn enter(namespace: &File) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

fn create(dir: &Path, spec: &NamespaceSpec) -> io::Result<Pinned> {
    let mut flags = UnshareFlags::empty();
    flags.set(UnshareFlags::NEWNET, spec.net);
    flags.set(UnshareFlags::NEWIPC, spec.ipc);
    flags.set(UnshareFlags::NEWUTS, spec.uts);
    // SAFETY: the danger of unshare is CLONE_FILES, which is not among the flags; the thread ends with this call.
    unsafe { rustix::thread::unshare_unsafe(flags)? };
    if spec.uts && !spec.hostname.is_empty() {
        rustix::system::sethostname(spec.hostname.as_bytes())?;
    }
    if spec.net {
        loopback_up()?;
        for (name, value) in DEFAULT_SYSCTLS {
            // Kernels without ping sockets or unprivileged ports are fine: containers lack only that comfort.
            if let Err(error) = sysctl::set(name, value) {
                tracing::debug!(%error, "default sysctl not set");
            }
        }
    }
    for (name, value) in &spec.sysctls {
        sysctl::set(name, value)?;
    }
    let keep = |wanted: bool, name: &str| {
        if !wanted {
            return Ok(None);
        }
        let path = dir.join(name);
        File::create(&path)?;
        rustix::mount::mount_bind(Path::new("/proc/thread-self/ns").join(name), &path)?;
        Ok::<_, io::Error>(Some(path))
    };
    Ok(Pinned { net: keep(spec.net, "net")?, ipc: keep(spec.ipc, "ipc")?, uts: keep(spec.uts, "uts")? })
}

fn loopback_up() -> io::Result<()> {
    // The loopback device is the first of every namespace.
    let up = LinkMessageBuilder::<LinkUnspec>::new().index(1).up().build();
    Netlink::route()?.execute(RouteNetlinkMessage::SetLink(up))
}

/// Makes the directory of all pins a small tmpfs of its own. It is shared, so that unmounting a pin also
/// unmounts the copies that slave mount namespaces got (services with private mounts, containers with a
/// hostPath volume above it): they would keep dead pods' namespaces alive. Nothing comes back from a slave.
fn shelter(base: &Path) -> io::Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    fs::create_dir_all(base)?;
    if is_mounted(base)? {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("tmpfs", base, "tmpfs", flags, c"mode=0711,size=4m")?;
    rustix::mount::mount_change(base, MountPropagationFlags::PRIVATE)?;
    Ok(rustix::mount::mount_change(base, MountPropagationFlags::SHARED)?)
}

fn is_mounted(dir: &Path) -> io::Result<bool> {
    let inside = match dir.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let above = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("/"));
    Ok(above.metadata()?.dev() != inside.dev())
}

/// Runs a function on a thread that is thrown away afterwards, with whatever it did to itself.
fn on_thread<T: Send>(name: &str, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the namespace thread panicked")))
    })
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
