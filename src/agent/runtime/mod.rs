//! What the kubelet asks of a container runtime: images, containers, streams, events; and the plain
//! data that crosses this line. Knows no Kubernetes type and makes no decision about pods: which
//! container runs when is the kubelet's business. Implemented by [`containerd`] and, for tests, by
//! [`fake`].

pub mod containerd;
pub mod error;
pub mod fake;
mod types;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

pub use error::{Code, Error};
pub use types::*;

/// A container runtime. Every verb is idempotent where the kubelet repeats it: removing what is gone
/// and killing what has exited succeed.
///
/// Flow of a container: `create` (root file system and configuration, no process) → `start` (process)
/// → an [`RuntimeEvent::Exited`] → `remove`. Exited containers stay listed, with exit code and
/// times, until they are removed; also across restarts of orch.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Name and version, for `status.nodeInfo.containerRuntimeVersion` (`containerd://1.6.20`).
    async fn version(&self) -> Result<RuntimeVersion, Error>;

    /// The image, if it is present under this reference (normalised) or as `sha256:…` image id.
    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>, Error>;
    /// Resolves, fetches and unpacks the image for this node's platform.
    async fn pull(&self, reference: &str, credentials: Option<&Credentials>) -> Result<ImageInfo, Error>;
    async fn images(&self) -> Result<Vec<ImageInfo>, Error>;
    /// Removes one name, or every name of an image when a `sha256:…` id is given.
    async fn remove_image(&self, reference: &str) -> Result<(), Error>;
    /// Imports a docker or OCI archive and returns the normalised names it held. `progress` is told
    /// the bytes read so far and the size of the file.
    async fn import(&self, path: &Path, progress: Progress) -> Result<Vec<String>, Error>;

    /// Prepares the root file system and the OCI configuration; the image must be present.
    async fn create(&self, spec: &ContainerSpec) -> Result<(), Error>;
    /// Starts the process and returns its pid. After an error the container is listed as exited with
    /// code 128 and reason `StartError`, as upstream's CRI does.
    async fn start(&self, id: &str) -> Result<u32, Error>;
    /// Gives a running container other limits.
    async fn update(&self, id: &str, resources: &Resources) -> Result<(), Error>;
    /// Sends a signal to the container's first process.
    async fn kill(&self, id: &str, signal: i32) -> Result<(), Error>;
    /// Kills what still runs and deletes the container and its root file system. Log files stay.
    async fn remove(&self, id: &str) -> Result<(), Error>;
    /// Every container of ours, exited ones included.
    async fn containers(&self) -> Result<Vec<ContainerInfo>, Error>;
    async fn container(&self, id: &str) -> Result<Option<ContainerInfo>, Error>;

    async fn exec(&self, id: &str, spec: &ExecSpec) -> Result<StdioSession, Error>;
    /// Runs to the end and collects the output (at most 16 MiB of each stream is kept). At the timeout
    /// the process is killed and the error is [`Error::ExecTimeout`].
    async fn exec_sync(&self, id: &str, command: &[String], timeout: Option<Duration>) -> Result<ExecOutput, Error>;
    /// Joins the streams of a running container. Output begins now; what was printed earlier is in the log.
    async fn attach(&self, id: &str, spec: &AttachSpec) -> Result<StdioSession, Error>;
    /// Usage as the cgroup counts it now.
    async fn stats(&self, id: &str) -> Result<ContainerStats, Error>;

    /// What happens from now on. A receiver that lags must list again ([`Runtime::containers`]): the
    /// events are hints, the list is the truth.
    fn events(&self) -> broadcast::Receiver<RuntimeEvent>;
}
