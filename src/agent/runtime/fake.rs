//! A runtime without processes, for tests of the kubelet: containers are entries in a map, and the test
//! decides when one exits. Never touches the disk or the network. Used by unit tests only.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::*;

/// What the fake answers to an exec.
pub type ExecHandler = Box<dyn Fn(&str, &[String]) -> Result<ExecOutput, Error> + Send + Sync>;

#[derive(Default)]
struct State {
    images: BTreeMap<String, ImageInfo>,
    pullable: BTreeMap<String, ImageInfo>,
    containers: BTreeMap<String, (ContainerSpec, ContainerInfo)>,
    calls: Vec<String>,
    exec: Option<ExecHandler>,
    next_pid: u32,
}

/// See the module's words. `calls()` tells the verbs in order, such as `start c1`.
pub struct FakeRuntime {
    state: Mutex<State>,
    events: broadcast::Sender<RuntimeEvent>,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self { state: Mutex::default(), events: broadcast::channel(1024).0 }
    }
}

impl FakeRuntime {
    pub fn new() -> Self {
        Self::default()
    }

    /// An image that is already on the node.
    pub fn add_image(&self, reference: &str, config: ImageConfig) {
        let info = image_info(reference, config);
        self.state.lock().images.insert(reference.to_owned(), info);
    }

    /// An image that a pull will find; any other pull fails with NotFound.
    pub fn add_pullable(&self, reference: &str, config: ImageConfig) {
        let info = image_info(reference, config);
        self.state.lock().pullable.insert(reference.to_owned(), info);
    }

    pub fn on_exec(&self, handler: ExecHandler) {
        self.state.lock().exec = Some(handler);
    }

    pub fn calls(&self) -> Vec<String> {
        self.state.lock().calls.clone()
    }

    pub fn spec(&self, id: &str) -> Option<ContainerSpec> {
        self.state.lock().containers.get(id).map(|(spec, _)| spec.clone())
    }

    /// The process ends by itself.
    pub fn exit(&self, id: &str, exit_code: i32) {
        self.end(id, exit_code, if exit_code == 0 { "Completed" } else { "Error" });
    }

    /// The kernel kills the process for its memory.
    pub fn oom(&self, id: &str) {
        let _ = self.events.send(RuntimeEvent::Oom { id: id.to_owned() });
        self.end(id, 137, "OOMKilled");
    }

    fn end(&self, id: &str, exit_code: i32, reason: &str) {
        let at = Timestamp::now();
        {
            let mut state = self.state.lock();
            let Some((_, info)) = state.containers.get_mut(id) else { return };
            if info.state != ContainerState::Running {
                return;
            }
            info.state = ContainerState::Exited;
            info.exit_code = Some(exit_code);
            info.finished_at = Some(at);
            info.oom_killed = reason == "OOMKilled";
            info.reason = reason.to_owned();
            info.pid = 0;
        }
        let _ = self.events.send(RuntimeEvent::Exited { id: id.to_owned(), exit_code, at });
    }

    fn record(&self, call: String) {
        self.state.lock().calls.push(call);
    }
}

fn image_info(reference: &str, config: ImageConfig) -> ImageInfo {
    ImageInfo {
        id: format!("sha256:{reference}"),
        tags: vec![reference.to_owned()],
        digests: Vec::new(),
        size: 1,
        config,
        pinned: false,
    }
}

fn info_of(spec: &ContainerSpec, image_id: String) -> ContainerInfo {
    ContainerInfo {
        id: spec.id.clone(),
        pod_uid: spec.pod_uid.clone(),
        pod_name: spec.pod_name.clone(),
        namespace: spec.namespace.clone(),
        name: spec.name.clone(),
        attempt: spec.attempt,
        image: spec.image.clone(),
        image_id,
        state: ContainerState::Created,
        pid: 0,
        created_at: Timestamp::now(),
        started_at: None,
        finished_at: None,
        exit_code: None,
        oom_killed: false,
        reason: String::new(),
        message: String::new(),
        log_path: spec.log_path.clone(),
        termination_message_path: spec.termination_message_path.clone(),
        labels: spec.labels.clone(),
    }
}

fn session(output: ExecOutput) -> StdioSession {
    StdioSession {
        stdin: Some(Box::pin(tokio::io::sink())),
        stdout: Some(Box::pin(std::io::Cursor::new(output.stdout))),
        stderr: Some(Box::pin(std::io::Cursor::new(output.stderr))),
        resize: None,
        exit: async move { Ok(output.exit_code) }.boxed(),
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn version(&self) -> Result<RuntimeVersion, Error> {
        Ok(RuntimeVersion { name: "fake".into(), version: "0".into() })
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>, Error> {
        Ok(self.state.lock().images.get(reference).cloned())
    }

    async fn pull(&self, reference: &str, _: Option<&Credentials>) -> Result<ImageInfo, Error> {
        self.record(format!("pull {reference}"));
        let mut state = self.state.lock();
        let Some(info) = state.pullable.get(reference).cloned() else {
            let message = format!(
                "failed to pull and unpack image \"{reference}\": failed to resolve reference \"{reference}\": {reference}: not found"
            );
            return Err(Error::Pull { code: Code::NotFound, message });
        };
        state.images.insert(reference.to_owned(), info.clone());
        Ok(info)
    }

    async fn images(&self) -> Result<Vec<ImageInfo>, Error> {
        Ok(self.state.lock().images.values().cloned().collect())
    }

    async fn remove_image(&self, reference: &str) -> Result<(), Error> {
        self.record(format!("remove-image {reference}"));
        self.state.lock().images.remove(reference);
        Ok(())
    }

    async fn import(&self, path: &Path, _: Progress) -> Result<Vec<String>, Error> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.add_image(&name, ImageConfig::default());
        Ok(vec![name])
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<(), Error> {
        self.record(format!("create {}", spec.id));
        let mut state = self.state.lock();
        let Some(image) = state.images.get(&spec.image) else {
            return Err(Error::ImageNotFound { reference: spec.image.clone() });
        };
        let info = info_of(spec, image.id.clone());
        state.containers.insert(spec.id.clone(), (spec.clone(), info));
        Ok(())
    }

    async fn start(&self, id: &str) -> Result<u32, Error> {
        self.record(format!("start {id}"));
        let pid = {
            let mut state = self.state.lock();
            state.next_pid += 1;
            let pid = state.next_pid;
            let (_, info) = state.containers.get_mut(id).ok_or(Error::ContainerNotFound { id: id.to_owned() })?;
            info.state = ContainerState::Running;
            info.started_at = Some(Timestamp::now());
            info.pid = pid;
            pid
        };
        let _ = self.events.send(RuntimeEvent::Started { id: id.to_owned(), pid });
        Ok(pid)
    }

    async fn update(&self, id: &str, _: &Resources) -> Result<(), Error> {
        self.record(format!("update {id}"));
        Ok(())
    }

    async fn kill(&self, id: &str, signal: i32) -> Result<(), Error> {
        self.record(format!("kill {id} {signal}"));
        self.end(id, 128 + signal, "Error");
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        self.record(format!("remove {id}"));
        self.end(id, 137, "Error");
        self.state.lock().containers.remove(id);
        Ok(())
    }

    async fn containers(&self) -> Result<Vec<ContainerInfo>, Error> {
        Ok(self.state.lock().containers.values().map(|(_, info)| info.clone()).collect())
    }

    async fn container(&self, id: &str) -> Result<Option<ContainerInfo>, Error> {
        Ok(self.state.lock().containers.get(id).map(|(_, info)| info.clone()))
    }

    async fn exec(&self, id: &str, spec: &ExecSpec) -> Result<StdioSession, Error> {
        self.exec_sync(id, &spec.command, None).await.map(session)
    }

    async fn exec_sync(&self, id: &str, command: &[String], _: Option<Duration>) -> Result<ExecOutput, Error> {
        let state = self.state.lock();
        match state.containers.get(id) {
            None => return Err(Error::ContainerNotFound { id: id.to_owned() }),
            Some((_, info)) if info.state != ContainerState::Running => {
                return Err(Error::NotRunning { id: id.to_owned() });
            }
            Some(_) => {}
        }
        state.exec.as_ref().map_or_else(|| Ok(ExecOutput::default()), |exec| exec(id, command))
    }

    async fn attach(&self, id: &str, _: &AttachSpec) -> Result<StdioSession, Error> {
        self.exec_sync(id, &[], None).await.map(session)
    }

    async fn stats(&self, id: &str) -> Result<ContainerStats, Error> {
        if !self.state.lock().containers.contains_key(id) {
            return Err(Error::ContainerNotFound { id: id.to_owned() });
        }
        Ok(ContainerStats {
            at: Timestamp::now(),
            cpu_nanoseconds: 0,
            memory_usage: 0,
            memory_working_set: 0,
            memory_rss: 0,
            page_faults: 0,
            major_page_faults: 0,
            processes: 1,
        })
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.events.subscribe()
    }
}
