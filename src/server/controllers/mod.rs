//! The controllers: each watches some kinds through shared caches and makes the world what the
//! objects say. They speak the API only; none knows of the pipeline or the store.

mod bootstrap;
mod catalog;
mod certificates;
mod cluster_role_aggregation;
mod deployment;
mod endpoints;
mod flow_control;
mod gc;
mod namespace;
mod node;
mod owners;
mod pods;
mod protection;
mod replicaset;
mod resource_quota;
mod service_accounts;
mod tokens;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::lifecycle::{Component, StartError};
use crate::reconcile::{self, Controller, Env, Error, Options};
pub use certificates::sign::CertificateSigner;
pub use tokens::service_account::TokenSigner;
pub use tokens::{legacy, uses};

/// What the controllers need to know of the cluster.
pub struct ControllersConfig {
    /// Shared with the scheduler and the agent: one cache per kind and process.
    pub env: Env,
    /// Pod addresses; every node gets a part.
    pub cluster_cidr: IpNet,
    /// Service addresses; the first is that of the `kubernetes` Service.
    pub service_cidr: IpNet,
    /// What `kube-root-ca.crt` contains.
    pub root_ca_pem: String,
    /// Where the API server is reached, for the endpoints of the `kubernetes` Service; it may change.
    pub advertise_address: watch::Receiver<IpAddr>,
    pub https_port: u16,
    /// Signs what only the cluster's keys can sign; without it nobody does.
    pub keys: Keys,
    /// Names of controllers not to run.
    pub disable: HashSet<String>,
}

/// The keys of the cluster, as far as controllers use them.
#[derive(Clone, Default)]
pub struct Keys {
    pub tokens: Option<Arc<dyn TokenSigner>>,
    pub certificates: Option<Arc<dyn CertificateSigner>>,
}

/// All controllers, as one part of the process.
pub struct Controllers {
    config: ControllersConfig,
    tasks: TaskTracker,
    evictions: node::metrics::Evictions,
}

impl Controllers {
    pub fn new(config: ControllersConfig) -> Self {
        Self { config, tasks: TaskTracker::new(), evictions: node::metrics::Evictions::default() }
    }

    /// Shows what they count, besides their queues.
    pub fn register(&self, registry: &mut Registry) {
        self.evictions.register(registry, &self.config.env);
    }

    fn run<C: Controller>(&self, env: &Env, controller: C, workers: usize) {
        if !self.config.disable.contains(controller.name()) {
            let options = Options { workers, ..Options::default() };
            self.tasks.spawn(reconcile::run(Arc::new(controller), env.clone(), options));
        }
    }

    fn run_certificates(&self, env: &Env) {
        if let Some(signer) = self.config.keys.certificates.clone() {
            self.run(env, certificates::sign::Signing::new(env, signer), 5);
        }
        self.run(env, certificates::approve::Approving::new(env), 5);
        self.run(env, certificates::clean::Cleaning::new(env), 1);
    }

    fn run_tokens(&self, env: &Env) {
        let config = &self.config;
        if let Some(signer) = config.keys.tokens.clone() {
            self.run(env, tokens::service_account::AccountTokens::new(env, signer, config.root_ca_pem.clone()), 5);
        }
        let address = config.advertise_address.clone();
        let signer = tokens::signer::BootstrapSigner::new(env, address, config.https_port, &config.root_ca_pem);
        self.run(env, signer, 1);
        self.run(env, tokens::cleaner::TokenCleaner::new(env), 1);
        self.run(env, tokens::legacy::LegacyTokens::new(env), 1);
    }
}

#[async_trait]
impl Component for Controllers {
    fn name(&self) -> &'static str {
        "controllers"
    }

    async fn start(&mut self) -> Result<(), StartError> {
        let env = self.config.env.clone();
        let config = &self.config;
        let created = bootstrap::create_namespaces(&env.client).await;
        created.map_err(|error| {
            StartError::new("controllers", format!("the system namespaces cannot be created: {error}"))
        })?;
        let service_ip = config.service_cidr.hosts().next().unwrap_or_else(|| config.service_cidr.addr());
        let pods = owners::owned::<Pod>(&env.informers.get());
        let sets = owners::owned::<ReplicaSet>(&env.informers.get());
        let endpoints = endpoints::Shared::new(&env);
        let pods_on = node::pods_on(&env);
        let address = config.advertise_address.clone();
        self.run(&env, bootstrap::Bootstrap::new(&env, service_ip, address, config.https_port), 1);
        self.run(&env, service_accounts::ServiceAccounts::new(&env), 5);
        self.run(&env, service_accounts::RootCa::new(&env, config.root_ca_pem.clone()), 5);
        self.run_tokens(&env);
        self.run_certificates(&env);
        self.run(&env, cluster_role_aggregation::ClusterRoleAggregation::new(&env), 1);
        self.run(&env, namespace::Namespaces::new(&env), 10);
        self.run(&env, deployment::Deployments::new(&env, pods.clone(), sets.clone()), 5);
        self.run(&env, replicaset::Replicas::<ReplicaSet>::new(&env, pods.clone(), sets.clone()), 5);
        self.run(&env, replicaset::Replicas::<ReplicationController>::new(&env, pods, sets), 5);
        self.run(&env, endpoints::EndpointSlices::new(&env, endpoints.clone()), 5);
        self.run(&env, endpoints::LegacyEndpoints::new(&env, endpoints), 5);
        self.run(&env, endpoints::Mirroring::new(&env), 5);
        self.run(&env, node::ipam::NodeIpam::new(&env, config.cluster_cidr), 1);
        self.run(&env, node::lifecycle::NodeLifecycle::new(&env, pods_on.clone(), self.evictions.clone()), 8);
        self.run(&env, node::eviction::TaintEviction::new(&env, pods_on.clone()), 8);
        self.run(&env, node::pod_gc::PodGc::new(&env, pods_on), 5);
        self.run(&env, flow_control::FlowControl::new(&env), 1);
        self.run(&env, protection::claims(&env), 5);
        self.run(&env, protection::volumes(&env), 5);
        self.run(&env, protection::classes(&env), 1);
        let quotas = resource_quota::ResourceQuotas::new(&env);
        let gone = quotas.gone();
        self.run(&env, quotas, 5);
        self.run(&env, gc::GarbageCollector::new(&env, gone), 20);
        Ok(())
    }

    async fn stop(&mut self) {
        self.config.env.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The API refused to create something because its namespace is being deleted.
fn namespace_is_terminating(error: &Error) -> bool {
    let Error::Api(kube::Error::Api(status)) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}
