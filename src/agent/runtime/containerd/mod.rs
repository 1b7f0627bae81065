//! [`Runtime`] on containerd's own gRPC services (1.6, 1.7 and 2.x): no CRI, no ctr. containerd is a
//! child process with its own root and socket, or one that listens at a given address. This file puts the parts together;
//! it is built by the agent and used through the trait.

mod builtin;
mod capabilities;
mod cgroup;
mod client;
mod containers;
mod content;
mod events;
mod exec;
mod fifo;
mod host;
mod image_client;
mod images;
mod import;
mod log_file;
mod logs;
mod options;
mod preload;
mod process;
mod pull;
mod seccomp;
mod spec;
mod state;
mod unpack;
mod user;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use containerd_client::services::v1::snapshots::{RemoveSnapshotRequest, ViewSnapshotRequest};
use parking_lot::Mutex;
use tokio::sync::{broadcast, oneshot};
use tokio_util::sync::CancellationToken;

use self::builtin::Builtin;
use self::client::{Client, rpc};
use self::containers::Containers;
use self::content::{Labels, Lease, WriteLocks};
use self::images::{ImageStore, Resolved};
use self::preload::Preload;
use self::process::{Paths, Process};
use self::state::{Record, StatusFiles};
use self::unpack::SNAPSHOTTER;
use self::user::Accounts;
use super::*;
use crate::agent::images::reference::Reference;

pub use self::image_client::ImageClient;
pub use self::log_file::LogLimits;
pub use self::process::LaunchError;

/// Events a slow listener may lag behind before it has to list again.
const EVENT_BACKLOG: usize = 1024;
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct ContainerdConfig {
    /// The socket of a containerd that somebody else runs; `None` starts one.
    pub address: Option<PathBuf>,
    /// Persistent data (`<data-dir>/agent/containerd`).
    pub root: PathBuf,
    /// Sockets and pipes, gone after a reboot (`/run/orch/containerd`).
    pub run: PathBuf,
    pub namespace: String,
    /// Name of our group in the cgroup hierarchies.
    pub cgroup_root: String,
    /// Registries spoken to in plain HTTP, `host:port`.
    pub insecure_registries: Vec<String>,
    pub log_limits: LogLimits,
    /// The executable to make the built-in image of: `/proc/self/exe`.
    pub builtin: Option<PathBuf>,
    /// A folder of image archives to import at the start (`<data-dir>/agent/images`).
    pub preload: Option<PathBuf>,
}

/// What image work needs.
struct Images {
    client: Client,
    store: ImageStore,
    locks: WriteLocks,
    /// For temporary files as large as an image.
    scratch: PathBuf,
    /// Registries without TLS.
    insecure: Vec<String>,
}

pub struct Containerd {
    images: Images,
    builtin: Option<Builtin>,
    preload: Option<Preload>,
    containers: Arc<Containers>,
    /// Accounts by the chain id of the root file system, which never changes.
    accounts: Mutex<HashMap<String, Arc<Accounts>>>,
    events: broadcast::Sender<RuntimeEvent>,
    cgroup_root: String,
    socket: PathBuf,
    follower: CancellationToken,
    process: tokio::sync::Mutex<Option<Process>>,
}

impl Containerd {
    /// Starts or finds containerd, adopts the containers that are there, and follows its events.
    ///
    /// # Errors
    /// One line for the person at the terminal.
    pub async fn start(config: ContainerdConfig) -> Result<Arc<Self>, LaunchError> {
        let paths = Paths { root: config.root.clone(), run: config.run.clone() };
        let (socket, runc_root, process) = match &config.address {
            Some(address) => (address.clone(), None, None),
            None => {
                let runc_root = config.run.join("runc");
                (paths.socket(), Some(runc_root), Some(Process::start(paths).await?))
            }
        };
        let silent = |error: Error| LaunchError::Silent { socket: socket.clone(), message: error.to_string() };
        let client = Client::new(&socket, &config.namespace).map_err(silent)?;
        let files = StatusFiles::open(&config.root.join("containers")).map_err(silent)?;
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        let io = config.run.join("io");
        let containers = Containers::new(client.clone(), files, io, config.log_limits, runc_root, events.clone());
        let runtime = Arc::new(Self {
            builtin: config.builtin.map(|executable| Builtin::new(executable, &config.root)),
            preload: config.preload.map(|dir| Preload::new(dir, &config.root)),
            images: Images {
                store: ImageStore::new(client.clone()),
                locks: WriteLocks::default(),
                scratch: config.root.join("scratch"),
                insecure: config.insecure_registries,
                client,
            },
            containers: Arc::new(containers),
            accounts: Mutex::default(),
            events,
            cgroup_root: config.cgroup_root,
            socket: socket.clone(),
            follower: CancellationToken::new(),
            process: tokio::sync::Mutex::new(process),
        });
        if let Err(error) = runtime.first_list().await {
            runtime.stop().await;
            return Err(silent(error));
        }
        runtime.clone().spawn_builtin();
        runtime.clone().spawn_preload();
        Ok(runtime)
    }

    /// In the background: the node is ready without it.
    fn spawn_builtin(self: Arc<Self>) {
        tokio::spawn(async move {
            let Some(builtin) = &self.builtin else { return };
            let imported = tokio::select! {
                imported = builtin.ensure(&self.images) => imported,
                () = self.follower.cancelled() => return,
            };
            if let Err(error) = imported {
                tracing::warn!(%error, "the built-in image is not there; a pull of it will try again");
            }
        });
    }

    fn spawn_preload(self: Arc<Self>) {
        tokio::spawn(async move {
            if let Some(preload) = &self.preload {
                preload.run(&self.images, &self.follower).await;
            }
        });
    }

    async fn first_list(&self) -> Result<(), Error> {
        let silent = |message: &str| Error::Unavailable { message: message.to_owned() };
        let answer = tokio::time::timeout(ANSWER_DEADLINE, self.version()).await;
        answer.map_err(|_| silent("no answer within 30 seconds"))??;
        let (ready, listed) = oneshot::channel();
        tokio::spawn(events::run(self.containers.clone(), self.follower.clone(), ready));
        let listed = tokio::time::timeout(ANSWER_DEADLINE, listed).await;
        listed.map_err(|_| silent("the containers could not be listed"))?.map_err(|_| silent("stopping"))
    }

    /// Stops following, and stops the child if it is ours. Containers go on running in their shims.
    pub async fn stop(&self) {
        self.abandon().await;
        if let Some(process) = self.process.lock().await.take() {
            process.stop().await;
        }
    }

    /// Where containerd listens.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// The process that listens there, as the kernel knows it; `None` while it is down.
    pub async fn containerd_pid(&self) -> Option<i32> {
        tokio::net::UnixStream::connect(&self.socket).await.ok()?.peer_cred().ok()?.pid()
    }

    /// Follows no more, but leaves containerd running: what a killed orch does.
    pub async fn abandon(&self) {
        self.follower.cancel();
        self.containers.release().await;
    }

    async fn accounts(&self, image: &Resolved) -> Result<Arc<Accounts>, Error> {
        let chain = image.chain_id();
        if chain.is_empty() {
            return Ok(Arc::default());
        }
        if let Some(known) = self.accounts.lock().get(&chain) {
            return Ok(known.clone());
        }
        let client = &self.images.client;
        let lease = Lease::new(client).await?;
        // Another client of the same containerd may have fetched the image without unpacking it.
        unpack::unpack(client, &lease, image).await?;
        let key = format!("accounts-{}", random_hex());
        let view = ViewSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            key: key.clone(),
            parent: chain.clone(),
            labels: Labels::new(),
        };
        let view = client.snapshots().view(client.leased(&lease.header, view)).await;
        let mounts = view.map_err(rpc("view image"))?.into_inner().mounts;
        let read = tokio::task::spawn_blocking(move || Accounts::read(&mounts)).await;
        let remove = RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key };
        if let Err(error) = client.snapshots().remove(client.request(remove)).await {
            tracing::debug!(%error, "a view stays until its lease expires");
        }
        let accounts = Arc::new(read.map_err(|error| Error::Spec { message: error.to_string() })?);
        self.accounts.lock().insert(chain, accounts.clone());
        Ok(accounts)
    }
}

/// Sixteen hexadecimal digits that nobody has used before.
fn random_hex() -> String {
    let mut bytes = [0; 8];
    // The kernel's source cannot fail once it is seeded, long before a node runs.
    let _ = getrandom::fill(&mut bytes);
    format!("{:016x}", u64::from_le_bytes(bytes))
}

#[async_trait]
impl Runtime for Containerd {
    async fn version(&self) -> Result<RuntimeVersion, Error> {
        let answer = self.images.client.version().version(()).await.map_err(rpc("version"))?.into_inner();
        // Debian's "1.6.20~ds1" and the like; the field wants what upstream's kubelet would show.
        let version = answer.version.trim_start_matches('v').to_owned();
        Ok(RuntimeVersion { name: "containerd".to_owned(), version })
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>, Error> {
        let found = self.images.store.find(reference).await?;
        let built_in = || Reference::parse(reference).is_ok_and(|name| Builtin::is_named(&name));
        let preload = self.preload.as_ref().filter(|_| found.is_none() && !built_in());
        let Some(preload) = preload else { return Ok(found) };
        // What an archive on this disk brings in a moment is not fetched from afar, nor called missing.
        preload.finished().await;
        self.images.store.find(reference).await
    }

    async fn pull(&self, reference: &str, credentials: Option<&Credentials>) -> Result<ImageInfo, Error> {
        if let Some(builtin) = &self.builtin
            && Builtin::is_named(&Reference::parse(reference)?)
        {
            builtin.ensure(&self.images).await?;
            let missing = || Error::ImageNotFound { reference: reference.to_owned() };
            return self.images.store.find(reference).await?.ok_or_else(missing);
        }
        pull::pull(&self.images, reference, credentials).await
    }

    async fn images(&self) -> Result<Vec<ImageInfo>, Error> {
        self.images.store.list().await
    }

    async fn remove_image(&self, reference: &str) -> Result<(), Error> {
        self.images.store.remove(reference).await
    }

    async fn import(&self, path: &Path, progress: Progress) -> Result<Vec<String>, Error> {
        let imported = import::import(&self.images, path, progress).await?;
        Ok(imported.into_iter().map(|image| image.name).collect())
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<(), Error> {
        if self.containers.find(&spec.id).is_some() {
            return Ok(());
        }
        let image = self.images.store.resolve_reference(&spec.image).await?;
        let identity = self.accounts(&image).await?.resolve(&spec.run_as, &image.config.user)?;
        let cgroup = format!("/{}/{}/{}", self.cgroup_root, spec.cgroup_parent.trim_matches('/'), spec.id);
        let devices = host::asked_for(&spec.devices)?;
        let host = host::observe(spec.privileged);
        let runtime_spec = spec::runtime_spec(spec, &image.config, &identity, &host, &cgroup, &devices)?;
        let record = Record::new(spec, &image.id, cgroup);
        self.containers.create(record, &runtime_spec, image.chain_id()).await
    }

    async fn start(&self, id: &str) -> Result<u32, Error> {
        self.containers.start(id).await
    }

    async fn update(&self, id: &str, resources: &Resources) -> Result<(), Error> {
        self.containers.update(id, &spec::limits(resources, &host::observe(false))).await
    }

    async fn kill(&self, id: &str, signal: i32) -> Result<(), Error> {
        self.containers.kill(id, signal).await
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        self.containers.remove(id).await
    }

    async fn containers(&self) -> Result<Vec<ContainerInfo>, Error> {
        Ok(self.containers.all().iter().map(|entry| entry.info()).collect())
    }

    async fn container(&self, id: &str) -> Result<Option<ContainerInfo>, Error> {
        Ok(self.containers.find(id).map(|entry| entry.info()))
    }

    async fn exec(&self, id: &str, spec: &ExecSpec) -> Result<StdioSession, Error> {
        exec::exec(&self.containers, id, spec).await
    }

    async fn exec_sync(&self, id: &str, command: &[String], timeout: Option<Duration>) -> Result<ExecOutput, Error> {
        exec::exec_sync(&self.containers, id, command, timeout).await
    }

    async fn attach(&self, id: &str, spec: &AttachSpec) -> Result<StdioSession, Error> {
        exec::attach(&self.containers, id, spec, self.events.subscribe())
    }

    async fn stats(&self, id: &str) -> Result<ContainerStats, Error> {
        let entry = self.containers.get(id)?;
        if !entry.running() {
            return Err(Error::NotRunning { id: id.to_owned() });
        }
        cgroup::stats(&entry.record.cgroup)
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.events.subscribe()
    }
}
