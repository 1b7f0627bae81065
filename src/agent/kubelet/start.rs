//! Starting one container: image, configuration, creation, process. Returns the run, or why there is none yet; the
//! worker keeps the result and `plan` decides what follows.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use tokio_util::sync::CancellationToken;

use super::container::{self, Inputs};
use super::env;
use super::host::Host;
use super::model::{Finished, Instance, PodId, Waiting, container_id, spec_hash};
use super::pid_namespace;
use super::prepare::Prepared;
use super::pull::Got;
use crate::agent::runtime::{Error as RuntimeError, ImageInfo};
use crate::agent::services::Key;
use crate::reconcile::events::EventType::{Normal, Warning};

/// Why a container did not start, and when to try again.
#[derive(Debug)]
pub struct Failure {
    pub waiting: Waiting,
    pub retry_at: Timestamp,
}

/// What to start.
pub struct Job {
    pub pod: Arc<Pod>,
    pub container: Container,
    /// The running container whose processes an ephemeral one is to see.
    pub target: Option<Target>,
    pub attempt: u32,
    pub epoch: u32,
    pub prepared: Arc<Prepared>,
    /// Ends a pull that nobody waits for any more.
    pub cancel: CancellationToken,
}

/// Another container of the pod, by its name, and its id while it runs.
pub struct Target {
    pub name: String,
    pub id: Option<String>,
}

/// Between two tries after an error of configuration or the runtime.
const RETRY: SignedDuration = SignedDuration::from_secs(10);

/// Starts the container. A run whose process could not be made is returned as finished.
pub async fn start(host: &Host, job: &Job) -> Result<Instance, Failure> {
    let pull = pull(host, job);
    let got = tokio::select! {
        got = pull => got?,
        () = job.cancel.cancelled() => return Err(cancelled()),
    };
    let _slot = host.starts.acquire().await.ok();
    if job.cancel.is_cancelled() {
        return Err(cancelled());
    }
    let run = new_run(job, &got.image);
    let spec = configure(host, job, &run, &got.image).await.map_err(|error| {
        let message = error.to_string();
        host.event(&job.pod, Some(&job.container.name), Warning, "Failed", format!("Error: {message}"));
        failure("CreateContainerConfigError", message)
    })?;
    create(host, job, &spec).await?;
    launch(host, job, run).await
}

fn failure(reason: &'static str, message: String) -> Failure {
    Failure { waiting: Waiting { reason, message }, retry_at: Timestamp::now() + RETRY }
}

fn cancelled() -> Failure {
    Failure { waiting: Waiting { reason: "ContainerCreating", message: String::new() }, retry_at: Timestamp::now() }
}

async fn pull(host: &Host, job: &Job) -> Result<Got, Failure> {
    let name = job.container.image.as_deref().unwrap_or_default();
    let say = |kind, reason: &str, message: String| {
        host.event(&job.pod, Some(&job.container.name), kind, reason, message);
    };
    let secrets = pull_secrets(job).await;
    let pulling = || say(Normal, "Pulling", format!("Pulling image \"{name}\""));
    match host.puller.ensure(&job.pod, &job.container, &secrets, pulling).await {
        Ok(got) => {
            let message = match got.pulled_in {
                None => format!("Container image \"{name}\" already present on machine and can be accessed by the pod"),
                Some(took) => {
                    let now = Timestamp::now();
                    let begun = now.checked_sub(took).unwrap_or(now);
                    let uid = job.pod.metadata.uid.as_deref().unwrap_or_default();
                    host.pod_starts.pulled(uid, (begun, now));
                    let (took, size) = (human(took), got.image.size);
                    format!(
                        "Successfully pulled image \"{name}\" in {took} ({took} including waiting). Image size: {size} bytes."
                    )
                }
            };
            say(Normal, "Pulled", message);
            Ok(got)
        }
        Err(failed) => {
            for (reason, message) in failed.events {
                say(if reason == "BackOff" { Normal } else { Warning }, reason, message);
            }
            Err(Failure { waiting: failed.waiting, retry_at: failed.retry_at })
        }
    }
}

/// `1.204s`, as Go rounds to milliseconds.
fn human(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1000 => format!("{millis}ms"),
        millis => format!("{}.{:03}s", millis / 1000, millis % 1000),
    }
}

async fn pull_secrets(job: &Job) -> Vec<Arc<Secret>> {
    let spec = job.pod.spec.as_ref();
    let Some(names) = spec.and_then(|spec| spec.image_pull_secrets.as_ref()) else { return Vec::new() };
    let fetched = job.prepared.keeper.fetch().await.unwrap_or_default();
    names.iter().filter_map(|reference| fetched.secrets.get(&reference.name).cloned().flatten()).collect()
}

fn new_run(job: &Job, image: &ImageInfo) -> Instance {
    let uid = job.pod.metadata.uid.as_deref().unwrap_or_default();
    let asked = job.container.image.clone().unwrap_or_default();
    let tag = image.tags.iter().find(|tag| **tag == asked || tag.ends_with(&format!("/{asked}")));
    Instance {
        id: container_id(uid, &job.container.name, job.attempt),
        attempt: job.attempt,
        epoch: job.epoch,
        hash: spec_hash(&job.container),
        image: tag.or(image.tags.first()).cloned().unwrap_or(asked),
        image_id: image.digests.first().cloned().unwrap_or_else(|| image.id.clone()),
        started_at: None,
        finished: None,
    }
}

#[derive(Debug, thiserror::Error)]
enum ConfigError {
    #[error(transparent)]
    Spec(#[from] container::Error),
    #[error(transparent)]
    Env(#[from] env::Error),
    #[error(transparent)]
    Unsynced(#[from] super::sources::Unsynced),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("unable to find target container {0}")]
    Target(String),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

async fn configure(
    host: &Host,
    job: &Job,
    run: &Instance,
    image: &ImageInfo,
) -> Result<crate::agent::runtime::ContainerSpec, ConfigError> {
    let id = PodId::of(&job.pod);
    let pod_dir = host.pod_dir(&id.uid);
    let host_network = job.pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    let facts = host.facts(job.prepared.sandbox.ip, host_network);
    let fetched = job.prepared.keeper.fetch().await?;
    host.services.wait_ready().await;
    let mut services = host.services.in_namespace(&id.namespace);
    let api = Key::new("default", "kubernetes");
    services.extend(host.services.get(&api).service.map(|service| (api, service)));
    let env = env::build(&job.pod, &job.container, &services, &fetched, &facts)?;
    let log_path = host.pod_log_dir(&id).join(&job.container.name).join(format!("{}.log", job.attempt));
    if let Some(dir) = log_path.parent() {
        fs::create_dir_all(dir)?;
    }
    let last_words = container::termination_file(&pod_dir, &job.container.name, job.attempt);
    if let Some(dir) = last_words.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&last_words, b"")?;
    fs::set_permissions(&last_words, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    let mut namespaces = host.sandboxes.namespaces(&job.pod);
    namespaces.host_net |= host_network;
    let target = match &job.target {
        Some(Target { name, id: None }) => return Err(ConfigError::Target(name.clone())),
        Some(Target { id: Some(id), .. }) => Some(id.as_str()),
        None => None,
    };
    namespaces.pid = pid_namespace::joined(host, &job.pod, target).await?;
    Ok(container::spec(Inputs {
        pod: &job.pod,
        container: &job.container,
        run,
        env,
        image: &image.config,
        places: &job.prepared.places,
        pod_dir: &pod_dir,
        log_path,
        namespaces,
        node_memory: host.capacity.memory,
    })?)
}

async fn create(host: &Host, job: &Job, spec: &crate::agent::runtime::ContainerSpec) -> Result<(), Failure> {
    let name = &job.container.name;
    // An earlier, interrupted attempt may have left a container of this very id.
    let created = match host.runtime.create(spec).await {
        Err(error) if error.code() == crate::agent::runtime::Code::AlreadyExists => {
            let removed = host.runtime.remove(&spec.id).await;
            match removed {
                Ok(()) => host.runtime.create(spec).await,
                Err(error) => Err(error),
            }
        }
        other => other,
    };
    match created {
        Ok(()) => {
            host.event(&job.pod, Some(name), Normal, "Created", "Container created");
            Ok(())
        }
        Err(error) => {
            let message = message(&error);
            host.event(&job.pod, Some(name), Warning, "Failed", format!("Error: {message}"));
            Err(failure("CreateContainerError", message))
        }
    }
}

async fn launch(host: &Host, job: &Job, mut run: Instance) -> Result<Instance, Failure> {
    let name = &job.container.name;
    match host.runtime.start(&run.id).await {
        Ok(_) => {
            run.started_at = Some(Timestamp::now());
            host.event(&job.pod, Some(name), Normal, "Started", "Container started");
        }
        Err(error) => {
            let message = message(&error);
            host.event(&job.pod, Some(name), Warning, "Failed", format!("Error: {message}"));
            let now = Timestamp::now();
            run.started_at = Some(Timestamp::UNIX_EPOCH);
            run.finished =
                Some(Finished { exit_code: 128, reason: "StartError".to_owned(), message: Some(message), at: now });
        }
    }
    Ok(run)
}

/// The runtime's words as the CRI would have carried them, shortened to what it says.
fn message(error: &RuntimeError) -> String {
    error.to_string()
}
