//! Everything a pod needs on the node before its first container: directories, cgroup, volumes, sandbox and the
//! files that all containers share. Idempotent, so that adopting a pod is the same as making it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use tokio::sync::{Mutex, watch};

use super::env::Fetched;
use super::host::Host;
use super::model::{PodId, Sandbox, common, containers};
use super::resolv::DnsFacts;
use super::sources::{PodSources, Unsynced};
use super::volumes::{self, Places, Tokens, projection};
use super::{container, env, pid_namespace, qos, sandbox};
use crate::reconcile::events::EventType;

/// Why the pod cannot start yet, as its event tells it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Volume(#[from] volumes::Error),
    #[error("{0}")]
    Unsynced(#[from] Unsynced),
    #[error("Failed to create pod sandbox: {0}")]
    Sandbox(#[from] sandbox::Error),
    #[error("Failed to create pod sandbox: {0}")]
    ProcessNamespace(#[from] crate::agent::runtime::Error),
    #[error("Failed to create pod sandbox: RuntimeClass handler \"\" does not support user namespaces")]
    UserNamespace,
    #[error("error making pod data directories: {0}")]
    Directories(io::Error),
    #[error("Failed to create pod cgroup: {0}")]
    Cgroup(io::Error),
}

impl Error {
    /// The event's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Volume(_) | Self::Unsynced(_) => "FailedMount",
            Self::Sandbox(_) | Self::ProcessNamespace(_) | Self::UserNamespace => "FailedCreatePodSandBox",
            Self::Directories(_) => "FailedToMakePodDataDirectories",
            Self::Cgroup(_) => "FailedToCreatePodContainer",
        }
    }
}

/// The volumes of one pod with what keeps them current.
pub struct Keeper {
    pub sources: Mutex<PodSources>,
    pub tokens: Mutex<Tokens>,
}

impl Keeper {
    pub fn new(host: &Host, pod: &Pod) -> Self {
        let fallback = PodSpec::default();
        let (maps, secrets) = references(pod.spec.as_ref().unwrap_or(&fallback));
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let sources = PodSources::new(&host.sources, namespace, &maps, &secrets);
        Self { sources: Mutex::new(sources), tokens: Mutex::new(Tokens::new(host.client.clone())) }
    }

    pub async fn fetch(&self) -> Result<Fetched, Unsynced> {
        self.sources.lock().await.fetch().await
    }

    /// Makes the volumes, or brings them up to date.
    pub async fn volumes(&self, host: &Host, pod: &Pod) -> Result<Places, Error> {
        let fetched = self.fetch().await?;
        let mut tokens = self.tokens.lock().await;
        let dir = host.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default());
        let facts = host.facts(None, false);
        let context = volumes::Context { pod, dir: &dir, fetched: &fetched, facts: &facts, tokens: &mut tokens };
        Ok(volumes::set_up(context).await?)
    }
}

/// Keeps the volumes of a running pod current: looks again when a source or what the pod says of itself changed, or a
/// token is due; at once where the pod is `adopted`, for nobody looked meanwhile. Ends only when it is dropped.
pub async fn keep_current(host: Arc<Host>, mut pods: watch::Receiver<Arc<Pod>>, keeper: Arc<Keeper>, adopted: bool) {
    let mut pod = pods.borrow_and_update().clone();
    let fallback = PodSpec::default();
    let (maps, secrets) = references(pod.spec.as_ref().unwrap_or(&fallback));
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    // A reader of its own: it waits without keeping the others from reading.
    let mut sources = PodSources::new(&host.sources, namespace, &maps, &secrets);
    let _ = sources.fetch().await;
    let mut behind = adopted;
    let mut retry = RETRY;
    loop {
        let failed = if behind { keeper.volumes(&host, &pod).await.err() } else { None };
        if let Some(error) = &failed {
            host.event(&pod, None, EventType::Warning, error.reason(), error.to_string());
        }
        retry = if failed.is_some() { LONGEST_RETRY.min(retry * 2) } else { RETRY };
        let due = keeper.tokens.lock().await.next_renewal();
        let renewal = async {
            match due {
                Some(at) => tokio::time::sleep(crate::reconcile::clock::until(Timestamp::now(), at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = renewal, if failed.is_none() => {}
            () = sources.changed() => {}
            newer = retold(&mut pods, &pod) => pod = newer,
            () = tokio::time::sleep(retry), if failed.is_some() => {}
        }
        behind = true;
    }
}

/// The next Pod that says something else in files of the downward API.
async fn retold(pods: &mut watch::Receiver<Arc<Pod>>, old: &Pod) -> Arc<Pod> {
    let (told, spec) = (&old.metadata, &old.spec);
    let newer = pods.wait_for(|pod| {
        let meta = &pod.metadata;
        meta.labels != told.labels || meta.annotations != told.annotations || pod.spec != *spec
    });
    match newer.await.map(|pod| pod.clone()) {
        Ok(pod) => pod,
        Err(_) => std::future::pending().await,
    }
}

/// Between two tries to bring volumes up to date, doubled before each.
const RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(122);

/// Everything in the namespace that the pod names.
pub fn references(spec: &PodSpec) -> (Vec<String>, Vec<String>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    let mut add = |(more_maps, more_secrets): (Vec<String>, Vec<String>)| {
        maps.extend(more_maps);
        secrets.extend(more_secrets);
    };
    spec.volumes.iter().flatten().for_each(|volume| add(projection::references(volume)));
    containers(spec).for_each(|(_, container)| add(env::references(container)));
    spec.ephemeral_containers.iter().flatten().for_each(|one| add(env::references(&common(one))));
    let pull = spec.image_pull_secrets.iter().flatten().map(|reference| reference.name.clone());
    add((Vec::new(), pull.filter(|name| !name.is_empty()).collect()));
    (maps, secrets)
}

/// What a pod has once it is prepared.
pub struct Prepared {
    pub places: Places,
    pub sandbox: Sandbox,
    pub keeper: Arc<Keeper>,
}

pub async fn prepare(host: Arc<Host>, pod: Arc<Pod>, keeper: Arc<Keeper>) -> Result<Prepared, Error> {
    let id = PodId::of(&pod);
    let fallback = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&fallback);
    if spec.host_users == Some(false) {
        return Err(Error::UserNamespace);
    }
    let dir = host.pod_dir(&id.uid);
    fs::create_dir_all(&dir).and_then(|()| private(&dir)).map_err(Error::Directories)?;
    fs::create_dir_all(host.pod_log_dir(&id)).map_err(Error::Directories)?;
    host.cgroups.create(&qos::cgroup_parent(spec, &id.uid), &qos::pod_resources(spec)).map_err(Error::Cgroup)?;
    let sandbox = async { host.sandboxes.create(&pod).await.map_err(Error::from) };
    let (places, sandbox) = tokio::try_join!(keeper.volumes(&host, &pod), sandbox)?;
    shared_files(&host, &pod, spec, &dir, &sandbox).map_err(Error::Directories)?;
    pid_namespace::ensure(&host, &pod).await?;
    Ok(Prepared { places, sandbox, keeper })
}

/// Only root and the containers' own mounts reach into a pod's directory.
fn private(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o750))
}

fn shared_files(host: &Host, pod: &Pod, spec: &PodSpec, dir: &Path, sandbox: &Sandbox) -> io::Result<()> {
    let dns = DnsFacts {
        cluster_dns: host.settings.cluster_dns,
        cluster_domain: host.settings.cluster_domain.clone(),
        host: fs::read_to_string(host_resolv_conf_path()).unwrap_or_default(),
    };
    for (name, text) in container::pod_files(pod, sandbox.ip, &dns) {
        let path = dir.join(name);
        if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            // Written in place: a running container has this very file mounted.
            fs::write(&path, text)?;
            fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        }
    }
    if containers(spec).nth(1).is_some() && spec.host_ipc != Some(true) {
        volumes::shared_memory(&dir.join("shm"))?;
    }
    Ok(())
}

/// The host's resolver file; behind systemd-resolved the real one, since its loopback stub is unreachable for pods.
fn host_resolv_conf_path() -> PathBuf {
    const USUAL: &str = "/etc/resolv.conf";
    const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";
    let text = fs::read_to_string(USUAL).unwrap_or_default();
    let stub = text.lines().any(|line| line.trim() == "nameserver 127.0.0.53") && Path::new(BEHIND_STUB).exists();
    PathBuf::from(if stub { BEHIND_STUB } else { USUAL })
}
