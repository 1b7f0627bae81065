//! An API server with all controllers, and a stand-in for scheduler and kubelet.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use orch::keys::Pair;
use orch::lifecycle::Component;
use orch::reconcile::clock::Clock;
use orch::reconcile::{Cached, Env};
use orch::server::controllers::{Controllers, ControllersConfig, Keys};
use orch::server::http::authn::User;
use orch::server::http::{ApiServer, ApiServerConfig};
use orch::server::pki::signer::RequestSigner;
use orch::server::pki::token::Issuer;
use orch::store::Store;
use orch::store::memory::MemoryStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
pub const CA: &str = "the cluster's certificate";

pub struct Cluster {
    pub server: ApiServer,
    pub client: Client,
    pub env: Env,
    controllers: Controllers,
}

impl Cluster {
    /// With a namespace `test` that is ready for pods, and pods that run by themselves.
    pub async fn new() -> Self {
        let cluster = Self::without_kubelet(Clock::system()).await;
        cluster.create(Api::<Node>::all(cluster.client.clone()), json!({"metadata": {"name": "n1"}})).await;
        tokio::spawn(run_pods(cluster.env.clone()));
        cluster.create(Api::<Namespace>::all(cluster.client.clone()), json!({"metadata": {"name": "test"}})).await;
        let ready = |accounts: &[Arc<ServiceAccount>]| {
            accounts.iter().any(|account| account.metadata.namespace.as_deref() == Some("test"))
        };
        cluster.eventually("an account for pods", ready).await;
        cluster
    }

    pub async fn without_kubelet(clock: Clock) -> Self {
        Self::over(MemoryStore::new(), clock).await
    }

    /// Over a store that may hold a cluster already.
    pub async fn over(store: Arc<dyn Store>, clock: Clock) -> Self {
        let server = ApiServer::new(ApiServerConfig::default(), store);
        let client = orch::client::in_process(server.as_user(User::admin()));
        let env = Env { clock, ..Env::new(client.clone()) };
        let mut controllers = Controllers::new(ControllersConfig {
            env: env.clone(),
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            root_ca_pem: CA.to_owned(),
            advertise_address: tokio::sync::watch::channel("192.0.2.7".parse().unwrap()).1,
            https_port: 6443,
            keys: keys(),
            disable: HashSet::new(),
        });
        controllers.start().await.unwrap();
        Self { server, client, env, controllers }
    }

    pub async fn stop(mut self) {
        self.controllers.stop().await;
    }

    pub fn all<K: Resource<DynamicType = (), Scope = ClusterResourceScope>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    pub fn test<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), "test")
    }

    pub async fn create<K>(&self, api: Api<K>, body: Value) -> K
    where
        K: Serialize + DeserializeOwned + Clone + Debug,
    {
        let object: K = serde_json::from_value(body).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    pub async fn merge<K: DeserializeOwned + Clone + Debug>(&self, api: Api<K>, name: &str, patch: Value) -> K {
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// Waits until the objects of a kind satisfy `wanted`, looking again whenever one changes.
    #[track_caller]
    pub fn eventually<K: Cached>(
        &self,
        what: &str,
        wanted: impl Fn(&[Arc<K>]) -> bool,
    ) -> impl Future<Output = Vec<Arc<K>>> {
        let informer = self.env.informers.get::<K>();
        let mut changes = informer.changes();
        let (what, caller) = (what.to_owned(), std::panic::Location::caller());
        async move {
            let found = tokio::time::timeout(PATIENCE, async {
                informer.wait_ready().await;
                loop {
                    let state = informer.store().state();
                    if wanted(&state) {
                        return state;
                    }
                    changes.next().await;
                }
            });
            found
                .await
                .unwrap_or_else(|_| panic!("{caller}: {what} never came; there is {:#?}", informer.store().state()))
        }
    }
}

/// The keys of a cluster that nobody has seen before.
fn keys() -> Keys {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = Pair { cert_pem: params.self_signed(&key).unwrap().pem(), key_pem: key.serialize_pem() };
    let issuer = Issuer::new(&ca.key_pem, "https://kubernetes.default.svc.cluster.local").unwrap();
    Keys { tokens: Some(Arc::new(issuer)), certificates: Some(Arc::new(RequestSigner::new(&ca).unwrap())) }
}

/// Binds, starts and ends pods until the caches stop. The image `broken` never gets ready.
async fn run_pods(env: Env) {
    let pods = env.informers.get::<Pod>();
    let mut changes = pods.changes();
    let mut next_ip = 0;
    while let Some(changed) = changes.next().await {
        let Some(pod) = pods.store().get(&changed) else { continue };
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let name = pod.metadata.name.clone().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(env.client.clone(), &namespace);
        let spec = pod.spec.clone().unwrap_or_default();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        // Whatever fails here fails because the pod has changed meanwhile, which brings it here again.
        if pod.metadata.deletion_timestamp.is_some() {
            let _ = api.delete(&name, &DeleteParams::default().grace_period(0)).await;
        } else if spec.node_name.is_none() {
            let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
            let params = PostParams::default();
            let _ = api.create_subresource::<Value, Value>("binding", &name, &params, &binding).await;
        } else if phase != Some("Running") && spec.containers[0].image.as_deref() != Some("broken") {
            next_ip += 1;
            let ip = format!("10.42.0.{next_ip}");
            let status = json!({"status": {
                "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": Timestamp::now()}],
            }});
            let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await;
        }
    }
}

/// Whether an object of the name is there.
pub fn has<K: Resource>(objects: &[Arc<K>], name: &str) -> bool {
    find(objects, name).is_some()
}

pub fn find<'a, K: Resource>(objects: &'a [Arc<K>], name: &str) -> Option<&'a Arc<K>> {
    objects.iter().find(|object| object.meta().name.as_deref() == Some(name))
}
