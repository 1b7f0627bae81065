//! What the kubelet knows of one pod, as plain data: the instances of its containers, its sandbox and
//! how it is ending. Written by the worker, read by `plan` and `status`; kept on disk by `record`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::resize::{Applied, Progress};

use crate::api::hex::hex;

/// The part a container plays in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    Main,
    Ephemeral,
}

/// One run of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The runtime's id.
    pub id: String,
    /// 0 for the first run; the restart count that the API shows.
    pub attempt: u32,
    /// Which [`Observed::epoch`] of the pod it ran in.
    pub epoch: u32,
    /// [`spec_hash`] of the container as it was started.
    pub hash: String,
    pub image: String,
    pub image_id: String,
    pub started_at: Option<Timestamp>,
    pub finished: Option<Finished>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    pub exit_code: i32,
    pub reason: String,
    pub message: Option<String>,
    pub at: Timestamp,
}

impl Instance {
    pub fn is_running(&self) -> bool {
        self.started_at.is_some() && self.finished.is_none()
    }

    pub fn succeeded(&self) -> bool {
        self.finished.as_ref().is_some_and(|end| end.exit_code == 0)
    }
}

/// Why a container waits, as its status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub reason: &'static str,
    pub message: String,
}

/// Why a running container must die, in the event's words, and the probe's own grace period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condemned {
    pub why: String,
    pub grace: Option<i64>,
}

/// What the worker is doing with a container just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    #[default]
    None,
    Starting,
    Stopping,
    Resizing,
}

/// All that is known of one container of the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    pub current: Option<Instance>,
    /// The run before the current one.
    pub previous: Option<Instance>,
    pub crash: CrashBackoff,
    /// What the current run was given.
    #[serde(default)]
    pub applied: Option<Applied>,
    #[serde(skip)]
    pub activity: Activity,
    /// Why the last try to start it failed, and when the next may be made.
    #[serde(skip)]
    pub waiting: Option<Waiting>,
    #[serde(skip)]
    pub retry_at: Option<Timestamp>,
    /// The startup probe has passed (or there is none) and postStart has returned.
    #[serde(skip)]
    pub started: bool,
    /// The readiness probe says yes (or there is none).
    #[serde(skip)]
    pub ready: bool,
    /// A failed probe or hook asks for its death.
    #[serde(skip)]
    pub condemned: Option<Condemned>,
}

impl ContainerState {
    pub fn is_running(&self) -> bool {
        self.current.as_ref().is_some_and(Instance::is_running)
    }

    /// The current run, if it belongs to `epoch`.
    pub fn in_epoch(&self, epoch: u32) -> Option<&Instance> {
        self.current.as_ref().filter(|instance| instance.epoch == epoch)
    }

    pub fn next_attempt(&self) -> u32 {
        self.current.as_ref().map_or(0, |instance| instance.attempt + 1)
    }
}

/// Upstream's crash loop back-off: 10 s doubling to 5 min, forgotten after 10 quiet minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashBackoff {
    seconds: u32,
    last_restart: Option<Timestamp>,
}

const FIRST: u32 = 10;
const LONGEST: u32 = 300;

impl CrashBackoff {
    /// How long a container that ended at `finished` has still to wait.
    pub fn delay(&self, finished: Timestamp, now: Timestamp) -> Option<(Timestamp, u32)> {
        let last = self.last_restart?;
        if now.duration_since(last) > SignedDuration::from_secs(i64::from(2 * LONGEST)) {
            return None;
        }
        let until = finished + SignedDuration::from_secs(i64::from(self.seconds));
        (until > now).then_some((until, self.seconds))
    }

    /// A crashed container is being started again.
    pub fn restarted(&mut self, now: Timestamp) {
        let forgotten = |last: Timestamp| now.duration_since(last) > SignedDuration::from_secs(i64::from(2 * LONGEST));
        self.seconds = match self.last_restart {
            Some(last) if !forgotten(last) => (self.seconds * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last_restart = Some(now);
    }
}

/// The pod's network, IPC and UTS namespaces, made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// Absent for pods on the host's network.
    pub ip: Option<std::net::Ipv4Addr>,
}

/// Why and until when a pod ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Seconds given to each container, hook included.
    pub grace: i64,
    /// Set when the kubelet itself ends the pod: the status' phase becomes Failed with this.
    pub failure: Option<Waiting>,
}

/// Everything `plan` and `status` look at, besides the Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub sandbox: Option<Sandbox>,
    /// Counts how often the pod was begun: with each sandbox, and when all containers are started again.
    pub epoch: u32,
    /// What ran in an epoch before this one counts as if it had never run.
    pub anew: u32,
    pub containers: BTreeMap<String, ContainerState>,
    pub ending: Option<Ending>,
    pub resize: Progress,
    /// When the kubelet first saw the pod.
    pub start_time: Option<Timestamp>,
}

impl Observed {
    pub fn container(&self, name: &str) -> Option<&ContainerState> {
        self.containers.get(name)
    }

    /// The run of a container that its policy is about.
    pub fn run(&self, name: &str) -> Option<&Instance> {
        self.container(name)?.current.as_ref().filter(|run| run.epoch >= self.anew)
    }

    /// Nothing runs and nothing is being started or stopped.
    pub fn is_quiet(&self) -> bool {
        self.containers.values().all(|state| !state.is_running() && state.activity == Activity::None)
    }
}

/// The containers of a pod with their roles, in the order they start.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = (Role, &Container)> {
    let init = spec.init_containers.iter().flatten().map(|container| (init_role(container), container));
    init.chain(spec.containers.iter().map(|container| (Role::Main, container)))
}

pub fn init_role(container: &Container) -> Role {
    if container.restart_policy.as_deref() == Some("Always") { Role::Sidecar } else { Role::Init }
}

/// Finds a container of any role; ephemeral ones are turned into the common type.
pub fn find_container(spec: &PodSpec, name: &str) -> Option<(Role, Container)> {
    if let Some((role, container)) = containers(spec).find(|(_, container)| container.name == name) {
        return Some((role, container.clone()));
    }
    let mut ephemeral = spec.ephemeral_containers.iter().flatten();
    ephemeral.find(|container| container.name == name).map(|found| (Role::Ephemeral, common(found)))
}

/// An ephemeral container as an ordinary one.
pub fn common(ephemeral: &EphemeralContainer) -> Container {
    let e = ephemeral.clone();
    Container {
        name: e.name,
        image: e.image,
        image_pull_policy: e.image_pull_policy,
        command: e.command,
        args: e.args,
        env: e.env,
        env_from: e.env_from,
        working_dir: e.working_dir,
        volume_mounts: e.volume_mounts,
        security_context: e.security_context,
        stdin: e.stdin,
        stdin_once: e.stdin_once,
        tty: e.tty,
        resources: e.resources,
        termination_message_path: e.termination_message_path,
        termination_message_policy: e.termination_message_policy,
        ..Container::default()
    }
}

/// Changes exactly when a running container must be replaced: as upstream, only name and image count,
/// since nothing else of a container can be changed in place.
pub fn spec_hash(container: &Container) -> String {
    let image = container.image.as_deref().unwrap_or_default();
    hex(&Sha256::digest(format!("{}\0{image}", container.name)))[..16].to_owned()
}

/// The runtime's id of a run: the same inputs give the same id, so that a repeated create is seen as such.
pub fn container_id(uid: &str, name: &str, attempt: u32) -> String {
    hex(&Sha256::digest(format!("{uid}/{name}/{attempt}")))
}

/// Name, namespace and uid of a pod, which nearly every message wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodId {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

impl PodId {
    pub fn of(pod: &Pod) -> Self {
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
        }
    }
}

/// Upstream's `format.Pod`, as in its messages.
impl std::fmt::Display for PodId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}({})", self.name, self.namespace, self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn back_off_doubles_is_capped_and_forgotten() {
        let mut backoff = CrashBackoff::default();
        assert_eq!(backoff.delay(at(0), at(0)), None, "the first restart is immediate");
        let mut now = 0;
        for expected in [10, 20, 40, 80, 160, 300, 300] {
            backoff.restarted(at(now));
            assert_eq!(backoff.delay(at(now), at(now)), Some((at(now + expected), expected as u32)));
            assert_eq!(backoff.delay(at(now), at(now + expected)), None);
            now += expected;
        }
        assert_eq!(backoff.delay(at(now + 700), at(now + 700)), None, "a long quiet run is forgiven");
        backoff.restarted(at(now + 700));
        assert_eq!(backoff.delay(at(now + 700), at(now + 700)).map(|(_, seconds)| seconds), Some(10));
    }

    #[test]
    fn a_hash_sees_the_image_and_nothing_unrelated() {
        let one = Container { name: "a".into(), image: Some("x:1".into()), ..Container::default() };
        let resized = Container { args: Some(vec!["b".into()]), ..one.clone() };
        let changed = Container { image: Some("x:2".into()), ..one.clone() };
        assert_eq!(spec_hash(&one), spec_hash(&resized));
        assert_ne!(spec_hash(&one), spec_hash(&changed));
    }
}
