//! Talking to a registry: manifests and blobs of one repository, with errors in the words of containerd's
//! resolver, which people know from `kubectl describe`. Stores nothing; used by the runtime's pull.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference as RemoteReference, RegistryOperation};

use super::manifest::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, OCI_INDEX, OCI_MANIFEST};
use super::reference::Reference;
use crate::agent::runtime::{Code, Credentials, Error};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A transfer that brings nothing for this long is given up (the kubelet's progress deadline).
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// One repository, for one pull: a pull's credentials are never used for another one.
pub struct Registry {
    client: Client,
    name: Reference,
    auth: RegistryAuth,
    insecure: bool,
}

/// A manifest or an index as the registry sent it.
pub struct Fetched {
    pub descriptor: Descriptor,
    pub bytes: Bytes,
}

impl Registry {
    pub fn new(name: &Reference, credentials: Option<&Credentials>, insecure_registries: &[String]) -> Self {
        // rustls wants one provider per process; whoever comes first installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let insecure = insecure_registries.contains(&name.domain);
        let config = ClientConfig {
            protocol: if insecure { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: concat!("orch/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let auth = match credentials {
            None => RegistryAuth::Anonymous,
            Some(Credentials::Basic { username, password }) => RegistryAuth::Basic(username.clone(), password.clone()),
            Some(Credentials::Bearer { token }) => RegistryAuth::Bearer(token.clone()),
        };
        Self { client: Client::new(config), name: name.clone(), auth, insecure }
    }

    fn remote(&self, digest: Option<&str>) -> RemoteReference {
        let (domain, path) = (self.name.domain.clone(), self.name.path.clone());
        match digest.or(self.name.digest.as_deref()) {
            Some(digest) => RemoteReference::with_digest(domain, path, digest.to_owned()),
            None => RemoteReference::with_tag(domain, path, self.name.tag.clone().unwrap_or_default()),
        }
    }

    /// What the name points at now.
    pub async fn resolve(&self) -> Result<Fetched, Error> {
        let remote = self.remote(None);
        let fetched = async {
            self.client.auth(&remote, &self.auth, RegistryOperation::Pull).await?;
            self.manifest(&remote).await
        };
        let fetched = fetched.await.map_err(|error| {
            let (code, detail) = self.describe(&error);
            self.failed(code, &format!("failed to resolve reference \"{}\": {detail}", self.name))
        })?;
        match &self.name.digest {
            Some(digest) if *digest != fetched.descriptor.digest => {
                let detail = format!("unexpected digest {}, expected {digest}", fetched.descriptor.digest);
                Err(self.failed(Code::Unknown, &detail))
            }
            _ => Ok(fetched),
        }
    }

    /// A manifest that an index names.
    pub async fn manifest_at(&self, digest: &str) -> Result<Fetched, Error> {
        let fetched =
            self.manifest(&self.remote(Some(digest))).await.map_err(|error| self.copy_failed(digest, &error))?;
        if fetched.descriptor.digest == digest {
            return Ok(fetched);
        }
        Err(self.failed(Code::Unknown, &format!("unexpected digest {}, expected {digest}", fetched.descriptor.digest)))
    }

    async fn manifest(&self, remote: &RemoteReference) -> Result<Fetched, OciDistributionError> {
        let accepted = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST];
        let (bytes, _) = self.client.pull_manifest_raw(remote, &self.auth, &accepted).await?;
        let value: serde_json::Value = serde_json::from_slice(&bytes)?;
        let kind = match value.get("mediaType").and_then(|kind| kind.as_str()) {
            Some(kind) => kind,
            None if value.get("manifests").is_some() => OCI_INDEX,
            None => OCI_MANIFEST,
        };
        Ok(Fetched { descriptor: Descriptor::of(kind, &bytes), bytes })
    }

    pub async fn blob(&self, blob: &Descriptor) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let stream = self.client.pull_blob_stream(&self.remote(None), blob.digest.as_str()).await;
        let stream = stream.map_err(|error| self.copy_failed(&blob.digest, &error))?;
        let prefix = self.prefix();
        let digest = blob.digest.clone();
        Ok(stream
            .stream
            .map(move |chunk| {
                chunk.map_err(|error| Error::Pull {
                    code: Code::Unknown,
                    message: format!("{prefix}: failed to copy: {digest}: {}", root_cause(&error)),
                })
            })
            .boxed())
    }

    fn prefix(&self) -> String {
        format!("failed to pull and unpack image \"{}\"", self.name)
    }

    pub fn failed(&self, code: Code, detail: &str) -> Error {
        Error::Pull { code, message: format!("{}: {detail}", self.prefix()) }
    }

    fn copy_failed(&self, digest: &str, error: &OciDistributionError) -> Error {
        let (code, detail) = self.describe(error);
        self.failed(code, &format!("failed to copy: {digest}: {detail}"))
    }

    fn describe(&self, error: &OciDistributionError) -> (Code, String) {
        use OciDistributionError as E;
        let missing = || (Code::NotFound, format!("{}: not found", self.name));
        let denied = |detail: &str| {
            let message = "pull access denied, repository does not exist or may require authorization";
            (Code::Unknown, format!("{message}: {detail}"))
        };
        match error {
            E::ImageManifestNotFoundError(_) | E::ServerError { code: 404, .. } => missing(),
            E::RegistryError { envelope, url } => match envelope.errors.first().map(|first| &first.code) {
                Some(
                    OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound
                    | OciErrorCode::BlobUnknown
                    | OciErrorCode::ManifestBlobUnknown,
                ) => missing(),
                Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => {
                    denied("server message: insufficient_scope: authorization failed")
                }
                Some(OciErrorCode::Toomanyrequests) => {
                    (Code::Unknown, format!("unexpected status from GET request to {url}: 429 Too Many Requests"))
                }
                _ => (Code::Unknown, format!("unexpected answer from GET request to {url}: {envelope}")),
            },
            E::UnauthorizedError { .. } => denied("authorization failed: no basic auth credentials"),
            E::AuthenticationFailure(_) => (
                Code::Unknown,
                "failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized".to_owned(),
            ),
            E::ServerError { code, url, .. } => {
                (Code::Unknown, format!("unexpected status from GET request to {url}: {code}"))
            }
            E::RequestError(request) => (Code::Unknown, format!("failed to do request: {}", self.network(request))),
            other => (Code::Unknown, root_cause(other)),
        }
    }

    /// Go's words for a connection that did not come about.
    fn network(&self, error: &(dyn StdError + 'static)) -> String {
        let scheme = if self.insecure { "http" } else { "https" };
        let (host, path) = (self.name.registry_host(), &self.name.path);
        let which = self.name.digest.as_deref().or(self.name.tag.as_deref()).unwrap_or_default();
        let mut cause = root_cause(error);
        let mut source = Some(error);
        while let Some(inner) = source {
            if let Some(io) = inner.downcast_ref::<std::io::Error>() {
                match io.kind() {
                    std::io::ErrorKind::ConnectionRefused => {
                        cause = format!("dial tcp {host}: connect: connection refused")
                    }
                    std::io::ErrorKind::TimedOut => cause = format!("dial tcp {host}: i/o timeout"),
                    _ if io.to_string().contains("lookup address") => {
                        cause = format!("dial tcp: lookup {}: no such host", host.split(':').next().unwrap_or(host));
                    }
                    _ => {}
                }
            }
            source = inner.source();
        }
        format!("Head \"{scheme}://{host}/v2/{path}/manifests/{which}\": {cause}")
    }
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
