//! Judges ports, firewalls and ranges of addresses. Pure.

use std::net::IpAddr;

use ipnet::Ipv4Net;

use super::finding::Finding;
use super::observed::{DroppingChain, Firewalls, Hook, Listener, Network, Tool, Wanted};
use crate::net::overlay;

const DNS: u16 = 53;

/// A port that orch wants.
struct Port {
    udp: bool,
    /// `None`: on every address.
    address: Option<IpAddr>,
    port: u16,
    why: &'static str,
    flag: &'static str,
}

fn ports_wanted(wanted: &Wanted) -> Vec<Port> {
    let port = |udp, port, why, flag| Port { udp, address: None, port, why, flag };
    let mut ports = Vec::new();
    if wanted.server {
        ports.push(port(false, wanted.https_port, "the API server", "--https-listen-port"));
    }
    if wanted.agent {
        ports.push(port(false, wanted.kubelet_port, "the kubelet", "--kubelet-port"));
        ports.push(port(false, wanted.healthz_port, "the service proxy's health", "--healthz-bind-address"));
        ports.push(port(true, overlay::PORT, "the overlay", "--flannel-backend host-gw"));
        for udp in [true, false] {
            let address = Some(wanted.cluster_dns.into());
            ports.push(Port { udp, address, port: DNS, why: "cluster DNS", flag: "--cluster-dns" });
        }
    }
    ports
}

pub fn ports(wanted: &Wanted, listeners: &[Listener]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for it in ports_wanted(wanted) {
        let protocol = if it.udp { "udp" } else { "tcp" };
        let what = format!("{}/{protocol} for {}", it.port, it.why);
        let taken = listeners.iter().find(|other| {
            let address = other.address.ip();
            let meets = it.address.is_none_or(|ours| address == ours || address.is_unspecified());
            other.udp == it.udp && other.address.port() == it.port && meets
        });
        findings.push(match taken {
            None => Finding::ok("ports", format!("{what} is free")),
            // The kernel's own sockets, such as VXLAN's, have no process.
            Some(Listener { process: None, .. }) if wanted.running => Finding::ok("ports", format!("{what} is in use")),
            Some(Listener { process: Some(process), .. }) if process.starts_with("orch ") => {
                Finding::ok("ports", format!("{what} is orch's"))
            }
            Some(other) => {
                let who = other.process.as_deref().unwrap_or("somebody (run this as root to see who)");
                let fix = format!("stop {who}, or choose another one: {}", it.flag);
                Finding::fail("ports", format!("{what} is taken on {} by {who}", other.address.ip()), fix)
            }
        });
    }
    findings
}

pub fn firewalls(wanted: &Wanted, firewalls: &Firewalls) -> Vec<Finding> {
    let (pods, services) = (wanted.cluster_cidr, wanted.service_cidr);
    let mut findings = Vec::new();
    let mut ports = vec![format!("{}/udp", overlay::PORT), format!("{}/tcp", wanted.kubelet_port)];
    if wanted.server {
        ports.push(format!("{}/tcp", wanted.https_port));
    }
    match firewalls.firewalld {
        Some(false) => {
            let ports: Vec<_> = ports.iter().map(|port| format!("--add-port={port}")).collect();
            let fix = format!(
                "firewall-cmd --permanent --zone=trusted --add-source={pods} --add-source={services} && \
                 firewall-cmd --permanent {} && firewall-cmd --reload",
                ports.join(" ")
            );
            findings.push(Finding::fail("firewall", "firewalld runs and does not let pods through", fix));
        }
        Some(true) => findings.push(Finding::ok("firewall", "firewalld lets pods through")),
        None => {}
    }
    match firewalls.ufw {
        Some(false) => {
            let ports: Vec<_> = ports.iter().map(|port| format!("ufw allow {port}")).collect();
            let fix = format!(
                "ufw allow from {pods} && ufw route allow from {pods} && ufw route allow to {pods} && {}",
                ports.join(" && ")
            );
            findings.push(Finding::fail("firewall", "ufw is on and does not let pods through", fix));
        }
        Some(true) => findings.push(Finding::ok("firewall", "ufw lets pods through")),
        None => {}
    }
    // What these two made is theirs to change.
    let managed = |chain: &&DroppingChain| {
        firewalls.firewalld.is_some() && chain.table == "firewalld"
            || firewalls.ufw.is_some() && chain.table == "filter"
    };
    findings.extend(firewalls.chains.iter().filter(|chain| !managed(chain)).filter_map(|it| dropping(it, wanted)));
    if firewalls.unread {
        findings.push(Finding::warn(
            "firewall",
            "there is a filter of the old ip_tables, and no iptables-legacy-save to read it with",
            "look whether it lets pods through: apt-get install iptables && iptables-legacy -S",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("firewall", "no packet filter of somebody else's stands in the way"));
    }
    findings
}

/// A foreign chain that drops by default, unless its rules let through what we need.
fn dropping(chain: &DroppingChain, wanted: &Wanted) -> Option<Finding> {
    let DroppingChain { tool, family, table, chain: name, hook, rules } = chain;
    let accepts = |what: &str| {
        rules.lines().any(|line| line.contains(what) && (line.contains("accept") || line.contains("-j ACCEPT")))
    };
    let pods = wanted.cluster_cidr.to_string();
    let place = match tool {
        Tool::Nft => format!("{family} {table} {name}"),
        Tool::IptablesLegacy => format!("{name} of the old ip_tables"),
    };
    // A rule for nftables, and the same for iptables.
    let insert = |rule: String, old: String| match tool {
        Tool::Nft => format!("nft insert rule {place} {rule} accept"),
        Tool::IptablesLegacy => format!("iptables-legacy -I {name} {old} -j ACCEPT"),
    };
    let from_pods = || insert(format!("ip saddr {pods}"), format!("-s {pods}"));
    let to_pods = || insert(format!("ip daddr {pods}"), format!("-d {pods}"));
    let port =
        |protocol: &str, port: u16| insert(format!("{protocol} dport {port}"), format!("-p {protocol} --dport {port}"));
    match hook {
        Hook::Forward if accepts(&pods) => None,
        Hook::Forward => {
            let fix = [from_pods(), to_pods()].join(" && ");
            Some(Finding::fail(
                "firewall",
                format!("the chain {place} drops what is forwarded, and with it all packets of pods"),
                fix,
            ))
        }
        Hook::Input if accepts(&overlay::PORT.to_string()) && accepts(&pods) => None,
        Hook::Input => {
            let fix = [port("udp", overlay::PORT), port("tcp", wanted.kubelet_port), from_pods()];
            let message =
                format!("the chain {place} drops what comes in: VXLAN of other nodes, DNS of pods, the kubelet's port");
            Some(Finding::warn("firewall", message, fix.join(" && ")))
        }
    }
}

pub fn ranges(wanted: &Wanted, network: &Network) -> Vec<Finding> {
    let mut findings = Vec::new();
    let meets = |a: Ipv4Net, b: Ipv4Net| a.contains(&b.network()) || b.contains(&a.network());
    if meets(wanted.cluster_cidr, wanted.service_cidr) {
        let message =
            format!("the ranges of pods {} and Services {} overlap", wanted.cluster_cidr, wanted.service_cidr);
        findings.push(Finding::fail("ranges", message, "choose others: --cluster-cidr, --service-cidr"));
    }
    for (range, what, flag) in
        [(wanted.cluster_cidr, "pods", "--cluster-cidr"), (wanted.service_cidr, "Services", "--service-cidr")]
    {
        // The default route meets everything and is in nobody's way.
        let taken = network.routes.iter().find(|(to, _)| to.prefix_len() > 0 && meets(range, *to));
        let Some((to, link)) = taken else { continue };
        let message =
            format!("the range of {what} {range} meets the network {to} on {link}; neither reaches the other");
        findings.push(Finding::fail("ranges", message, format!("choose another before the first start: {flag}")));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("ranges", "no network of this machine meets those of pods and Services"));
    }
    findings
}

pub fn wire(network: &Network) -> Finding {
    /// What IPv6 needs, and everything that pods send expects.
    const LEAST: u32 = 1280 + overlay::OVERHEAD;
    match (&network.node_ip, &network.wire) {
        (Some(ip), Some((link, mtu))) if *mtu < LEAST => Finding::warn(
            "mtu",
            format!("{link}, which holds {ip}, carries {mtu} bytes; pods are left with too little"),
            format!("raise it: ip link set dev {link} mtu 1500"),
        ),
        (Some(ip), Some((link, mtu))) => Finding::ok("mtu", format!("{link}, which holds {ip}, carries {mtu} bytes")),
        (Some(ip), None) => Finding::fail(
            "address",
            format!("no link holds the node's address {ip}"),
            "name an address that this machine has: --node-ip IP",
        ),
        (None, _) => Finding::fail(
            "address",
            "this machine has no address but loopback",
            "connect it to a network, or name an address: --node-ip IP",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::in_words;
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            server: true,
            agent: true,
            https_port: 6443,
            kubelet_port: 10250,
            healthz_port: 10256,
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            cluster_dns: [10, 43, 0, 10].into(),
            running: false,
        }
    }

    fn bad(findings: &[Finding]) -> String {
        in_words(findings).into_iter().filter(|line| !line.starts_with("OK ")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_taken_port_is_told_with_who_has_it() {
        let listener = |udp, address: &str, process: Option<&str>| Listener {
            udp,
            address: address.parse().unwrap(),
            process: process.map(str::to_owned),
        };
        let k3s = Some("k3s (pid 7)");
        for (other, wanted_) in [
            (listener(false, "0.0.0.0:80", k3s), ""),
            (listener(true, "0.0.0.0:6443", k3s), ""),
            (listener(false, "127.0.0.53:53", k3s), ""),
            (listener(false, "0.0.0.0:6443", Some("orch (pid 9)")), ""),
            (
                listener(false, "[::]:6443", k3s),
                "FAIL 6443/tcp for the API server is taken on :: by k3s (pid 7) | stop k3s (pid 7), or choose another \
                 one: --https-listen-port",
            ),
            (
                listener(true, "0.0.0.0:53", Some("dnsmasq (pid 1)")),
                "FAIL 53/udp for cluster DNS is taken on 0.0.0.0 by dnsmasq (pid 1) | stop dnsmasq (pid 1), or choose \
                 another one: --cluster-dns",
            ),
        ] {
            assert_eq!(bad(&ports(&wanted(), std::slice::from_ref(&other))), wanted_, "{other:?}");
        }
        let vxlan = [listener(true, "0.0.0.0:8472", None)];
        assert!(bad(&ports(&wanted(), &vxlan)).contains("taken on 0.0.0.0 by somebody"), "flannel's, before the start");
        assert_eq!(bad(&ports(&Wanted { running: true, ..wanted() }, &vxlan)), "", "ours");
        let none = Wanted { server: false, agent: false, ..wanted() };
        assert!(ports(&none, &[]).is_empty());
    }

    #[test]
    fn a_foreign_filter_is_told_until_it_lets_us_through() {
        let chain = |hook, rules: &str| DroppingChain {
            tool: Tool::Nft,
            family: "ip",
            table: "filter".into(),
            chain: "FORWARD".into(),
            hook,
            rules: rules.into(),
        };
        let say =
            |chains, firewalld, ufw| bad(&firewalls(&wanted(), &Firewalls { chains, unread: false, firewalld, ufw }));
        assert_eq!(say(vec![], None, None), "");
        assert_eq!(
            say(vec![chain(Hook::Forward, "")], None, None),
            "FAIL the chain ip filter FORWARD drops what is forwarded, and with it all packets of pods | nft insert rule \
             ip filter FORWARD ip saddr 10.42.0.0/16 accept && nft insert rule ip filter FORWARD ip daddr 10.42.0.0/16 \
             accept"
        );
        assert_eq!(say(vec![chain(Hook::Forward, "ip saddr 10.42.0.0/16 accept")], None, None), "");
        let input = say(vec![chain(Hook::Input, "ct state established accept")], None, None);
        assert!(input.starts_with("WARN") && input.contains("udp dport 8472 accept && "), "{input}");
        assert_eq!(
            say(vec![chain(Hook::Input, "udp dport 8472 accept\nip saddr 10.42.0.0/16 accept")], None, None),
            ""
        );
        let legacy = |rules| DroppingChain { tool: Tool::IptablesLegacy, ..chain(Hook::Forward, rules) };
        assert_eq!(
            say(vec![legacy("-A FORWARD -j DOCKER-USER")], None, None),
            "FAIL the chain FORWARD of the old ip_tables drops what is forwarded, and with it all packets of pods | \
             iptables-legacy -I FORWARD -s 10.42.0.0/16 -j ACCEPT && iptables-legacy -I FORWARD -d 10.42.0.0/16 -j ACCEPT"
        );
        assert_eq!(say(vec![legacy("-A FORWARD -s 10.42.0.0/16 -j ACCEPT")], None, None), "");
        let unread = bad(&firewalls(&wanted(), &Firewalls { unread: true, ..Firewalls::default() }));
        assert!(unread.starts_with("WARN there is a filter of the old ip_tables"), "{unread}");
        let ufw = say(vec![chain(Hook::Forward, "")], None, Some(false));
        assert!(ufw.starts_with("FAIL ufw is on") && !ufw.contains("nft insert"), "{ufw}");
        assert!(ufw.contains("ufw allow from 10.42.0.0/16 && ") && ufw.ends_with("ufw allow 6443/tcp"), "{ufw}");
        let firewalld = say(vec![], Some(false), None);
        assert!(firewalld.contains("--add-source=10.42.0.0/16 --add-source=10.43.0.0/16 && "), "{firewalld}");
        assert_eq!(say(vec![], Some(true), Some(true)), "");
    }

    #[test]
    fn overlapping_ranges_are_told() {
        let on = |to: &str| Network { routes: vec![(to.parse().unwrap(), "eth0".into())], ..Network::default() };
        for (to, wanted_) in [
            ("0.0.0.0/0", ""),
            ("192.168.0.0/24", ""),
            ("10.42.7.0/24", "FAIL the range of pods 10.42.0.0/16 meets the network 10.42.7.0/24 on eth0"),
            ("10.0.0.0/8", "FAIL the range of pods 10.42.0.0/16 meets the network 10.0.0.0/8 on eth0"),
            ("10.43.0.0/20", "FAIL the range of Services 10.43.0.0/16 meets the network 10.43.0.0/20 on eth0"),
        ] {
            let found = bad(&ranges(&wanted(), &on(to)));
            assert!(found.starts_with(wanted_) && found.is_empty() == wanted_.is_empty(), "{to}: {found}");
        }
        let same = Wanted { service_cidr: "10.42.128.0/17".parse().unwrap(), ..wanted() };
        assert!(bad(&ranges(&same, &Network::default())).contains("overlap"));
    }

    #[test]
    fn the_wire_is_there_and_wide_enough() {
        let ip = Some([192, 0, 2, 1].into());
        let say = |node_ip, wire_| in_words(&[wire(&Network { node_ip, wire: wire_, ..Network::default() })]).remove(0);
        assert_eq!(say(ip, Some(("eth0".into(), 1500))), "OK eth0, which holds 192.0.2.1, carries 1500 bytes");
        assert!(say(ip, Some(("wg0".into(), 1280))).starts_with("WARN wg0, which holds 192.0.2.1, carries 1280"));
        assert!(say(ip, None).starts_with("FAIL no link holds the node's address 192.0.2.1"));
        assert!(say(None, None).starts_with("FAIL this machine has no address but loopback"));
    }
}
