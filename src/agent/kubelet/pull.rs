//! Getting the image of a container: pull policy, credentials from imagePullSecrets, one pull at a time for an
//! image, and upstream's back-off between failed ones. Called while a container is started.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::model::Waiting;
use crate::agent::images::reference::Reference;
use crate::agent::runtime::{Credentials, Error as RuntimeError, ImageInfo, Runtime};

/// Parallel pulls on this node.
const PULLS: usize = 4;
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);

/// The image is not to be had now.
#[derive(Clone, Debug)]
pub struct Failure {
    pub waiting: Waiting,
    pub retry_at: Timestamp,
    /// What the events say, `(reason, message)`, in order.
    pub events: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy)]
struct Delay {
    length: Duration,
    until: Timestamp,
}

pub struct Puller {
    runtime: Arc<dyn Runtime>,
    slots: Semaphore,
    delays: Mutex<HashMap<String, (Delay, String)>>,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// A pull that succeeded, and how long it took; `None` where the image was there already.
pub struct Got {
    pub image: ImageInfo,
    pub pulled_in: Option<Duration>,
}

impl Puller {
    pub fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, slots: Semaphore::new(PULLS), delays: Mutex::default(), locks: Mutex::default() }
    }

    /// The image of `container`. `pulling` is called just before a registry is asked.
    pub async fn ensure(
        &self,
        pod: &Pod,
        container: &Container,
        secrets: &[Arc<Secret>],
        pulling: impl FnOnce(),
    ) -> Result<Got, Failure> {
        let name = container.image.as_deref().unwrap_or_default();
        if let Err(error) = Reference::parse(name) {
            return Err(invalid(name, &error.to_string()));
        }
        let present = self.runtime.image(name).await.map_err(|error| inspect_failed(name, &error))?;
        match (policy(container), present) {
            ("IfNotPresent" | "Never", Some(image)) => return Ok(Got { image, pulled_in: None }),
            ("Never", None) => return Err(never(name)),
            _ => {}
        }
        let key = format!("{}/{name}", pod.metadata.uid.as_deref().unwrap_or_default());
        if let Some(failure) = self.backing_off(&key, name) {
            return Err(failure);
        }
        pulling();
        let begun = std::time::Instant::now();
        match self.pull(name, container, secrets).await {
            Ok((image, pulled)) => {
                self.delays.lock().remove(&key);
                Ok(Got { image, pulled_in: pulled.then(|| begun.elapsed()) })
            }
            Err(error) => Err(self.failed(key, name, &error)),
        }
    }

    /// Pulls, unless somebody else just did.
    async fn pull(
        &self,
        name: &str,
        container: &Container,
        secrets: &[Arc<Secret>],
    ) -> Result<(ImageInfo, bool), RuntimeError> {
        let lock = self.locks.lock().entry(name.to_owned()).or_default().clone();
        let contended = lock.try_lock().is_err();
        let _one = lock.lock().await;
        if contended
            && policy(container) != "Always"
            && let Some(image) = self.runtime.image(name).await?
        {
            return Ok((image, true));
        }
        let _slot = self.slots.acquire().await.ok();
        let mut last = None;
        for credentials in credentials(name, secrets).into_iter().map(Some).chain([None]) {
            match self.runtime.pull(name, credentials.as_ref()).await {
                Ok(image) => {
                    self.locks.lock().retain(|_, lock| Arc::strong_count(lock) > 2);
                    return Ok((image, true));
                }
                Err(error) => last = last.or(Some(error)),
            }
        }
        Err(last.unwrap_or(RuntimeError::ImageNotFound { reference: name.to_owned() }))
    }

    fn backing_off(&self, key: &str, name: &str) -> Option<Failure> {
        let delays = self.delays.lock();
        let (delay, cause) = delays.get(key)?;
        if delay.until <= Timestamp::now() {
            return None;
        }
        Some(Failure {
            waiting: Waiting {
                reason: "ImagePullBackOff",
                message: format!("Back-off pulling image \"{name}\": ErrImagePull: {cause}"),
            },
            retry_at: delay.until,
            events: vec![
                ("BackOff", format!("Back-off pulling image \"{name}\"")),
                ("Failed", "Error: ImagePullBackOff".to_owned()),
            ],
        })
    }

    fn failed(&self, key: String, name: &str, error: &RuntimeError) -> Failure {
        let now = Timestamp::now();
        let cause = error.rpc();
        let mut delays = self.delays.lock();
        delays.retain(|_, (delay, _)| now.duration_since(delay.until) < SignedDuration::from_mins(10));
        let length = delays.get(&key).map_or(FIRST, |(delay, _)| (delay.length * 2).min(LONGEST));
        let until = now + SignedDuration::try_from(length).unwrap_or(SignedDuration::from_mins(5));
        delays.insert(key, (Delay { length, until }, cause.clone()));
        let events = vec![
            ("Failed", format!("Failed to pull image \"{name}\": {cause}")),
            ("Failed", "Error: ErrImagePull".to_owned()),
        ];
        // The status shows the error first and the back-off a moment later, as upstream's next sync does.
        let retry_at = now + SignedDuration::from_secs(1);
        Failure { waiting: Waiting { reason: "ErrImagePull", message: cause }, retry_at, events }
    }
}

fn in_a_while(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

fn invalid(name: &str, error: &str) -> Failure {
    let message = format!("Failed to apply default image tag \"{name}\": {error}");
    Failure {
        events: vec![("InspectFailed", message.clone()), ("Failed", "Error: InvalidImageName".to_owned())],
        waiting: Waiting { reason: "InvalidImageName", message },
        retry_at: in_a_while(60),
    }
}

fn never(name: &str) -> Failure {
    let message = format!("Container image \"{name}\" is not present with pull policy of Never");
    Failure {
        events: vec![("ErrImageNeverPull", message.clone()), ("Failed", "Error: ErrImageNeverPull".to_owned())],
        waiting: Waiting { reason: "ErrImageNeverPull", message },
        retry_at: in_a_while(15),
    }
}

fn inspect_failed(name: &str, error: &RuntimeError) -> Failure {
    let message = format!("Failed to inspect image \"{name}\": {}", error.rpc());
    Failure {
        events: vec![("InspectFailed", message.clone()), ("Failed", "Error: ImageInspectError".to_owned())],
        waiting: Waiting { reason: "ImageInspectError", message },
        retry_at: in_a_while(10),
    }
}

/// The container's policy; without one, `Always` for `:latest` and untagged images.
fn policy(container: &Container) -> &str {
    let image = container.image.as_deref().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let floating = !last.contains('@') && (last.ends_with(":latest") || !last.contains(':'));
    container.image_pull_policy.as_deref().unwrap_or(if floating { "Always" } else { "IfNotPresent" })
}

#[derive(Deserialize)]
struct DockerConfig {
    auths: HashMap<String, DockerAuth>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DockerAuth {
    username: String,
    password: String,
    auth: String,
    registrytoken: String,
}

/// The credentials among `secrets` that are meant for the image's registry, most specific path first.
pub fn credentials(image: &str, secrets: &[Arc<Secret>]) -> Vec<Credentials> {
    let Ok(reference) = Reference::parse(image) else { return Vec::new() };
    let repository = reference.repository();
    let mut found: Vec<(usize, Credentials)> = Vec::new();
    for secret in secrets {
        let data = secret.data.as_ref();
        let modern = data.and_then(|data| data.get(".dockerconfigjson"));
        let auths = match (modern, data.and_then(|data| data.get(".dockercfg"))) {
            (Some(json), _) => serde_json::from_slice::<DockerConfig>(&json.0).map(|config| config.auths),
            (None, Some(json)) => serde_json::from_slice(&json.0),
            (None, None) => continue,
        };
        for (place, auth) in auths.unwrap_or_default() {
            let place = normal_place(&place);
            if matches(&repository, &place)
                && let Some(credentials) = read(&auth)
            {
                found.push((place.len(), credentials));
            }
        }
    }
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, credentials)| credentials).collect()
}

/// `https://index.docker.io/v1/` and friends as a registry path.
fn normal_place(place: &str) -> String {
    let place = place.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let place = place.trim_end_matches("/v1").trim_end_matches("/v2");
    match place {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

fn matches(repository: &str, place: &str) -> bool {
    if let Some(domain) = place.strip_prefix("*.") {
        let host = repository.split('/').next().unwrap_or_default();
        return host
            .strip_suffix(domain)
            .is_some_and(|label| label.ends_with('.') && !label[..label.len() - 1].contains('.'));
    }
    repository == place || repository.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
}

fn read(auth: &DockerAuth) -> Option<Credentials> {
    if !auth.registrytoken.is_empty() {
        return Some(Credentials::Bearer { token: auth.registrytoken.clone() });
    }
    if !auth.username.is_empty() {
        return Some(Credentials::Basic { username: auth.username.clone(), password: auth.password.clone() });
    }
    let decoded = STANDARD.decode(auth.auth.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(Credentials::Basic { username: username.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn policies_default_by_tag() {
        let of = |image: &str| {
            let container = Container { image: Some(image.to_owned()), ..Container::default() };
            policy(&container).to_owned()
        };
        assert_eq!(of("nginx"), "Always");
        assert_eq!(of("localhost:5000/nginx:latest"), "Always");
        assert_eq!(of("localhost:5000/nginx:1"), "IfNotPresent");
        assert_eq!(of(&format!("nginx@sha256:{}", "a".repeat(64))), "IfNotPresent");
    }

    #[test]
    fn a_secret_is_used_for_its_own_registry_only() {
        let config = json!({"auths": {
            "registry.example.com:5000": {"auth": STANDARD.encode("u:p:w")},
            "registry.example.com:5000/team": {"username": "t", "password": "w"},
            "https://index.docker.io/v1/": {"username": "d", "password": "w"}}});
        let data = json!({"data": {".dockerconfigjson": STANDARD.encode(config.to_string())}});
        let secrets = [Arc::new(serde_json::from_value::<Secret>(data).unwrap())];
        let users = |image: &str| -> Vec<String> {
            let user = |credentials| match credentials {
                Credentials::Basic { username, .. } => username,
                Credentials::Bearer { token } => token,
            };
            credentials(image, &secrets).into_iter().map(user).collect()
        };
        assert_eq!(users("registry.example.com:5000/team/app:1"), ["t", "u"]);
        assert_eq!(users("registry.example.com:5000/other/app:1"), ["u"]);
        assert_eq!(users("nginx"), ["d"]);
        assert!(users("quay.io/x/y").is_empty());
    }
}
