//! The options of `orch server` and `orch agent`, and how the configuration file joins them.
//!
//! The file has the flags' own names as keys. It is read by writing its entries in front of the
//! command line's own flags, so that one parser checks both; the command line wins, then `ORCH_*`,
//! then the file. Lists of the file and of the command line add up.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Command};
use http::Uri;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Taint;

use crate::agent::proxy::{NodePortAddresses, Wish};
use crate::api::bootstrap_token::JoinToken;
use crate::net::overlay::Backend;
use crate::server::http::audit::Mode;

/// Where the configuration is read from when no flag names another file.
const DEFAULT_FILE: &str = "/etc/orch/config.yaml";

/// Where orch keeps what it makes: shared by the subcommands that run, stop and remove it.
#[derive(Args, Clone, Debug)]
pub struct HostArgs {
    /// Read options from this YAML file, whose keys are the names of these flags.
    #[arg(long, global = true, short, env = "ORCH_CONFIG", default_value = DEFAULT_FILE, value_name = "FILE")]
    pub config: PathBuf,
    /// Keep all state in this folder: database, certificates, images, volumes.
    #[arg(long, global = true, env = "ORCH_DATA_DIR", default_value = "/var/lib/orch", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Keep sockets, namespaces and process ids here; must be on a tmpfs.
    #[arg(long, global = true, env = "ORCH_RUN_DIR", default_value = "/run/orch", value_name = "DIR")]
    pub run_dir: PathBuf,
    /// Write the logs of pods here.
    #[arg(long, global = true, env = "ORCH_POD_LOG_DIR", default_value = "/var/log/pods", value_name = "DIR")]
    pub pod_log_dir: PathBuf,
    /// Put all pods' control groups below this one.
    #[arg(long, global = true, env = "ORCH_CGROUP_ROOT", default_value = "orch", value_name = "NAME")]
    pub cgroup_root: String,
    /// Write the administrator's kubeconfig to this file.
    #[arg(
        long,
        global = true,
        env = "ORCH_WRITE_KUBECONFIG",
        default_value = "/etc/orch/orch.yaml",
        value_name = "FILE"
    )]
    pub write_kubeconfig: PathBuf,
    /// Use the containerd at this socket instead of running one.
    #[arg(long, global = true, env = "ORCH_CONTAINERD_ADDRESS", value_name = "SOCKET")]
    pub containerd_address: Option<PathBuf>,
}

/// What a machine is told of itself as a node, whether it runs a server or not.
#[derive(Args, Clone, Debug)]
pub struct NodeArgs {
    /// Register this machine's Node under this name [default: the hostname].
    #[arg(long, env = "ORCH_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// The address of this node [default: the one a packet to the outside would carry].
    #[arg(long, env = "ORCH_NODE_IP", value_name = "IP")]
    pub node_ip: Option<IpAddr>,
    /// Register the Node with this label; may be repeated.
    #[arg(long, env = "ORCH_NODE_LABEL", value_delimiter = ',', value_name = "KEY=VALUE", value_parser = key_value)]
    pub node_label: Vec<(String, String)>,
    /// Register the Node with this taint; may be repeated.
    #[arg(long, env = "ORCH_NODE_TAINT", value_delimiter = ',', value_name = "KEY=VALUE:EFFECT", value_parser = taint)]
    pub node_taint: Vec<Taint>,
    /// Serve the kubelet API on this TCP port.
    #[arg(long, env = "ORCH_KUBELET_PORT", default_value_t = 10250, value_name = "PORT")]
    pub kubelet_port: u16,
    /// Pull from this registry over plain HTTP; may be repeated.
    #[arg(long, env = "ORCH_INSECURE_REGISTRY", value_delimiter = ',', value_name = "HOST[:PORT]")]
    pub insecure_registry: Vec<String>,
    /// Serve node ports on the host's addresses in these ranges, or on the node's own: primary.
    #[arg(
        long,
        env = "ORCH_NODEPORT_ADDRESSES",
        value_delimiter = ',',
        default_value = "primary",
        value_name = "CIDR,…"
    )]
    pub nodeport_addresses: Vec<Wish>,
    /// Tell load balancers here whether this node's service proxy is healthy and the node is to stay.
    #[arg(long, env = "ORCH_HEALTHZ_BIND_ADDRESS", default_value = "0.0.0.0:10256", value_name = "IP:PORT")]
    pub healthz_bind_address: SocketAddr,
    /// What to log: error, warn, info, debug, trace, or a filter such as orch::server=debug.
    #[arg(long, env = "ORCH_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

impl NodeArgs {
    pub fn node_ports(&self) -> anyhow::Result<NodePortAddresses> {
        NodePortAddresses::of(&self.nodeport_addresses).map_err(|why| anyhow::anyhow!("--nodeport-addresses: {why}"))
    }
}

#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    #[command(flatten)]
    pub host: HostArgs,
    #[command(flatten)]
    pub node: NodeArgs,
    /// Listen on this address only.
    #[arg(long, env = "ORCH_BIND_ADDRESS", default_value = "0.0.0.0", value_name = "IP")]
    pub bind_address: IpAddr,
    /// Serve the Kubernetes API on this TCP port.
    #[arg(long, env = "ORCH_HTTPS_LISTEN_PORT", default_value_t = 6443, value_name = "PORT")]
    pub https_listen_port: u16,
    /// Tell pods and other machines to reach the API at this address [default: the node's].
    #[arg(long, env = "ORCH_ADVERTISE_ADDRESS", value_name = "IP")]
    pub advertise_address: Option<IpAddr>,
    /// Add this name or address to the API server's certificate; may be repeated.
    #[arg(long, env = "ORCH_TLS_SAN", value_delimiter = ',', value_name = "NAME")]
    pub tls_san: Vec<String>,
    /// Give pods addresses from this range; each node gets a /24 of it.
    #[arg(long, env = "ORCH_CLUSTER_CIDR", default_value = "10.42.0.0/16", value_name = "CIDR")]
    pub cluster_cidr: Ipv4Net,
    /// Give Services addresses from this range.
    #[arg(long, env = "ORCH_SERVICE_CIDR", default_value = "10.43.0.0/16", value_name = "CIDR")]
    pub service_cidr: Ipv4Net,
    /// Answer DNS queries of pods on this address of the service range.
    #[arg(long, env = "ORCH_CLUSTER_DNS", default_value = "10.43.0.10", value_name = "IP")]
    pub cluster_dns: Ipv4Addr,
    /// The DNS domain of the cluster.
    #[arg(long, env = "ORCH_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    pub cluster_domain: String,
    /// Give NodePort Services ports from this range.
    #[arg(long, env = "ORCH_SERVICE_NODE_PORT_RANGE", default_value = "30000-32767", value_name = "FROM-TO", value_parser = port_range)]
    pub service_node_port_range: (u16, u16),
    /// Accept this bearer token as the administrator's [default: made at the first start, in <data-dir>/server/token].
    #[arg(long, env = "ORCH_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Read the administrator's bearer token from this file.
    #[arg(long, env = "ORCH_TOKEN_FILE", value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// How pods reach those of other nodes: vxlan, or host-gw where all nodes share a wire.
    #[arg(long, env = "ORCH_FLANNEL_BACKEND", default_value = "vxlan", value_name = "BACKEND")]
    pub flannel_backend: Backend,
    /// Run no agent: this machine is not a node.
    #[arg(long, env = "ORCH_DISABLE_AGENT")]
    pub disable_agent: bool,
    /// Leave out these parts: scheduler, proxy, dns, overlay, or a controller by its name.
    #[arg(long, env = "ORCH_DISABLE", value_delimiter = ',', value_name = "COMPONENT,…")]
    pub disable: Vec<String>,
    /// The mode of the kubeconfig that is written, octal.
    #[arg(long, env = "ORCH_WRITE_KUBECONFIG_MODE", default_value = "600", value_name = "MODE", value_parser = file_mode)]
    pub write_kubeconfig_mode: u32,
    /// Answer so many reading requests from the network at once; with the next flag, what priority levels share.
    #[arg(long, env = "ORCH_MAX_REQUESTS_INFLIGHT", default_value_t = 400, value_name = "REQUESTS")]
    pub max_requests_inflight: usize,
    /// Answer so many changing requests from the network at once.
    #[arg(long, env = "ORCH_MAX_MUTATING_REQUESTS_INFLIGHT", default_value_t = 200, value_name = "REQUESTS")]
    pub max_mutating_requests_inflight: usize,
    /// Record requests as this audit.k8s.io/v1 Policy says.
    #[arg(long, env = "ORCH_AUDIT_POLICY_FILE", value_name = "FILE")]
    pub audit_policy_file: Option<PathBuf>,
    /// Write the audit log to this file; - is standard output. Without it nothing is recorded.
    #[arg(long, env = "ORCH_AUDIT_LOG_PATH", value_name = "FILE")]
    pub audit_log_path: Option<PathBuf>,
    /// Whether requests wait until the audit log has them (blocking), are refused where it cannot be written
    /// (blocking-strict), or do not wait (batch).
    #[arg(long, env = "ORCH_AUDIT_LOG_MODE", default_value = "blocking", value_name = "MODE")]
    pub audit_log_mode: Mode,
    /// In mode batch, lose what comes while so many events wait to be written.
    #[arg(long, env = "ORCH_AUDIT_LOG_BATCH_BUFFER_SIZE", default_value_t = 10_000, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub audit_log_batch_buffer_size: u32,
    /// Begin a new audit log when the old one has so many megabytes; 0 is 100.
    #[arg(long, env = "ORCH_AUDIT_LOG_MAXSIZE", default_value_t = 0, value_name = "MEGABYTES")]
    pub audit_log_maxsize: u64,
    /// Keep at most so many old audit logs; 0 keeps all of them.
    #[arg(long, env = "ORCH_AUDIT_LOG_MAXBACKUP", default_value_t = 0, value_name = "FILES")]
    pub audit_log_maxbackup: usize,
    /// Keep old audit logs for so many days; 0 keeps them for ever.
    #[arg(long, env = "ORCH_AUDIT_LOG_MAXAGE", default_value_t = 0, value_name = "DAYS")]
    pub audit_log_maxage: u32,
}

#[derive(Args, Clone, Debug)]
pub struct AgentArgs {
    #[command(flatten)]
    pub host: HostArgs,
    #[command(flatten)]
    pub node: NodeArgs,
    /// The server to join, such as https://10.0.0.1:6443.
    #[arg(long, env = "ORCH_JOIN", value_name = "URL", value_parser = server_url)]
    pub join: Uri,
    /// Join with this token of `orch token create`; needed once, until the machine has its certificate.
    #[arg(long, env = "ORCH_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<JoinToken>,
    /// Read the token from this file.
    #[arg(long, env = "ORCH_TOKEN_FILE", value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// Leave out these parts: proxy, dns, overlay.
    #[arg(long, env = "ORCH_DISABLE", value_delimiter = ',', value_name = "COMPONENT,…")]
    pub disable: Vec<String>,
}

fn server_url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match (url.scheme_str(), url.host()) {
        (Some("https"), Some(_)) => Ok(url),
        _ => Err("must be a URL such as https://10.0.0.1:6443".to_owned()),
    }
}

fn port_range(text: &str) -> Result<(u16, u16), String> {
    let parse = |part: &str| part.trim().parse::<u16>().map_err(|_| format!("{part:?} is not a port"));
    let (from, to) = text.split_once('-').ok_or("must be two ports with a dash between them")?;
    match (parse(from)?, parse(to)?) {
        (from, to) if 0 < from && from <= to => Ok((from, to)),
        _ => Err("the first port must not be 0 or above the last".to_owned()),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn taint(text: &str) -> Result<Taint, String> {
    let (head, effect) = text.rsplit_once(':').ok_or("must be KEY[=VALUE]:EFFECT")?;
    if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
        return Err(format!("{effect:?} is no effect; use NoSchedule, PreferNoSchedule or NoExecute"));
    }
    let (key, value) = head.split_once('=').map_or((head, None), |(key, value)| (key, Some(value.to_owned())));
    Ok(Taint { key: key.to_owned(), value, effect: effect.to_owned(), time_added: None })
}

fn file_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777).ok_or_else(|| "must be octal, up to 777".to_owned())
}

/// `args` with the configuration file's entries put in front of those of the subcommand.
pub fn with_file(args: Vec<OsString>, cli: &Command) -> anyhow::Result<Vec<OsString>> {
    let subcommand = args.get(1).and_then(|name| name.to_str()).and_then(|name| cli.find_subcommand(name));
    let Some(subcommand) = subcommand.filter(|sub| sub.get_arguments().any(|arg| arg.get_id() == "config")) else {
        return Ok(args);
    };
    let named = named_file(&args);
    let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(args),
        Err(error) => return Err(error).with_context(|| format!("cannot read the configuration {}", path.display())),
    };
    // `stop`, `uninstall` and others read of it what they share with whoever runs here.
    let daemons = ["server", "agent"].into_iter().filter_map(|name| cli.find_subcommand(name)).collect::<Vec<_>>();
    let own = daemons.iter().any(|daemon| daemon.get_name() == subcommand.get_name());
    let owners = if own { vec![subcommand] } else { daemons };
    let entries = entries(&text, &owners, subcommand, |variable| std::env::var_os(variable).is_some());
    let entries = entries.with_context(|| format!("in the configuration {}", path.display()))?;
    let (head, tail) = args.split_at(2);
    Ok(head.iter().cloned().chain(entries).chain(tail.iter().cloned()).collect())
}

fn named_file(args: &[OsString]) -> Option<PathBuf> {
    let mut rest = args.iter().skip(2);
    while let Some(arg) = rest.next() {
        if arg == "--config" || arg == "-c" {
            return rest.next().map(PathBuf::from);
        }
        if let Some(path) = arg.to_str().and_then(|text| text.strip_prefix("--config=")) {
            return Some(PathBuf::from(path));
        }
    }
    std::env::var_os("ORCH_CONFIG").map(PathBuf::from)
}

/// The file's entries as flags; those whose environment variable is set are left out.
fn entries(
    text: &str,
    owners: &[&Command],
    command: &Command,
    is_set: impl Fn(&OsString) -> bool,
) -> anyhow::Result<Vec<OsString>> {
    let document: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)?;
    let map = match document {
        serde_yaml_ng::Value::Null => return Ok(Vec::new()),
        serde_yaml_ng::Value::Mapping(map) => map,
        _ => bail!("must be a map of flag names to values"),
    };
    let mut flags = Vec::new();
    for (key, value) in map {
        let Some(key) = key.as_str().map(str::to_owned) else { bail!("every key must be a flag's name") };
        let mut all = owners.iter().flat_map(|owner| owner.get_arguments());
        let Some(arg) = all.find(|arg| arg.get_long() == Some(key.as_str()) && key != "config") else {
            let all = owners.iter().flat_map(|owner| owner.get_arguments());
            let nearest = nearest(&key, all.filter_map(clap::Arg::get_long));
            bail!("unknown key {key:?}{}", nearest.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default());
        };
        // The file is the server's or the agent's; others read of it what they share with these.
        if !command.get_arguments().any(|own| own.get_id() == arg.get_id()) {
            continue;
        }
        if arg.get_env().is_some_and(|variable| is_set(&variable.to_owned())) {
            continue;
        }
        flags.extend(flag(&key, &value, arg.get_action().takes_values())?);
    }
    Ok(flags)
}

fn flag(key: &str, value: &serde_yaml_ng::Value, takes_value: bool) -> anyhow::Result<Vec<OsString>> {
    use serde_yaml_ng::Value;
    if let (Value::Bool(on), false) = (value, takes_value) {
        return Ok(on.then(|| format!("--{key}").into()).into_iter().collect());
    }
    let values = match value {
        Value::Sequence(values) => values.as_slice(),
        single => std::slice::from_ref(single),
    };
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(on) => Ok(on.to_string()),
        _ => bail!("{key:?} must be a text, a number, true or false, or a list of these"),
    };
    if !takes_value {
        bail!("{key:?} must be true or false");
    }
    values.iter().map(|value| Ok(format!("--{key}={}", text(value)?).into())).collect()
}

/// The name most like `wanted`, where one is like it at all.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = names.map(|name| (strsim::jaro_winkler(wanted, name), name)).filter(|(score, _)| *score > 0.7);
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn server(text: &str) -> anyhow::Result<Vec<String>> {
        let cli = crate::cmd::Cli::command();
        let command = cli.find_subcommand("server").unwrap();
        let flags = entries(text, &[command], command, |variable| variable == "ORCH_TOKEN")?;
        Ok(flags.into_iter().map(|flag| flag.into_string().unwrap()).collect())
    }

    #[test]
    fn a_file_becomes_flags() {
        let text = "https-listen-port: 7443\ntls-san: [a, b]\ndisable-agent: true\ntoken: from-file\n";
        let flags = server(text).unwrap();
        assert_eq!(flags, ["--https-listen-port=7443", "--tls-san=a", "--tls-san=b", "--disable-agent"]);
        assert!(server("").unwrap().is_empty());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_nearest() {
        let error = server("data-dirr: /x").unwrap_err().to_string();
        assert_eq!(error, "unknown key \"data-dirr\"; did you mean \"data-dir\"?");
        assert!(server("disable-agent: maybe").is_err());
        assert!(server("- a\n- b").is_err());
    }

    #[test]
    fn the_file_may_be_a_servers_or_an_agents() {
        let cli = crate::cmd::Cli::command();
        let command = |name| cli.find_subcommand(name).unwrap();
        let both = [command("server"), command("agent")];
        let of = |text, owners: &[&Command], name| entries(text, owners, command(name), |_| false);
        let text = "join: https://10.0.0.1:6443\ndata-dir: /x\n";
        assert_eq!(of(text, &both, "stop").unwrap(), ["--data-dir=/x"]);
        assert_eq!(of(text, &both[1..], "agent").unwrap().len(), 2);
        assert!(of(text, &both[..1], "server").is_err(), "a server joins nobody");
    }

    #[test]
    fn every_flag_has_a_sentence_and_a_variable() {
        let cli = crate::cmd::Cli::command();
        let daemons = ["server", "agent"].map(|name| cli.find_subcommand(name).unwrap());
        for arg in daemons.into_iter().flat_map(clap::Command::get_arguments) {
            let Some(long) = arg.get_long().filter(|long| *long != "help" && *long != "version") else { continue };
            assert!(arg.get_help().is_some_and(|help| help.to_string().len() > 20), "--{long} has no help");
            let variable = format!("ORCH_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env().and_then(|v| v.to_str()), Some(variable.as_str()), "--{long}");
        }
    }
}
