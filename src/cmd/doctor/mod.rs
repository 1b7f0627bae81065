//! `orch doctor`: looks at this machine, before orch starts or while it runs, and says what is wrong with it and what to
//! type against it. `look` sees, `machine`, `health`, `network` and `overlay` judge purely, `peers` asks other nodes, this file
//! prints.

mod finding;
mod health;
mod look;
mod machine;
mod network;
mod observed;
mod overlay;
mod peers;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use ipnet::Ipv4Net;

use super::config::HostArgs;
use super::pidfile;
use crate::api::bootstrap_token::JoinToken;
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
    /// Where the service proxy tells how it is.
    #[arg(long, env = "ORCH_HEALTHZ_BIND_ADDRESS", default_value = "0.0.0.0:10256", value_name = "IP:PORT")]
    healthz_bind_address: SocketAddr,
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

/// What is carried by a link that nobody knows.
const ETHERNET: u32 = 1500;

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
        healthz_port: args.healthz_bind_address.port(),
        cluster_cidr: args.cluster_cidr,
        service_cidr: args.service_cidr,
        cluster_dns: args.cluster_dns,
        running: pidfile::is_running(&args.host.run_dir),
    };
    let token = join_token(args);
    let observed = look::everything(&args.host, wanted, args.node_ip, args.join.as_deref(), token.as_ref()).await;
    let mut findings = judge(&observed);
    if observed.wanted.running && observed.wanted.agent {
        let wire = observed.network.wire.clone().unwrap_or_else(|| ("LINK".to_owned(), ETHERNET));
        findings.extend(peers::ask(args, &wire).await);
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
