//! `orch agent`: the composition root of a node without a server of its own. Reads top to bottom as the process starts.

use std::collections::HashSet;

use anyhow::Context as _;
use tokio::sync::watch;

use super::config::AgentArgs;
use super::daemon::{self, End};
use super::pidfile::PidFile;
use super::{clock, node_address, notify, preflight, teardown};
use crate::agent::join::{JoinConfig, Member, Names, Renewal, join};
use crate::agent::kubelet::Certificates;
use crate::agent::{Agent, AgentConfig, tunnel};
use crate::api::bootstrap_token::JoinToken;
use crate::client::paths::Paths;
use crate::lifecycle::Lifecycle;
use crate::net::losses::Losses;
use crate::net::node_address::NodeAddress;

/// Where the node keeps its key and certificates, below the data directory.
pub const PKI: &str = "agent/pki";

pub fn run(args: &AgentArgs) -> anyhow::Result<()> {
    daemon::runtime(&args.node.log)?.block_on(serve(args))
}

async fn serve(args: &AgentArgs) -> anyhow::Result<()> {
    preflight::agent(args.host.containerd_address.is_none())?;
    let _claim = PidFile::claim(&args.host.run_dir)?;
    let mut end = End::listen()?;
    let mut lifecycle = Lifecycle::default();
    let started = tokio::select! {
        started = start(args, &mut lifecycle) => started,
        () = end.wanted() => Err(anyhow::anyhow!("stopped while starting")),
    };
    if started.is_ok() {
        daemon::ready(None);
        end.wanted().await;
        notify::send("STOPPING=1");
    }
    lifecycle.stop().await;
    started
}

async fn start(args: &AgentArgs, lifecycle: &mut Lifecycle) -> anyhow::Result<()> {
    clock::wait_until_set().await?;
    let node_name = args.node.node_name.clone().unwrap_or_else(node_address::hostname);
    let address = node_address::of_node(args.node.node_ip)?;
    let dir = args.host.data_dir.join(PKI);
    let paths = Paths::default();
    let losses = Losses::listen().context("cannot listen for changes of the machine's addresses")?;
    tokio::spawn(node_address::end_paths(paths.clone(), address.clone(), losses));
    let wanted = JoinConfig {
        server: args.join.clone(),
        token: token(args)?,
        node_name: node_name.clone(),
        dir: dir.clone(),
        paths: paths.clone(),
    };
    let member = join(&wanted).await?;
    let renewal = Renewal::new(&member, &node_name, &dir, names(&node_name, address.clone()));
    let certificates = member.certificates(renewal.failures());
    daemon::on_hangup(renewal.rotate())?;
    lifecycle.start(Box::new(renewal)).await?;
    let config = agent_config(args, &member, certificates, node_name, address, paths)?;
    lifecycle.start(Box::new(Agent::new(config))).await?;
    Ok(())
}

/// What the serving certificate must name, whatever the address becomes.
fn names(node_name: &str, mut address: NodeAddress) -> Names {
    let node_name = node_name.to_owned();
    let all = move |address: &NodeAddress| vec![node_name.clone(), address.get().to_string()];
    let (names, seen) = watch::channel(all(&address));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = address.changed() => drop(names.send_replace(all(&address))),
                () = names.closed() => return,
            }
        }
    });
    seen
}

fn token(args: &AgentArgs) -> anyhow::Result<Option<JoinToken>> {
    let Some(path) = &args.token_file else { return Ok(args.token.clone()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let token = text.trim().parse().with_context(|| format!("in {}", path.display()))?;
    Ok(Some(token))
}

fn agent_config(
    args: &AgentArgs,
    member: &Member,
    certificates: Certificates,
    node_name: String,
    node_address: NodeAddress,
    paths: Paths,
) -> anyhow::Result<AgentConfig> {
    let (host, node, cluster) = (&args.host, &args.node, &member.cluster);
    Ok(AgentConfig {
        node_name,
        node_address,
        node_labels: node.node_label.clone(),
        node_taints: node.node_taint.clone(),
        data_dir: host.data_dir.join("agent"),
        run_dir: host.run_dir.clone(),
        log_dir: host.pod_log_dir.clone(),
        cgroup_root: host.cgroup_root.clone(),
        kubelet_port: node.kubelet_port,
        prefix: teardown::PREFIX.to_owned(),
        client: member.client.clone(),
        cluster_cidr: cluster.cluster_cidr,
        service_cidr: cluster.service_cidr,
        cluster_dns: cluster.cluster_dns,
        cluster_domain: cluster.cluster_domain.clone(),
        containerd_address: host.containerd_address.clone(),
        insecure_registries: node.insecure_registry.clone(),
        serving: member.serving(),
        certificates,
        client_ca_pem: member.ca_pem.clone(),
        backend: cluster.flannel_backend,
        server: Some(tunnel::Server {
            host: args.join.host().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
            port: args.join.port_u16().unwrap_or(443),
            tls: member.tls.clone().into(),
            paths,
        }),
        node_ports: node.node_ports()?,
        proxy_healthz: node.healthz_bind_address,
        disable: args.disable.iter().cloned().collect::<HashSet<_>>(),
        memory: Some(host.data_dir.join("agent/memory")),
    })
}
