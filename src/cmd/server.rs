//! `orch server`: the composition root of a server. Reads top to bottom as the process starts.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::ObjectReference;

use super::config::ServerArgs;
use super::daemon::End;
use super::manifests::Manifests;
use super::pidfile::PidFile;
use super::{clock, daemon, node_address, notify, preflight};
use crate::agent::kubelet::Certificates;
use crate::agent::{Agent, AgentConfig};
use crate::api::hex::hex;
use crate::keys;
use crate::lifecycle::Lifecycle;
use crate::net::node_address::NodeAddress;
use crate::reconcile::Env;
use crate::reconcile::events::EventType;
use crate::server::authorization::policy;
use crate::server::bootstrap_tokens::BootstrapTokens;
use crate::server::controllers::uses::{self, LastUsed};
use crate::server::controllers::{Controllers, ControllersConfig, Keys};
use crate::server::encryption::{self, Encryption, Keyring};
use crate::server::http::audit::{Audit, Log, LogOptions, Policy};
use crate::server::http::authn::{Authenticator, StaticToken, TokenAuthenticator, User};
use crate::server::http::endpoint::{Endpoint, Endpoints};
use crate::server::http::health::{Hook, Scope};
use crate::server::http::listener::{Listener, TlsSource};
use crate::server::http::openid::{self, OpenId};
use crate::server::http::{ApiServer, ApiServerConfig};
use crate::server::pipeline::ServiceRanges;
use crate::server::pki::rotation::{Hooks, Rotation};
use crate::server::pki::signer::RequestSigner;
use crate::server::pki::token::Issuer;
use crate::server::pki::{self, Pki, PkiOptions};
use crate::server::scheduler::Scheduler;
use crate::server::service_accounts::ServiceAccountTokens;
use crate::server::subresource::Subresources;
use crate::server::subresource::dial::Dialer;
use crate::server::subresource::kubelet::Kubelets;
use crate::server::tunnel::Tunnels;
use crate::server::validation::cel;
use crate::store::sqlite::{SqliteOptions, SqliteStore};

pub fn run(args: ServerArgs) -> anyhow::Result<()> {
    daemon::runtime(&args.node.log)?.block_on(serve(args))
}

/// What is known of this machine and its place in the cluster before anything starts.
#[derive(Clone)]
struct Identity {
    node_name: String,
    node_address: NodeAddress,
    advertise: NodeAddress,
    service_ip: IpAddr,
}

impl Identity {
    fn of(args: &ServerArgs) -> anyhow::Result<Self> {
        let node_address = node_address::of_node(args.node.node_ip)?;
        let service_ip = args.service_cidr.hosts().next().context("--service-cidr holds no address")?;
        if !args.service_cidr.contains(&args.cluster_dns) {
            bail!("--cluster-dns {} is not in --service-cidr {}", args.cluster_dns, args.service_cidr);
        }
        // As upstream: where only this machine may connect, the machine's own address is told to others.
        let told = |address: &IpAddr| !address.is_unspecified() && !address.is_loopback();
        let advertise = match args.advertise_address.or(Some(args.bind_address).filter(told)) {
            Some(address) => NodeAddress::fixed(address),
            None if told(&node_address.get()) => node_address.clone(),
            None => node_address::of_node(None).unwrap_or_else(|_| node_address.clone()),
        };
        Ok(Self {
            node_name: args.node.node_name.clone().unwrap_or_else(node_address::hostname),
            node_address,
            advertise,
            service_ip: service_ip.into(),
        })
    }
}

async fn serve(args: ServerArgs) -> anyhow::Result<()> {
    if !args.disable_agent {
        preflight::agent(args.host.containerd_address.is_none())?;
    }
    let _claim = PidFile::claim(&args.host.run_dir)?;
    let mut end = End::listen()?;
    let identity = Identity::of(&args)?;
    let mut lifecycle = Lifecycle::default();
    let started = tokio::select! {
        started = start(&args, &identity, &mut lifecycle) => started,
        () = end.wanted() => Err(anyhow::anyhow!("stopped while starting")),
    };
    if let Ok(api) = &started {
        daemon::ready(Some(api.metrics().burst()));
        end.wanted().await;
        api.shutting_down();
        notify::send("STOPPING=1");
    }
    lifecycle.stop().await;
    let api = started?;
    api.close_audit().await;
    api.pipeline().store().close().await;
    Ok(())
}

async fn start(args: &ServerArgs, identity: &Identity, lifecycle: &mut Lifecycle) -> anyhow::Result<ApiServer> {
    clock::wait_until_set().await?;
    let server_dir = args.host.data_dir.join("server");
    let pki = Pki::load_or_create(&server_dir.join("tls"), &pki_options(args, identity))?;
    let token = admin_token(args, &server_dir.join("token"))?;
    let keyring = Arc::new(Keyring::load(&server_dir.join("cred/encryption.json"))?);
    let store = open_store(&server_dir.join("db"), keyring.clone())?;
    let encryption = Encryption::new(keyring, store.clone());
    encryption.resume().await?;

    let issuer = format!("https://kubernetes.default.svc.{}", args.cluster_domain);
    let issuer = Arc::new(Issuer::new(&pki.service_account_key_pem, &issuer)?);
    let (used, uses) = uses::channel();
    let tokens: Vec<Arc<dyn TokenAuthenticator>> = vec![
        Arc::new(StaticToken::admin(token)),
        Arc::new(ServiceAccountTokens::new(issuer.clone(), store.clone()).telling(used)),
        Arc::new(BootstrapTokens::new(store.clone())),
    ];
    let mut subresources = Subresources::standard(Some(issuer.clone()));
    let tunnels = Arc::<Tunnels>::default();
    subresources.add_streams(&Kubelets::new(pki.kubelet_client_tls()?, dialer(args, &tunnels)));
    let config = ApiServerConfig {
        authenticator: Authenticator::new(tokens).for_audiences(vec![issuer.issuer.clone()]),
        openid: Some(openid(args, identity, &issuer)),
        subresources,
        services: ServiceRanges {
            cidr: args.service_cidr,
            node_ports: args.service_node_port_range.0..=args.service_node_port_range.1,
        },
        endpoints: Endpoints::from([(encryption::PATH, encryption as Arc<dyn Endpoint>)]),
        tunnels,
        audit: audit(args)?,
        inflight: (args.max_requests_inflight + args.max_mutating_requests_inflight).max(1),
        ..ApiServerConfig::default()
    };
    let api = ApiServer::new(config, store);
    let client = crate::client::in_process(api.as_user(User::admin()).program("kube-controller-manager"));
    let env = Env::new(client.clone());
    let started = observe(&api, &env);
    let address = SocketAddr::new(args.bind_address, args.https_listen_port);
    let tls = TlsSource::new(Arc::new(pki.server_tls()?));
    lifecycle.start(Box::new(Listener::new(api.clone(), address, tls))).await?;
    write_kubeconfig(args, &pki)?;
    let rotation = rotation(args, identity, &pki, &env);
    // Certificates may lie there anew.
    let wake = rotation.wake();
    daemon::on_hangup(move || wake.notify_one())?;
    rename_on_move(&rotation, identity);
    lifecycle.start(Box::new(rotation)).await?;

    let disable: HashSet<String> = args.disable.iter().cloned().collect();
    let controllers = ControllersConfig {
        env: env.clone(),
        cluster_cidr: args.cluster_cidr.into(),
        service_cidr: args.service_cidr.into(),
        root_ca_pem: pki.ca_pem.clone(),
        advertise_address: identity.advertise.receiver(),
        https_port: args.https_listen_port,
        keys: Keys { tokens: Some(issuer), certificates: Some(Arc::new(RequestSigner::new(&pki.ca)?)) },
        disable: disable.clone(),
    };
    let controllers = Controllers::new(controllers);
    api.metrics().add(|registry| controllers.register(registry));
    lifecycle.start(Box::new(controllers)).await?;
    lifecycle.start(Box::new(LastUsed::new(client.clone(), uses))).await?;
    started.controllers();
    let roles = policy::ensure(api.pipeline()).await;
    roles.map_err(|failure| anyhow::anyhow!("the default roles cannot be written: {failure}"))?;
    started.roles.done();
    lifecycle.start(Box::new(Manifests { client: client.clone(), values: values(args) })).await?;
    if !disable.contains("scheduler") {
        let client = crate::client::in_process(api.as_user(User::admin()).program("kube-scheduler"));
        let scheduler = Scheduler::new(Env { client, ..env.clone() });
        api.metrics().add(|registry| scheduler.register(registry));
        api.metrics().add_resources(|registry| scheduler.register_resources(registry));
        lifecycle.start(Box::new(scheduler)).await?;
        started.scheduler.done();
    }
    if !args.disable_agent {
        // As every node's: it may do what a kubelet may.
        let client = crate::client::in_process(api.as_user(User::node(&identity.node_name)).program("kubelet"));
        lifecycle.start(Box::new(Agent::new(agent_config(args, identity, &pki, client, disable)?))).await?;
    }
    Ok(api)
}

/// How the server reaches kubelets and pods: its own agent would bring it into the pods' network.
fn dialer(args: &ServerArgs, tunnels: &Arc<Tunnels>) -> Dialer {
    let dialer = Dialer::new(tunnels.clone());
    if args.disable_agent { dialer.outside_the_pod_network() } else { dialer }
}

/// What the manifests say of this cluster.
fn values(args: &ServerArgs) -> Vec<(&'static str, String)> {
    vec![
        ("CLUSTER_CIDR", args.cluster_cidr.to_string()),
        ("SERVICE_CIDR", args.service_cidr.to_string()),
        ("CLUSTER_DNS", args.cluster_dns.to_string()),
        ("CLUSTER_DOMAIN", args.cluster_domain.clone()),
        ("FLANNEL_BACKEND", args.flannel_backend.name().to_owned()),
    ]
}

/// Keeps the certificates young, and what holds a copy of one.
fn rotation(args: &ServerArgs, identity: &Identity, pki: &Pki, env: &Env) -> Rotation {
    let own = args.clone();
    let recorder = env.events.recorder("orch", Some(&identity.node_name));
    let node = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: Some(identity.node_name.clone()),
        ..ObjectReference::default()
    };
    let hooks = Hooks {
        now: Box::new(jiff::Timestamp::now),
        renewed: Box::new(move |pki| {
            if let Err(error) = write_kubeconfig(&own, pki) {
                tracing::warn!("the administrator's kubeconfig was not renewed: {error:#}");
            }
        }),
        ca_ends: Box::new(move |days| {
            let message = format!("the cluster's certificate authority ends in {days} days");
            recorder.event_at(node.clone(), EventType::Warning, "CertificateAuthorityEnds", message);
        }),
    };
    let (args, identity) = (args.clone(), identity.clone());
    let dir = args.host.data_dir.join("server/tls");
    Rotation::new(dir, Box::new(move || pki_options(&args, &identity)), pki, hooks)
}

/// Another address: certificates must name it.
fn rename_on_move(rotation: &Rotation, identity: &Identity) {
    let wake = rotation.wake();
    let (mut node, mut advertise) = (identity.node_address.clone(), identity.advertise.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = node.changed() => {}
                () = advertise.changed() => {}
            }
            wake.notify_one();
        }
    });
}

/// Where others find the keys that verify ServiceAccount tokens.
fn openid(args: &ServerArgs, identity: &Identity, issuer: &Arc<Issuer>) -> OpenId {
    let keys = issuer.keys();
    let (advertise, port, issuer) = (identity.advertise.clone(), args.https_listen_port, issuer.clone());
    let configuration = move || {
        let address = SocketAddr::new(advertise.get(), port);
        issuer.configuration(&format!("https://{address}{}", openid::KEYS))
    };
    OpenId::new(configuration, &keys)
}

/// The audit log, where one is asked for.
fn audit(args: &ServerArgs) -> anyhow::Result<Option<Audit>> {
    let Some(path) = &args.audit_log_path else { return Ok(None) };
    let Some(policy) = &args.audit_policy_file else {
        tracing::warn!("no --audit-policy-file is given: nothing is recorded in the audit log");
        return Ok(None);
    };
    let text = std::fs::read_to_string(policy).with_context(|| format!("cannot read {}", policy.display()))?;
    let policy = Policy::parse(&text).with_context(|| format!("in the audit policy {}", policy.display()))?;
    let log = Log::open(LogOptions {
        mode: args.audit_log_mode,
        buffer: usize::try_from(args.audit_log_batch_buffer_size)?,
        path: path.clone(),
        max_size: args.audit_log_maxsize,
        max_backups: args.audit_log_maxbackup,
        max_age: args.audit_log_maxage,
    });
    let log = log.with_context(|| format!("cannot write the audit log {}", path.display()))?;
    Ok(Some(Audit::new(policy, log)))
}

/// The steps of starting that health checks wait for.
struct Started {
    namespaces: Hook,
    roles: Hook,
    controllers: Hook,
    scheduler: Hook,
}

impl Started {
    fn controllers(&self) {
        self.namespaces.done();
        self.controllers.done();
    }
}

/// Shows what the controllers count, and what must have happened before the server is ready.
fn observe(api: &ApiServer, env: &Env) -> Started {
    api.metrics().add(|registry| {
        env.metrics.register(registry);
        cel::register(registry);
    });
    let health = api.health();
    let unready = env.informers.unready();
    let synced = move || match unready() {
        waiting if waiting.is_empty() => Ok(()),
        waiting => Err(format!("informers not synced: {}", waiting.join(", "))),
    };
    health.add("informer-sync", Scope::Ready, Arc::new(synced));
    let namespaces = health.hook("start-system-namespaces-controller");
    let roles = health.hook("rbac/bootstrap-roles");
    let (controllers, scheduler) = (Hook::default(), Hook::default());
    health.add_component("controller-manager", controllers.check());
    health.add_component("scheduler", scheduler.check());
    Started { namespaces, roles, controllers, scheduler }
}

fn agent_config(
    args: &ServerArgs,
    identity: &Identity,
    pki: &Pki,
    client: kube::Client,
    disable: HashSet<String>,
) -> anyhow::Result<AgentConfig> {
    Ok(AgentConfig {
        node_name: identity.node_name.clone(),
        node_address: identity.node_address.clone(),
        node_labels: args.node.node_label.clone(),
        node_taints: args.node.node_taint.clone(),
        data_dir: args.host.data_dir.join("agent"),
        run_dir: args.host.run_dir.clone(),
        log_dir: args.host.pod_log_dir.clone(),
        cgroup_root: args.host.cgroup_root.clone(),
        kubelet_port: args.node.kubelet_port,
        prefix: super::teardown::PREFIX.to_owned(),
        client,
        cluster_cidr: args.cluster_cidr,
        service_cidr: args.service_cidr,
        cluster_dns: args.cluster_dns,
        cluster_domain: args.cluster_domain.clone(),
        containerd_address: args.host.containerd_address.clone(),
        insecure_registries: args.node.insecure_registry.clone(),
        serving: pki.live.kubelet_serving(),
        certificates: Certificates { serving: Some(pki.live.kubelet_serving()), ..Certificates::default() },
        client_ca_pem: pki.ca_pem.clone(),
        backend: args.flannel_backend,
        server: None,
        node_ports: args.node.node_ports()?,
        proxy_healthz: args.node.healthz_bind_address,
        disable,
        memory: None,
    })
}

fn pki_options(args: &ServerArgs, identity: &Identity) -> PkiOptions {
    let (node_ip, advertise) = (identity.node_address.get(), identity.advertise.get());
    let mut node_ips = vec![node_ip];
    node_ips.extend((advertise != node_ip).then_some(advertise));
    PkiOptions {
        sans: args.tls_san.clone(),
        node_name: identity.node_name.clone(),
        node_ips,
        service_ip: identity.service_ip,
        cluster_domain: args.cluster_domain.clone(),
    }
}

fn open_store(dir: &Path, seal: Arc<Keyring>) -> anyhow::Result<Arc<SqliteStore>> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    let path = dir.join("state.db");
    let store = SqliteStore::open(&path, SqliteOptions { seal, ..SqliteOptions::default() });
    store.with_context(|| format!("cannot open the database {}", path.display()))
}

/// The administrator's token: from the flag, from the named file, or made once and kept.
fn admin_token(args: &ServerArgs, kept: &Path) -> anyhow::Result<String> {
    if let Some(token) = &args.token {
        return Ok(token.clone());
    }
    if let Some(path) = &args.token_file {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let token = text.trim().to_owned();
        if token.is_empty() {
            bail!("{} is empty", path.display());
        }
        return Ok(token);
    }
    if let Some(text) = keys::read(kept)? {
        return Ok(text.trim().to_owned());
    }
    let mut random = [0u8; 32];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("the kernel gives no random bytes: {error}"))?;
    let token = hex(&random);
    keys::write_private(kept, &token)?;
    Ok(token)
}

/// Written anew at each start, because addresses and certificates change.
fn write_kubeconfig(args: &ServerArgs, pki: &Pki) -> anyhow::Result<()> {
    let local = if args.bind_address.is_unspecified() { [127, 0, 0, 1].into() } else { args.bind_address };
    let url = format!("https://{}", SocketAddr::new(local, args.https_listen_port));
    let path = &args.host.write_kubeconfig;
    keys::write_private(path, &pki::kubeconfig::render(&url, &pki.ca_pem, &pki.admin))?;
    let mode = std::fs::Permissions::from_mode(args.write_kubeconfig_mode);
    std::fs::set_permissions(path, mode).with_context(|| format!("cannot set the mode of {}", path.display()))
}
