//! Which capabilities a container has: the defaults of containerd, plus and minus what the pod says. Pure but for
//! [`known`], which asks the kernel how many there are.

use std::collections::BTreeSet;

use super::spec::Host;
use crate::agent::runtime::ContainerSpec;

const DEFAULT: &[&str] = &[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// In the kernel's order (linux/capability.h).
const ALL: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The capabilities this kernel has; runc refuses the others.
pub(super) fn known() -> Vec<String> {
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok().and_then(|text| text.trim().parse().ok());
    let count = last.map_or(ALL.len(), |last: usize| (last + 1).min(ALL.len()));
    ALL[..count].iter().map(ToString::to_string).collect()
}

pub(super) fn effective(spec: &ContainerSpec, host: &Host) -> BTreeSet<String> {
    let everything = || host.all_capabilities.iter().cloned().collect::<BTreeSet<String>>();
    if spec.privileged {
        return everything();
    }
    let mut set: BTreeSet<String> = DEFAULT.iter().map(ToString::to_string).collect();
    let (add, drop) = (names(&spec.capabilities_add), names(&spec.capabilities_drop));
    // "ALL" first, so that a single name can be excepted from it either way.
    if add.contains("CAP_ALL") {
        set = everything();
    }
    if drop.contains("CAP_ALL") {
        set.clear();
    }
    set.extend(add.into_iter().filter(|name| name != "CAP_ALL"));
    set.retain(|name| !drop.contains(name));
    set
}

/// Kubernetes leaves the prefix out, and people leave it in.
fn names(list: &[String]) -> BTreeSet<String> {
    let upper = list.iter().map(|name| name.to_ascii_uppercase());
    upper.map(|name| if name.starts_with("CAP_") { name } else { format!("CAP_{name}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(add: &[&str], drop: &[&str]) -> BTreeSet<String> {
        let spec = ContainerSpec {
            capabilities_add: add.iter().map(ToString::to_string).collect(),
            capabilities_drop: drop.iter().map(ToString::to_string).collect(),
            ..ContainerSpec::default()
        };
        effective(&spec, &Host { all_capabilities: ALL.iter().map(ToString::to_string).collect(), ..Host::default() })
    }

    #[test]
    fn adds_and_drops() {
        assert_eq!(with(&[], &[]).len(), DEFAULT.len());
        assert!(with(&["NET_ADMIN"], &[]).contains("CAP_NET_ADMIN"));
        assert!(!with(&[], &["CHOWN"]).contains("CAP_CHOWN"));
        assert_eq!(with(&["NET_BIND_SERVICE"], &["ALL"]), BTreeSet::from(["CAP_NET_BIND_SERVICE".to_owned()]));
        let most = with(&["ALL"], &["SYS_ADMIN"]);
        assert!(most.len() == ALL.len() - 1 && !most.contains("CAP_SYS_ADMIN"));
    }
}
