//! The OCI runtime specification of a container, as containerd's CRI would write it. Pure: what has to
//! be looked up (user, devices, cgroup version) comes in as [`Host`] and [`Identity`].

use serde_json::{Map, Value, json};

use super::capabilities;
use super::seccomp;
use crate::agent::runtime::{ContainerSpec, Error, ImageConfig, Mount, MountSource, Propagation, Resources, Seccomp};

/// The type name containerd gives a runtime specification, and those of parts of it.
pub(super) const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
pub(super) const RESOURCES_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";
pub(super) const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MASKED_PATHS: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READONLY_PATHS: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const CFS_PERIOD: u64 = 100_000;

/// What the machine is like.
#[derive(Debug, Clone, Default)]
pub(super) struct Host {
    pub cgroup_v2: bool,
    /// Swap is in use, so that a memory limit must name it too.
    pub swap: bool,
    /// Where we may not lower it (inside of somebody's container), processes get this at least.
    pub lowest_oom_score_adj: Option<i32>,
    /// `CAP_…` the kernel knows.
    pub all_capabilities: Vec<String>,
    /// Every device node below /dev, for privileged containers.
    pub devices: Vec<HostDevice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostDevice {
    pub path: String,
    /// `c` or `b`
    pub kind: &'static str,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// The user the process runs as, resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub additional: Vec<u32>,
}

/// `devices` are the nodes of `spec.devices`, already looked up and renamed.
pub(super) fn runtime_spec(
    spec: &ContainerSpec,
    image: &ImageConfig,
    identity: &Identity,
    host: &Host,
    cgroups_path: &str,
    devices: &[HostDevice],
) -> Result<Value, Error> {
    let mut whole = json!({
        "ociVersion": "1.0.2",
        "process": process(spec, image, identity, host)?,
        "root": {"path": "rootfs", "readonly": spec.read_only_root},
        "mounts": mounts(spec, host),
        "linux": linux(spec, host, cgroups_path, devices),
        // One shim for all containers of a pod.
        "annotations": {"io.containerd.runc.v2.group": spec.pod_uid},
    });
    if let (Some(hostname), false) = (&spec.hostname, spec.namespaces.host_uts) {
        whole["hostname"] = json!(hostname);
    }
    Ok(whole)
}

fn process(spec: &ContainerSpec, image: &ImageConfig, identity: &Identity, host: &Host) -> Result<Value, Error> {
    let capabilities = capabilities::effective(spec, host);
    let working_dir = [spec.working_dir.as_deref().unwrap_or_default(), &image.working_dir, "/"];
    Ok(json!({
        "terminal": spec.tty,
        "user": {"uid": identity.uid, "gid": identity.gid, "additionalGids": identity.additional},
        "args": arguments(spec, image)?,
        "env": environment(spec, image),
        "cwd": working_dir.into_iter().find(|dir| !dir.is_empty()),
        "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        "noNewPrivileges": spec.no_new_privileges,
        "oomScoreAdj": host.lowest_oom_score_adj.map_or(spec.oom_score_adj, |lowest| lowest.max(spec.oom_score_adj)),
    }))
}

/// The pod's command replaces the image's entrypoint and cmd; args alone replace only the cmd.
fn arguments(spec: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>, Error> {
    let mut all = if spec.command.is_empty() { image.entrypoint.clone() } else { spec.command.clone() };
    let rest = if spec.command.is_empty() && spec.args.is_empty() { &image.cmd } else { &spec.args };
    all.extend(rest.iter().cloned());
    if all.is_empty() {
        let message = format!("failed to generate container {:?} spec: no command specified", spec.id);
        return Err(Error::Spec { message });
    }
    Ok(all)
}

fn environment(spec: &ContainerSpec, image: &ImageConfig) -> Vec<String> {
    let mut all: Vec<(String, String)> = vec![("PATH".to_owned(), DEFAULT_PATH.to_owned())];
    if spec.tty {
        all.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    if let Some(hostname) = &spec.hostname {
        all.push(("HOSTNAME".to_owned(), hostname.clone()));
    }
    let of_image = image.env.iter().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let of_pod = spec.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in of_image.chain(of_pod) {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => all.push((name.to_owned(), value.to_owned())),
        }
    }
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn mounts(spec: &ContainerSpec, host: &Host) -> Vec<Value> {
    let access = if spec.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]),
    ];
    if spec.namespaces.host_ipc {
        mounts.push(mount("/dev/shm", "bind", "/dev/shm", &["rbind", "rw"]));
    } else {
        mounts.push(mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]));
    }
    if host.cgroup_v2 && spec.privileged {
        // A privileged container shares the host's cgroup namespace and sees its tree.
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        mounts.push(mount("/sys/fs/cgroup", "cgroup2", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "rw"]));
    }
    let own: Vec<Value> = spec.mounts.iter().map(pod_mount).collect();
    mounts.retain(|default| own.iter().all(|mount| mount["destination"] != default["destination"]));
    let mut sorted: Vec<&Mount> = spec.mounts.iter().collect();
    // A mount below another one must come after it.
    sorted.sort_by_key(|mount| mount.destination.components().count());
    mounts.extend(sorted.into_iter().map(pod_mount));
    mounts
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": kind, "source": source, "options": options})
}

fn pod_mount(wanted: &Mount) -> Value {
    let access = if wanted.read_only { "ro" } else { "rw" };
    let destination = wanted.destination.to_string_lossy();
    match &wanted.source {
        MountSource::Bind(path) => {
            let propagation = match wanted.propagation {
                Propagation::Private => "rprivate",
                Propagation::HostToContainer => "rslave",
                Propagation::Bidirectional => "rshared",
            };
            mount(&destination, "bind", &path.to_string_lossy(), &["rbind", propagation, access])
        }
        MountSource::Tmpfs { size } => {
            let size = size.map(|size| format!("size={size}"));
            let options: Vec<&str> = ["nosuid", "nodev", access].into_iter().chain(size.as_deref()).collect();
            mount(&destination, "tmpfs", "tmpfs", &options)
        }
    }
}

fn linux(spec: &ContainerSpec, host: &Host, cgroups_path: &str, devices: &[HostDevice]) -> Value {
    let mut linux = Map::new();
    linux.insert("cgroupsPath".to_owned(), json!(cgroups_path));
    linux.insert("namespaces".to_owned(), namespaces(spec, host));
    let nodes: Vec<&HostDevice> = if spec.privileged { &host.devices[..] } else { &[] }.iter().chain(devices).collect();
    linux.insert("resources".to_owned(), resources(spec, host, devices));
    linux.insert("devices".to_owned(), nodes.into_iter().map(device_node).collect());
    if !spec.sysctls.is_empty() {
        linux.insert("sysctl".to_owned(), json!(spec.sysctls));
    }
    let paths = |own: &Option<Vec<String>>, default: &[&str]| match own {
        _ if spec.privileged => json!([]),
        Some(own) => json!(own),
        None => json!(default),
    };
    linux.insert("maskedPaths".to_owned(), paths(&spec.masked_paths, MASKED_PATHS));
    linux.insert("readonlyPaths".to_owned(), paths(&spec.readonly_paths, READONLY_PATHS));
    let widest = spec.mounts.iter().map(|mount| mount.propagation as u8).max().unwrap_or_default();
    match widest {
        2 => linux.insert("rootfsPropagation".to_owned(), json!("rshared")),
        1 => linux.insert("rootfsPropagation".to_owned(), json!("rslave")),
        _ => None,
    };
    if spec.seccomp == Seccomp::RuntimeDefault && !spec.privileged {
        linux.insert("seccomp".to_owned(), seccomp::default_profile(&capabilities::effective(spec, host)));
    }
    Value::Object(linux)
}

fn namespaces(spec: &ContainerSpec, host: &Host) -> Value {
    let wanted = &spec.namespaces;
    let mut namespaces = vec![json!({"type": "mount"})];
    for (kind, path, of_host) in [
        ("pid", &wanted.pid, wanted.host_pid),
        ("ipc", &wanted.ipc, wanted.host_ipc),
        ("uts", &wanted.uts, wanted.host_uts),
        ("network", &wanted.net, wanted.host_net),
    ] {
        match path {
            _ if of_host => {}
            Some(path) => namespaces.push(json!({"type": kind, "path": path})),
            None => namespaces.push(json!({"type": kind})),
        }
    }
    if host.cgroup_v2 && !spec.privileged {
        namespaces.push(json!({"type": "cgroup"}));
    }
    Value::Array(namespaces)
}

fn device_node(device: &HostDevice) -> Value {
    json!({
        "path": device.path, "type": device.kind, "major": device.major, "minor": device.minor,
        "fileMode": device.mode & 0o7777, "uid": device.uid, "gid": device.gid,
    })
}

/// What a container may use, without devices.
pub(super) fn limits(limits: &Resources, host: &Host) -> Value {
    let mut cpu = Map::new();
    if let Some(shares) = limits.cpu_shares {
        cpu.insert("shares".to_owned(), json!(shares));
    }
    if let Some(quota) = limits.cpu_quota {
        cpu.insert("quota".to_owned(), json!(quota));
        cpu.insert("period".to_owned(), json!(limits.cpu_period.unwrap_or(CFS_PERIOD)));
    }
    let mut memory = Map::new();
    if let Some(limit) = limits.memory_limit {
        memory.insert("limit".to_owned(), json!(limit));
        if host.swap {
            memory.insert("swap".to_owned(), json!(limit));
        }
    }
    let mut all = json!({"cpu": cpu, "memory": memory});
    if let Some(limit) = limits.pids_limit {
        all["pids"] = json!({"limit": limit});
    }
    all
}

fn resources(spec: &ContainerSpec, host: &Host, devices: &[HostDevice]) -> Value {
    let mut rules = vec![json!({"allow": spec.privileged, "access": "rwm"})];
    for (device, asked) in devices.iter().zip(&spec.devices) {
        rules.push(json!({
            "allow": true, "type": device.kind, "major": device.major, "minor": device.minor, "access": asked.permissions,
        }));
    }
    let mut all = limits(&spec.resources, host);
    all["devices"] = json!(rules);
    if host.cgroup_v2 {
        // All of a container dies with its first victim, not a random child of it.
        all["unified"] = json!({"memory.oom.group": "1"});
    }
    all
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
