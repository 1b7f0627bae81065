//! The kubelet while the API server is away: a real server in this process behind a line that the test cuts, and a
//! runtime without processes. A node lives several lives over one data directory.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use http::Request;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::cgroup::Cgroups;
use super::host::{Capacity, Host, Settings};
use super::model::Sandbox;
use super::pods::Pods;
use super::pull::Puller;
use super::sandbox::{Error, Sandboxes};
use super::sources::Sources;
use crate::agent::runtime::fake::FakeRuntime;
use crate::agent::runtime::{ContainerInfo, ContainerState, ImageConfig, Namespaces, Runtime};
use crate::agent::services::Services;
use crate::net::node_address::NodeAddress;
use crate::reconcile::clock::Clock;
use crate::reconcile::events::EventSink;
use crate::reconcile::{Informer, Informers};
use crate::server::http::authn::User;
use crate::server::http::{ApiServer, ApiServerConfig};
use crate::store::memory::MemoryStore;

const PATIENCE: Duration = Duration::from_secs(60);

/// The line to the API server; `None` while it is cut.
#[derive(Clone, Default)]
struct Line(Arc<Mutex<Option<CancellationToken>>>);

impl Line {
    fn mend(&self) {
        *self.0.lock() = Some(CancellationToken::new());
    }

    /// What is under way breaks off, and nothing new gets through.
    fn cut(&self) {
        if let Some(line) = self.0.lock().take() {
            line.cancel();
        }
    }

    fn client(&self, server: &ApiServer) -> Client {
        let (line, user) = (self.clone(), server.as_user(User::admin()));
        crate::client::in_process(tower::service_fn(move |request: Request<kube::client::Body>| {
            let (line, user) = (line.0.lock().clone(), user.clone());
            async move {
                let line = line.ok_or(io::ErrorKind::ConnectionRefused)?;
                let Ok(response) = user.oneshot(request).await;
                Ok::<_, io::Error>(response.map(|body| {
                    let frames = BodyStream::new(body).take_until(line.cancelled_owned());
                    StreamBody::new(frames).boxed_unsync()
                }))
            }
        }))
    }
}

/// Sandboxes that are names in a list.
#[derive(Default)]
struct Names(Mutex<Vec<String>>);

#[async_trait]
impl Sandboxes for Names {
    async fn create(&self, pod: &Pod) -> Result<Sandbox, Error> {
        self.0.lock().extend(pod.metadata.uid.clone());
        Ok(Sandbox { ip: Some([10, 42, 0, 2].into()) })
    }

    fn find(&self, pod: &Pod) -> Option<Sandbox> {
        let known = pod.metadata.uid.as_ref().is_some_and(|uid| self.0.lock().contains(uid));
        known.then(|| Sandbox { ip: Some([10, 42, 0, 2].into()) })
    }

    async fn remove(&self, uid: &str) -> Result<(), Error> {
        self.0.lock().retain(|known| known != uid);
        Ok(())
    }

    fn namespaces(&self, _: &Pod) -> Namespaces {
        Namespaces::default()
    }

    fn owners(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// The machine and the cluster that it belongs to.
struct World {
    server: ApiServer,
    line: Line,
    runtime: Arc<FakeRuntime>,
    sandboxes: Arc<Names>,
    dir: tempfile::TempDir,
}

/// One life of the kubelet.
struct Life {
    stop: CancellationToken,
    task: JoinHandle<()>,
    informers: Informers,
    services: Services,
    pods: Informer<Pod>,
    address: watch::Sender<std::net::IpAddr>,
}

impl Life {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
        self.services.stop().await;
        self.informers.stop().await;
    }
}

impl World {
    async fn new() -> Self {
        let server = ApiServer::new(ApiServerConfig::default(), MemoryStore::new());
        let dir = tempfile::tempdir().unwrap();
        let world = Self { server, line: Line::default(), runtime: Arc::default(), sandboxes: Arc::default(), dir };
        world.line.mend();
        world.runtime.add_image("app:1", ImageConfig::default());
        let admin = world.admin();
        create(Api::<Namespace>::all(admin.clone()), json!({"metadata": {"name": "ns"}})).await;
        create(Api::<ServiceAccount>::namespaced(admin.clone(), "ns"), json!({"metadata": {"name": "default"}})).await;
        create(Api::<Node>::all(admin), json!({"metadata": {"name": "n1"}})).await;
        world
    }

    /// A client whose line nobody cuts.
    fn admin(&self) -> Client {
        crate::client::in_process(self.server.as_user(User::admin()))
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.admin(), "ns")
    }

    fn memory(&self) -> PathBuf {
        self.dir.path().join("memory")
    }

    fn live(&self) -> Life {
        let client = self.line.client(&self.server);
        let informers = Informers::remembering(client.clone(), Some(self.memory()));
        let services = Services::watch(client.clone(), Some(&self.memory()));
        let (address, addresses) = watch::channel([192, 0, 2, 1].into());
        let pods = informers.selected("spec.nodeName=n1");
        let host = Arc::new(Host {
            settings: Settings {
                node_name: "n1".to_owned(),
                node_address: NodeAddress::told(addresses),
                pods_dir: self.dir.path().join("pods"),
                log_dir: self.dir.path().join("log"),
                cluster_dns: None,
                cluster_domain: "cluster.local".to_owned(),
            },
            capacity: Capacity { cpu_milli: 4000, memory: 8 << 30, storage: 1 << 40, pods: 110 },
            client: client.clone(),
            runtime: self.runtime.clone(),
            sandboxes: self.sandboxes.clone(),
            cgroups: Cgroups::at(self.dir.path(), "cgroup"),
            sources: Sources::new(client.clone(), &self.dir.path().join("objects")),
            services: services.clone(),
            dns_metrics: Default::default(),
            certificates: Default::default(),
            requests: Arc::new(crate::client::Counts::new("")),
            recorder: EventSink::start(client, Clock::system()).recorder("kubelet", Some("n1")),
            puller: Puller::new(self.runtime.clone()),
            starts: Semaphore::new(8),
            probes: Semaphore::new(8),
            probe_results: Default::default(),
            pod_starts: Default::default(),
            boot: "this".to_owned(),
            statuses: Default::default(),
            claims: watch::Sender::default(),
        });
        let stop = CancellationToken::new();
        let (runtime, bound, stopped) = (self.runtime.clone(), pods.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let found = runtime.containers().await.unwrap();
            Pods::new(host, bound, found, stopped).run().await;
        });
        Life { stop, task, informers, services, pods, address }
    }

    /// A pod bound to the node, whose container takes its environment from the ConfigMap `settings`.
    async fn bind(&self, name: &str) {
        let container = json!({
            "name": "app", "image": "app:1", "envFrom": [{"configMapRef": {"name": "settings"}}],
        });
        let spec = json!({"nodeName": "n1", "automountServiceAccountToken": false, "containers": [container]});
        create(self.pods(), json!({"metadata": {"name": name}, "spec": spec})).await;
    }

    async fn settings(&self, value: &str) {
        let map = json!({"metadata": {"name": "settings"}, "data": {"VALUE": value}});
        create(Api::<ConfigMap>::namespaced(self.admin(), "ns"), map).await;
    }

    /// Waits for the API to say something of a pod.
    async fn told(&self, name: &str, what: impl Fn(&Pod) -> bool + Send) {
        let found = kube::runtime::wait::await_condition(self.pods(), name, |pod: Option<&Pod>| pod.is_some_and(&what));
        tokio::time::timeout(PATIENCE, found).await.expect("the API is told in time").unwrap();
    }

    /// Waits for a pod's containers in the runtime to be as wanted.
    async fn runs(&self, pod: &str, what: impl Fn(&[ContainerInfo]) -> bool) {
        let mut events = self.runtime.events();
        let looked = async {
            loop {
                let all = self.runtime.containers().await.unwrap();
                let of_pod: Vec<_> = all.into_iter().filter(|info| info.pod_name == pod).collect();
                if what(&of_pod) {
                    return;
                }
                // What is created and removed sends no event: the next one, or a moment later.
                let _ = tokio::time::timeout(Duration::from_millis(50), events.recv()).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, looked).await;
        assert!(in_time.is_ok(), "the runtime did not get there by {:?}", self.runtime.calls());
    }

    /// How often the runtime was asked for a verb.
    fn asked(&self, verb: &str) -> usize {
        self.runtime.calls().iter().filter(|call| call.starts_with(verb)).count()
    }
}

async fn create<K>(api: Api<K>, object: serde_json::Value) -> K
where
    K: kube::Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

fn is_running(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.and_then(|status| status.phase.as_deref()) == Some("Running")
        && status.and_then(|status| status.container_statuses.as_ref()).is_some_and(|all| all.iter().all(|it| it.ready))
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.and_then(|all| all.first()).map_or(0, |status| status.restart_count)
}

fn one_runs(attempt: u32) -> impl Fn(&[ContainerInfo]) -> bool {
    move |all| all.iter().any(|info| info.attempt == attempt && info.state == ContainerState::Running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_restarts_without_its_server_goes_on_and_catches_up() {
    let world = World::new().await;
    world.settings("one").await;
    let life = world.live();
    world.bind("a").await;
    world.bind("b").await;
    world.told("a", is_running).await;
    world.told("b", is_running).await;

    // The server goes; what crashes then is started again.
    world.line.cut();
    let container = |pod: &'static str| {
        let all = world.runtime.clone();
        async move { all.containers().await.unwrap().into_iter().find(|info| info.pod_name == pod).unwrap().id }
    };
    world.runtime.exit(&container("a").await, 1);
    world.runs("a", one_runs(1)).await;

    // The kubelet restarts, and still there is no server. Its pods run on: `b` was not even touched.
    life.end().await;
    world.pods().delete("b", &DeleteParams::default().grace_period(0)).await.unwrap();
    world.bind("c").await;
    let life = world.live();
    let ready = tokio::time::timeout(PATIENCE, life.pods.wait_ready());
    ready.await.expect("what is remembered is enough to begin with");
    assert_eq!(life.pods.store().state().len(), 2);
    let run = world.runtime.containers().await.unwrap().into_iter().find(|info| info.pod_name == "b").unwrap();
    assert_eq!((run.attempt, run.state), (0, ContainerState::Running));
    // With what its ConfigMap said last.
    world.runtime.exit(&run.id, 1);
    world.runs("b", one_runs(1)).await;
    let started = world.runtime.containers().await.unwrap().into_iter().find(|info| info.pod_name == "b");
    let env = world.runtime.spec(&started.unwrap().id).unwrap().env;
    assert!(env.iter().any(|entry| format!("{entry:?}").contains("one")), "{env:?}");
    assert_eq!(world.asked("kill"), 0);

    // It catches up: what was deleted ends, what is new starts, and what happened is told.
    world.line.mend();
    world.runs("b", <[ContainerInfo]>::is_empty).await;
    world.told("c", is_running).await;
    world.told("a", |pod| restarts(pod) == 1 && is_running(pod)).await;
    life.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_servers_own_word_ends_a_pod() {
    let world = World::new().await;
    world.settings("one").await;
    let life = world.live();
    world.bind("a").await;
    world.told("a", is_running).await;
    life.end().await;
    let memory = world.memory().join("pods.spec.nodeName=n1");
    for remembered in [None, Some("=\n"), Some("+ns/a\t{\"half")] {
        world.line.cut();
        match remembered {
            Some(text) => std::fs::write(&memory, text).unwrap(),
            None => std::fs::remove_file(&memory).unwrap(),
        }
        let life = world.live();
        let ready = tokio::time::timeout(Duration::from_millis(300), life.pods.wait_ready()).await;
        assert_eq!(ready.is_ok(), remembered == Some("=\n"), "{remembered:?}");
        world.line.mend();
        tokio::time::timeout(PATIENCE, life.pods.wait_confirmed()).await.unwrap();
        // Whatever the kubelet does of it, it does before it tells of the next pod.
        let name = format!("next-{}", remembered.map_or(0, str::len));
        world.bind(&name).await;
        world.told(&name, is_running).await;
        world.runs("a", one_runs(0)).await;
        life.end().await;
    }
    assert_eq!((world.asked("kill"), world.asked("remove")), (0, 0), "{:?}", world.runtime.calls());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_address_of_the_node_is_told_of_running_pods() {
    let world = World::new().await;
    world.settings("one").await;
    let life = world.live();
    world.bind("a").await;
    world.told("a", is_running).await;
    life.address.send_replace([192, 0, 2, 9].into());
    let address = |pod: &Pod| pod.status.as_ref().and_then(|status| status.host_ip.clone());
    world.told("a", |pod| address(pod).as_deref() == Some("192.0.2.9")).await;
    world.runs("a", one_runs(0)).await;
    assert_eq!(world.asked("start"), 1, "the pod itself goes on");
    life.end().await;
}
