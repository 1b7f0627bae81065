//! The life of containers: create, start, kill, remove, and what happens when one ends. All changes of one
//! container happen under its own lock. What containerd says on (re)connecting wins over what is remembered.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use containerd_client::services::v1::container::Runtime as ShimRuntime;
use containerd_client::services::v1::snapshots::{MountsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest};
use containerd_client::services::v1::{
    Container, CreateContainerRequest, CreateTaskRequest, DeleteContainerRequest, DeleteTaskRequest, GetRequest,
    KillRequest, StartRequest, UpdateTaskRequest, WaitRequest,
};
use containerd_client::types::v1::Status as TaskStatus;
use jiff::Timestamp;
use parking_lot::Mutex;
use prost_types::Any;
use tokio::sync::{OwnedMutexGuard, broadcast};

use super::client::{Client, created, optional, rpc, timestamp};
use super::content::Labels;
use super::fifo::Fifos;
use super::log_file::LogLimits;
use super::logs::Pump;
use super::spec::{RESOURCES_TYPE, SPEC_TYPE};
use super::state::{EXTENSION, End, MANAGED, Record, Status, StatusFiles, info};
use super::unpack::SNAPSHOTTER;
use super::{cgroup, options};
use crate::agent::runtime::{ContainerInfo, Error, RuntimeEvent};

const SHIM: &str = "io.containerd.runc.v2";
const SIGKILL: u32 = 9;
/// How long a killed process may take to die; it can hang in the kernel for longer.
const KILL_DEADLINE: Duration = Duration::from_secs(30);

/// One container of ours.
pub(super) struct Entry {
    pub record: Record,
    pub status: Mutex<Status>,
    /// Serialises start, end and removal.
    lock: tokio::sync::Mutex<()>,
    pub pump: Mutex<Option<Pump>>,
}

impl Entry {
    pub(super) fn new(record: Record, status: Status) -> Arc<Self> {
        Arc::new(Self {
            record,
            status: Mutex::new(status),
            lock: tokio::sync::Mutex::default(),
            pump: Mutex::default(),
        })
    }

    pub(super) fn info(&self) -> ContainerInfo {
        info(&self.record, &self.status.lock())
    }

    pub(super) fn running(&self) -> bool {
        let status = self.status.lock();
        status.pid != 0 && status.end.is_none()
    }
}

pub(super) struct Containers {
    pub client: Client,
    entries: Mutex<HashMap<String, Arc<Entry>>>,
    /// Pods whose shim is being made.
    first: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    files: StatusFiles,
    /// Where the pipes are.
    io: PathBuf,
    limits: LogLimits,
    runc_root: Option<PathBuf>,
    events: broadcast::Sender<RuntimeEvent>,
}

impl Containers {
    pub(super) fn new(
        client: Client,
        files: StatusFiles,
        io: PathBuf,
        limits: LogLimits,
        runc_root: Option<PathBuf>,
        events: broadcast::Sender<RuntimeEvent>,
    ) -> Self {
        let (entries, first) = Default::default();
        Self { client, entries, first, files, io, limits, runc_root, events }
    }

    pub(super) fn get(&self, id: &str) -> Result<Arc<Entry>, Error> {
        self.find(id).ok_or_else(|| Error::ContainerNotFound { id: id.to_owned() })
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Entry>> {
        self.entries.lock().get(id).cloned()
    }

    /// Leaves every container's pipes to the next orch.
    pub(super) async fn release(&self) {
        let pumps: Vec<_> = self.all().iter().filter_map(|entry| entry.pump.lock().take()).collect();
        futures::future::join_all(pumps.into_iter().map(Pump::release)).await;
    }

    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        self.entries.lock().values().cloned().collect()
    }

    pub(super) fn insert(&self, entry: Arc<Entry>) {
        self.entries.lock().insert(entry.record.id.clone(), entry);
    }

    pub(super) fn forget(&self, id: &str) {
        self.entries.lock().remove(id);
    }

    pub(super) fn status_file(&self, id: &str) -> Status {
        self.files.read(id)
    }

    pub(super) fn save(&self, entry: &Entry) {
        let status = entry.status.lock().clone();
        if let Err(error) = self.files.write(&entry.record.id, &status) {
            tracing::warn!(%error, container = entry.record.id, "the container's status is only in memory");
        }
    }

    pub(super) fn announce(&self, event: RuntimeEvent) {
        // Nobody listens while the kubelet is starting: it lists first.
        let _ = self.events.send(event);
    }

    pub(super) fn io_dir(&self, id: &str) -> PathBuf {
        self.io.join(id)
    }

    pub(super) fn fifos(&self, record: &Record) -> Fifos {
        Fifos::paths(&self.io_dir(&record.id), "", record.stdin, true, !record.tty)
    }

    pub(super) fn adopt_pump(&self, entry: &Entry) -> Result<(), Error> {
        let mut pump = entry.pump.lock();
        if pump.is_none() {
            let fifos = self.fifos(&entry.record);
            *pump = Some(Pump::adopt(&fifos, entry.record.log_path.as_deref(), self.limits)?);
        }
        Ok(())
    }

    /// Makes the container object and its root file system. The object goes first: it keeps the snapshot
    /// from the garbage collector, so that no lease is needed.
    pub(super) async fn create(&self, record: Record, spec: &serde_json::Value, parent: String) -> Result<(), Error> {
        let id = record.id.clone();
        let extension = serde_json::to_vec(&record).map_err(|error| Error::Spec { message: error.to_string() })?;
        let container = Container {
            id: id.clone(),
            labels: labels(&record),
            image: record.image.clone(),
            runtime: Some(ShimRuntime {
                name: SHIM.to_owned(),
                options: Some(options::runc(self.runc_root.as_deref())),
            }),
            spec: Some(Any { type_url: SPEC_TYPE.to_owned(), value: spec.to_string().into_bytes() }),
            snapshotter: SNAPSHOTTER.to_owned(),
            snapshot_key: id.clone(),
            extensions: HashMap::from([(
                EXTENSION.to_owned(),
                Any { type_url: EXTENSION.to_owned(), value: extension },
            )]),
            ..Container::default()
        };
        let create = self.client.request(CreateContainerRequest { container: Some(container) });
        self.client.containers().create(create).await.map_err(rpc("create container"))?;
        let prepare = PrepareSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            key: id.clone(),
            parent,
            labels: Labels::new(),
        };
        let prepared = created(self.client.snapshots().prepare(self.client.request(prepare)).await);
        if let Err(status) = prepared {
            let undo = self.client.request(DeleteContainerRequest { id });
            let _ = self.client.containers().delete(undo).await;
            return Err(rpc("prepare root file system")(status));
        }
        self.insert(Entry::new(record, Status::default()));
        Ok(())
    }

    pub(super) async fn start(&self, id: &str) -> Result<u32, Error> {
        let entry = self.get(id)?;
        let _changing = entry.lock.lock().await;
        {
            let status = entry.status.lock();
            match (&status.end, status.pid) {
                (Some(end), _) => {
                    return Err(Error::Start { message: format!("container is in state exited ({})", end.reason) });
                }
                (None, 0) => {}
                (None, pid) => return Ok(pid),
            }
        }
        // Before the process exists: a short one may have ended when the answer comes.
        let started_at = Timestamp::now().to_string();
        match self.launch(&entry).await {
            Ok(pid) => {
                {
                    let mut status = entry.status.lock();
                    status.pid = pid;
                    status.started_at = Some(started_at);
                }
                self.save(&entry);
                self.announce(RuntimeEvent::Started { id: id.to_owned(), pid });
                Ok(pid)
            }
            // Not the container's fault, and containerd will be back: the kubelet tries again.
            Err(error @ Error::Unavailable { .. }) => Err(error),
            Err(error) => {
                let end = End::not_started(&error.to_string());
                entry.status.lock().end = Some(end);
                self.save(&entry);
                Err(error)
            }
        }
    }

    /// Held by the one container of a pod that makes the shim which all of them share: where two come in the same
    /// moment, containerd may make two.
    async fn alone(&self, pod: &str) -> Option<OwnedMutexGuard<()>> {
        let has_shim = || self.entries.lock().values().any(|entry| entry.record.pod_uid == pod && entry.running());
        if has_shim() {
            return None;
        }
        let turn = self.first.lock().entry(pod.to_owned()).or_default().clone();
        let guard = turn.lock_owned().await;
        self.first.lock().retain(|_, turn| Arc::strong_count(turn) > 1);
        Some(guard).filter(|_| !has_shim())
    }

    async fn launch(&self, entry: &Entry) -> Result<u32, Error> {
        let record = &entry.record;
        let _alone = self.alone(&record.pod_uid).await;
        let fifos = self.fifos(record);
        fifos.create(&self.io_dir(&record.id))?;
        let mut pump = Pump::start(&fifos, record.log_path.as_deref(), self.limits)?;
        let mounts = MountsRequest { snapshotter: SNAPSHOTTER.to_owned(), key: record.id.clone() };
        let mounts = self.client.snapshots().mounts(self.client.request(mounts)).await;
        let create = CreateTaskRequest {
            container_id: record.id.clone(),
            rootfs: mounts.map_err(rpc("mount root file system"))?.into_inner().mounts,
            stdin: Fifos::name(fifos.stdin.as_ref()),
            stdout: Fifos::name(fifos.stdout.as_ref()),
            stderr: Fifos::name(fifos.stderr.as_ref()),
            terminal: record.tty,
            ..CreateTaskRequest::default()
        };
        let started = async {
            self.client.tasks().create(self.client.request(create)).await?;
            let start = StartRequest { container_id: record.id.clone(), exec_id: String::new() };
            self.client.tasks().start(self.client.request(start)).await
        };
        match started.await {
            Ok(response) => {
                pump.started();
                *entry.pump.lock() = Some(pump);
                Ok(response.into_inner().pid)
            }
            Err(status) => {
                self.delete_task(&record.id).await?;
                pump.drain().await;
                Err(start_error(&status))
            }
        }
    }

    /// Asks containerd what became of a container and takes over from there: after a start of orch, or a lost connection.
    pub(super) async fn settle(&self, entry: &Entry) -> Result<(), Error> {
        let _changing = entry.lock.lock().await;
        if entry.status.lock().end.is_some() {
            return Ok(());
        }
        let id = &entry.record.id;
        let get = GetRequest { container_id: id.clone(), exec_id: String::new() };
        let task = optional(self.client.tasks().get(self.client.request(get)).await).map_err(rpc("get task"))?;
        let Some(task) = task.and_then(|response| response.process) else {
            self.vanished(entry);
            return Ok(());
        };
        match TaskStatus::try_from(task.status).unwrap_or(TaskStatus::Unknown) {
            TaskStatus::Stopped => {
                // What its pipes still hold goes to the log first.
                if let Err(error) = self.adopt_pump(entry) {
                    tracing::debug!(%error, "the ended container's pipes are gone");
                }
                self.finish(entry, task.exit_status, task.exited_at.as_ref()).await;
            }
            // Killed between create and start: the start is repeated from the beginning.
            TaskStatus::Created => self.delete_task(id).await?,
            _ => {
                entry.status.lock().pid = task.pid;
                self.adopt_pump(entry)?;
            }
        }
        Ok(())
    }

    /// No task: never started, or lost with the machine.
    fn vanished(&self, entry: &Entry) {
        {
            let mut status = entry.status.lock();
            if status.started_at.is_none() {
                return;
            }
            status.pid = 0;
            status.end = Some(End::unseen());
        }
        self.save(entry);
    }

    /// The end of the first process, from an event or from a list; the second report of the same end does nothing.
    pub(super) async fn ended(&self, entry: &Entry, exit_status: u32, at: Option<&prost_types::Timestamp>) {
        let _changing = entry.lock.lock().await;
        self.finish(entry, exit_status, at).await;
    }

    async fn finish(&self, entry: &Entry, exit_status: u32, at: Option<&prost_types::Timestamp>) {
        let id = &entry.record.id;
        if entry.status.lock().end.is_some() {
            return;
        }
        // The group goes with the task; its counters are the truth about an OOM kill, events may be late.
        let oom = entry.status.lock().oom || cgroup::oom_killed(&entry.record.cgroup);
        if let Err(error) = self.delete_task(id).await {
            tracing::warn!(%error, container = id, "the ended task stays for now");
        }
        let pump = entry.pump.lock().take();
        if let Some(pump) = pump {
            pump.drain().await;
        }
        let at = timestamp(at).unwrap_or_else(Timestamp::now);
        let exit_code = exit_status.cast_signed();
        {
            let mut status = entry.status.lock();
            status.end = Some(End::of_process(exit_code, at, oom && exit_code != 0));
            status.pid = 0;
        }
        self.save(entry);
        self.announce(RuntimeEvent::Exited { id: id.clone(), exit_code, at });
    }

    pub(super) async fn delete_task(&self, id: &str) -> Result<(), Error> {
        let request = DeleteTaskRequest { container_id: id.to_owned() };
        let mut result = optional(self.client.tasks().delete(self.client.request(request.clone())).await);
        if result.as_ref().is_err_and(|status| status.code() == tonic::Code::FailedPrecondition) {
            // Created but never started, or still dying: only a dead task can be deleted.
            self.signal(id, SIGKILL).await?;
            self.wait_task(id).await?;
            result = optional(self.client.tasks().delete(self.client.request(request)).await);
        }
        result.map(drop).map_err(rpc("delete task"))
    }

    async fn wait_task(&self, id: &str) -> Result<Option<containerd_client::services::v1::WaitResponse>, Error> {
        let wait = WaitRequest { container_id: id.to_owned(), exec_id: String::new() };
        let mut tasks = self.client.tasks();
        let waiting = tasks.wait(self.client.request(wait));
        match tokio::time::timeout(KILL_DEADLINE, waiting).await {
            Ok(answer) => optional(answer).map_err(rpc("wait for task")),
            Err(_) => Err(Error::Runtime {
                code: crate::agent::runtime::Code::DeadlineExceeded,
                operation: "wait for task",
                message: format!("container {id:?} does not die"),
            }),
        }
    }

    async fn signal(&self, id: &str, signal: u32) -> Result<(), Error> {
        let kill = KillRequest { container_id: id.to_owned(), exec_id: String::new(), signal, all: false };
        // NotFound: it has ended already.
        optional(self.client.tasks().kill(self.client.request(kill)).await).map(drop).map_err(rpc("kill task"))
    }

    /// `limits` is what the runtime specification calls the resources of Linux.
    pub(super) async fn update(&self, id: &str, limits: &serde_json::Value) -> Result<(), Error> {
        let entry = self.get(id)?;
        if !entry.running() {
            return Err(Error::NotRunning { id: id.to_owned() });
        }
        let resources = Any { type_url: RESOURCES_TYPE.to_owned(), value: limits.to_string().into_bytes() };
        let update = UpdateTaskRequest {
            container_id: id.to_owned(),
            resources: Some(resources),
            ..UpdateTaskRequest::default()
        };
        self.client.tasks().update(self.client.request(update)).await.map(drop).map_err(rpc("update task"))
    }

    pub(super) async fn kill(&self, id: &str, signal: i32) -> Result<(), Error> {
        let Some(entry) = self.find(id) else { return Ok(()) };
        if !entry.running() {
            return Ok(());
        }
        self.signal(id, signal.cast_unsigned()).await
    }

    pub(super) async fn remove(&self, id: &str) -> Result<(), Error> {
        let Some(entry) = self.find(id) else { return Ok(()) };
        let _changing = entry.lock.lock().await;
        if entry.running() {
            self.signal(id, SIGKILL).await?;
            let exit = self.wait_task(id).await?.unwrap_or_default();
            self.finish(&entry, exit.exit_status, exit.exited_at.as_ref()).await;
        }
        self.delete_task(id).await?;
        let delete = self.client.request(DeleteContainerRequest { id: id.to_owned() });
        optional(self.client.containers().delete(delete).await).map_err(rpc("delete container"))?;
        let remove = RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: id.to_owned() };
        optional(self.client.snapshots().remove(self.client.request(remove)).await)
            .map_err(rpc("remove root file system"))?;
        self.files.remove(id);
        let _ = std::fs::remove_dir_all(self.io_dir(id));
        self.forget(id);
        Ok(())
    }
}

/// The labels that other tools on the node (ctr, nerdctl, cAdvisor) know from containerd's CRI.
fn labels(record: &Record) -> Labels {
    [
        (MANAGED, "true"),
        ("io.kubernetes.pod.uid", &record.pod_uid),
        ("io.kubernetes.pod.name", &record.pod_name),
        ("io.kubernetes.pod.namespace", &record.namespace),
        ("io.kubernetes.container.name", &record.name),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

fn start_error(status: &tonic::Status) -> Error {
    match status.code() {
        tonic::Code::Unavailable => rpc("start task")(status.clone()),
        _ => Error::Start { message: status.message().to_owned() },
    }
}
