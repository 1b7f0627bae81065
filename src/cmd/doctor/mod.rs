//! `orch doctor`: looks at this machine, before orch starts or while it runs, and says what is wrong with it and what to
//! type against it. `look` sees, `machine`, `health`, `network` and `overlay` judge purely, this file asks and prints.

mod finding;
mod health;
mod look;
mod machine;
mod network;
mod observed;
mod overlay;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, ResourceExt as _};

use super::config::HostArgs;
use super::kubectl::Session;
use super::{pidfile, teardown};
use crate::api::bootstrap_token::JoinToken;
use crate::net::overlay::kernel::Kernel;
use crate::net::overlay::{VNI, selftest};
use finding::{Finding, Level};
use observed::{Observed, Wanted};

#[derive(Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    host: HostArgs,
    /// Look only at what a server needs: this machine is not a node.
    #[arg(long, env = "ORCH_DISABLE_AGENT")]
    disable_agent: bool,
    /// Look at a machine that joins the server at this URL.
    #[arg(long, env = "ORCH_JOIN", value_name = "URL")]
    join: Option<String>,
    /// The token to join with: it tells whether that is the server of its cluster.
    #[arg(long, env = "ORCH_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Read the token from this file.
    #[arg(long, env = "ORCH_TOKEN_FILE", value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The TCP port of the Kubernetes API.
    #[arg(long, env = "ORCH_HTTPS_LISTEN_PORT", default_value_t = 6443, value_name = "PORT")]
    https_listen_port: u16,
    /// The TCP port of the kubelet API.
    #[arg(long, env = "ORCH_KUBELET_PORT", default_value_t = 10250, value_name = "PORT")]
    kubelet_port: u16,
    /// The range of pods' addresses.
    #[arg(long, env = "ORCH_CLUSTER_CIDR", default_value = "10.42.0.0/16", value_name = "CIDR")]
    cluster_cidr: Ipv4Net,
    /// The range of Services' addresses.
    #[arg(long, env = "ORCH_SERVICE_CIDR", default_value = "10.43.0.0/16", value_name = "CIDR")]
    service_cidr: Ipv4Net,
    /// The address of cluster DNS.
    #[arg(long, env = "ORCH_CLUSTER_DNS", default_value = "10.43.0.10", value_name = "IP")]
    cluster_dns: Ipv4Addr,
    /// The address of this node [default: the one a packet to the outside would carry].
    #[arg(long, env = "ORCH_NODE_IP", value_name = "IP")]
    node_ip: Option<IpAddr>,
    /// Print lines for people, or JSON.
    #[arg(long, short, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Prints what was found; fails where something must be mended.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(examine(args));
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&findings)?),
        Output::Text => print!("{}", lines(&findings)),
    }
    let failed = findings.iter().any(Finding::is_failure);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What of the machine an agent cannot start without.
pub fn needed(own_containerd: bool) -> Vec<Finding> {
    machine::needed(&look::machine(own_containerd))
}

async fn examine(args: &DoctorArgs) -> Vec<Finding> {
    let wanted = Wanted {
        server: args.join.is_none(),
        agent: !args.disable_agent,
        https_port: args.https_listen_port,
        kubelet_port: args.kubelet_port,
        cluster_cidr: args.cluster_cidr,
        service_cidr: args.service_cidr,
        cluster_dns: args.cluster_dns,
        running: pidfile::is_running(&args.host.run_dir),
    };
    let token = join_token(args);
    let observed = look::everything(&args.host, wanted, args.node_ip, args.join.as_deref(), token.as_ref()).await;
    let mut findings = judge(&observed);
    if observed.wanted.running && observed.wanted.agent {
        let wire = observed.network.wire.as_ref().map_or("LINK", |(name, _)| name.as_str());
        findings.extend(peers(args, wire).await);
    }
    findings
}

/// A server's own token is of another form, and tells nothing of its CA.
fn join_token(args: &DoctorArgs) -> Option<JoinToken> {
    let kept = args.token_file.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
    args.token.clone().or(kept)?.trim().parse().ok()
}

fn judge(observed: &Observed) -> Vec<Finding> {
    let Observed { wanted, .. } = observed;
    let mut findings = Vec::new();
    if wanted.agent {
        findings.extend(machine::needed(&observed.machine));
        findings.extend(machine::kernel(&observed.kernel, wanted.running));
    }
    findings.extend(network::ports(wanted, &observed.listeners));
    if wanted.agent {
        findings.extend(network::firewalls(wanted, &observed.firewalls));
        findings.extend(network::ranges(wanted, &observed.network));
        findings.push(network::wire(&observed.network));
    }
    findings.extend(health::clock(&observed.clock, &observed.certificates));
    findings.extend(health::certificates(&observed.certificates, observed.clock.now));
    findings.extend(health::disk(&observed.disk));
    findings.extend(observed.server.as_ref().map(health::server));
    findings
}

/// Asks every peer that the kernel knows, all at the same time.
async fn peers(args: &DoctorArgs, wire: &str) -> Vec<Finding> {
    let link = format!("{}.{VNI}", teardown::PREFIX);
    let observe = || {
        let mut kernel = Kernel::open()?;
        let index = kernel.index(&link)?;
        index.map(|index| kernel.observe(Some(index))).transpose()
    };
    let paths = match observe() {
        Ok(Some(paths)) => paths,
        Ok(None) => {
            return vec![Finding::ok("overlay", "there is no VXLAN link: no other node is known, or none is used")];
        }
        Err(error) => {
            let fix = "run it as root: sudo orch doctor";
            return vec![Finding::warn("overlay", format!("the kernel's entries cannot be read: {error}"), fix)];
        }
    };
    let mtu = std::fs::read_to_string(format!("/sys/class/net/{link}/mtu")).ok();
    let mtu = mtu.and_then(|text| text.trim().parse().ok()).unwrap_or(1450);
    let nodes = nodes(args).await;
    let asked = selftest::entries(&paths).into_iter().map(|entry| {
        let node = nodes.get(&entry.range).cloned();
        let (port, address) = (args.kubelet_port, node.as_ref().and_then(|(_, address)| *address));
        async move {
            let asked = entry.clone();
            let seen = tokio::task::spawn_blocking(move || selftest::ask(&asked, mtu, port, address)).await;
            (entry, node, seen)
        }
    });
    let asked = futures::future::join_all(asked).await;
    let findings = asked.into_iter().map(|(entry, node, seen)| match seen {
        Ok(Ok(seen)) => {
            overlay::peer(&entry, node.as_ref().map(|(name, _)| name.as_str()), selftest::cause(&seen), &link, wire)
        }
        Ok(Err(error)) => {
            Finding::warn("overlay", format!("{} cannot be asked: {error}", entry.range), "run it as root")
        }
        Err(error) => Finding::warn("overlay", format!("{} was not asked: {error}", entry.range), "run it again"),
    });
    findings.collect()
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

fn lines(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        text.push_str(&format!("{:<4} {:<12} {}\n", finding.level.as_str(), finding.check, finding.message));
        if let Some(fix) = &finding.fix {
            text.push_str(&format!("     {:<12} fix: {fix}\n", ""));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (warnings, failures) = (count(Level::Warn), count(Level::Fail));
    text.push_str(&format!("{} checks, {warnings} warnings, {failures} failures\n", findings.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_sees_what_is_wrong_and_the_cure_below_it() {
        let findings = [Finding::ok("space", "there is room"), Finding::fail("ports", "taken", "stop it")];
        assert_eq!(
            lines(&findings),
            "OK   space        there is room\nFAIL ports        taken\n                  fix: stop it\n2 checks, 0 warnings, 1 failures\n"
        );
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json[0], serde_json::json!({"level": "OK", "check": "space", "message": "there is room"}));
        assert_eq!(json[1]["fix"], "stop it");
    }
}
