//! Judges what an agent stands on: privileges, programs, kernel. Pure. `preflight` refuses to start for the same
//! reasons and in the same words.

use super::finding::Finding;
use super::observed::{Kernel, Machine};

/// Without these no agent starts.
pub fn needed(machine: &Machine) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !machine.root {
        let message = "an agent must run as root";
        findings.push(Finding::fail("root", message, "start it with sudo, or pass --disable-agent"));
    }
    for (program, package, path) in &machine.programs {
        findings.push(match path {
            Some(path) => Finding::ok("programs", format!("{program} is {}", path.display())),
            None => {
                let fix = format!("install it with: apt-get install {package}");
                Finding::fail("programs", format!("{program} is not in PATH"), fix)
            }
        });
    }
    findings.push(match machine.overlayfs {
        true => Finding::ok("overlayfs", "the kernel has the overlay filesystem"),
        false => Finding::fail("overlayfs", "the kernel has no overlay filesystem", "load it with: modprobe overlay"),
    });
    for controller in &machine.missing_controllers {
        let fix = format!("add \"cgroup_enable={controller}\" to the kernel's command line and reboot");
        findings.push(Finding::fail("cgroups", format!("the {controller} cgroup controller is off"), fix));
    }
    if machine.missing_controllers.is_empty() {
        findings.push(Finding::ok("cgroups", "the controllers cpu, memory and pids are there"));
    }
    findings.push(match &machine.nf_tables {
        None => Finding::ok("nf_tables", "nf_tables works"),
        Some(why) => {
            Finding::fail("nf_tables", format!("nf_tables does not work ({why})"), "load it with: modprobe nf_tables")
        }
    });
    findings
}

/// What else of the kernel a node uses.
pub fn kernel(kernel: &Kernel, running: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in &kernel.missing_namespaces {
        let fix = format!("use a kernel built with {} namespaces", name);
        findings.push(Finding::fail("namespaces", format!("the kernel has no {name} namespaces"), fix));
    }
    if kernel.missing_namespaces.is_empty() {
        findings.push(Finding::ok("namespaces", "the kernel has all kinds of namespaces"));
    }
    match &kernel.links {
        None => findings.push(Finding::warn(
            "links",
            "veth and vxlan links were not tried: that needs root",
            "run it again: sudo orch doctor",
        )),
        Some(failed) if failed.is_empty() => findings.push(Finding::ok("links", "veth and vxlan links can be made")),
        Some(failed) => findings.extend(failed.iter().map(|(kind, why)| link(kind, why))),
    }
    findings.push(match kernel.conntrack {
        true => Finding::ok("conntrack", "connections are tracked"),
        false => Finding::fail(
            "conntrack",
            "the kernel does not track connections, so Services cannot work",
            "load it with: modprobe nf_conntrack",
        ),
    });
    findings.push(match kernel.sctp {
        true => Finding::ok("sctp", "the kernel speaks SCTP"),
        false => Finding::warn(
            "sctp",
            "the kernel does not speak SCTP; only Services of that protocol need it",
            "load it with: modprobe sctp",
        ),
    });
    let fix = "allow it with: sysctl -w net.ipv4.ip_forward=1 (and keep /etc/sysctl.d from turning it off)";
    findings.push(match (kernel.forwarding, running) {
        (true, _) => Finding::ok("forwarding", "the kernel forwards IPv4 packets"),
        (false, false) => Finding::ok("forwarding", "the kernel forwards no IPv4 packets yet; the agent turns it on"),
        (false, true) => Finding::fail("forwarding", "something turned IPv4 forwarding off: pods reach nobody", fix),
    });
    findings
}

fn link(kind: &str, why: &str) -> Finding {
    let (message, fix) = (format!("no {kind} link can be made ({why})"), format!("load it with: modprobe {kind}"));
    match kind {
        "vxlan" => Finding::warn("links", format!("{message}; only a cluster of several nodes needs it"), fix),
        _ => Finding::fail("links", message, fix),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::{Level, in_words};
    use super::*;

    fn good() -> Machine {
        let programs = vec![("runc", "runc", Some("/usr/bin/runc".into()))];
        Machine { root: true, programs, overlayfs: true, ..Machine::default() }
    }

    fn bad(findings: Vec<Finding>) -> Vec<String> {
        in_words(&findings.into_iter().filter(|finding| finding.level != Level::Ok).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_missing_is_named_with_its_cure() {
        assert!(bad(needed(&good())).is_empty());
        for (machine, wanted) in [
            (
                Machine { root: false, ..good() },
                "FAIL an agent must run as root | start it with sudo, or pass --disable-agent",
            ),
            (
                Machine { programs: vec![("runc", "runc", None)], ..good() },
                "FAIL runc is not in PATH | install it with: apt-get install runc",
            ),
            (
                Machine { overlayfs: false, ..good() },
                "FAIL the kernel has no overlay filesystem | load it with: modprobe overlay",
            ),
            (
                Machine { missing_controllers: vec!["memory"], ..good() },
                "FAIL the memory cgroup controller is off | add \"cgroup_enable=memory\" to the kernel's command line and \
                 reboot",
            ),
            (
                Machine { nf_tables: Some("EPERM".into()), ..good() },
                "FAIL nf_tables does not work (EPERM) | load it with: modprobe nf_tables",
            ),
        ] {
            assert_eq!(bad(needed(&machine)), [wanted]);
        }
    }

    #[test]
    fn the_kernel_is_judged_by_what_needs_it() {
        let good = Kernel { links: Some(vec![]), sctp: true, conntrack: true, forwarding: true, ..Kernel::default() };
        assert!(bad(kernel(&good, true)).is_empty());
        let none = Kernel { forwarding: false, ..good.clone() };
        assert!(bad(kernel(&none, false)).is_empty(), "the agent turns it on");
        for (seen, wanted) in [
            (none, "FAIL something turned IPv4 forwarding off"),
            (Kernel { links: None, ..good.clone() }, "WARN veth and vxlan links were not tried"),
            (
                Kernel { links: Some(vec![("vxlan", "no".into())]), ..good.clone() },
                "WARN no vxlan link can be made (no)",
            ),
            (Kernel { links: Some(vec![("veth", "no".into())]), ..good.clone() }, "FAIL no veth link can be made (no)"),
            (Kernel { sctp: false, ..good.clone() }, "WARN the kernel does not speak SCTP"),
            (Kernel { conntrack: false, ..good.clone() }, "FAIL the kernel does not track connections"),
            (Kernel { missing_namespaces: vec!["ipc"], ..good }, "FAIL the kernel has no ipc namespaces"),
        ] {
            let found = bad(kernel(&seen, true));
            assert!(matches!(&found[..], [one] if one.starts_with(wanted)), "{found:?}");
        }
    }
}
