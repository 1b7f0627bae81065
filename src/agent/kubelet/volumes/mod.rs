//! The volumes of a pod on this node: made before its first container, kept up to date while it runs, taken
//! away after its last. Called by the pod's worker; never decides when.

pub mod atomic;
mod local;
pub mod projection;
mod token;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, Volume};

use super::env::{Facts, Fetched};
pub use local::{SubPathError, clear, empty, shared_memory, sub_path};
pub use token::{TokenError, Tokens};

/// Why a volume could not be made. `Display` is upstream's message of the `FailedMount` event.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {cause}")]
pub struct Error {
    pub volume: String,
    pub cause: Cause,
}

#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error(transparent)]
    Projection(#[from] projection::Error),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("{0}")]
    HostPath(String),
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Io(PathBuf, io::Error),
    #[error("no volume plugin matched")]
    Unsupported,
}

/// Where each volume of the pod is on the host.
pub type Places = BTreeMap<String, PathBuf>;

/// What a pod's volumes need to know.
pub struct Context<'a> {
    pub pod: &'a Pod,
    /// `<data>/pods/<uid>`
    pub dir: &'a Path,
    pub fetched: &'a Fetched,
    pub facts: &'a Facts,
    pub tokens: &'a mut Tokens,
}

/// Makes every volume, or brings it up to date where it is there already; idempotent.
pub async fn set_up(mut context: Context<'_>) -> Result<Places, Error> {
    let mut places = Places::new();
    let spec = context.pod.spec.as_ref();
    for volume in spec.and_then(|spec| spec.volumes.as_ref()).into_iter().flatten() {
        let place = one(&mut context, volume).await;
        let place = place.map_err(|cause| Error { volume: volume.name.clone(), cause })?;
        places.insert(volume.name.clone(), place);
    }
    Ok(places)
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    u32::try_from(context.fs_group?).ok()
}

async fn one(context: &mut Context<'_>, volume: &Volume) -> Result<PathBuf, Cause> {
    if let Some(source) = &volume.host_path {
        return local::host_path(&source.path, source.type_.as_deref().unwrap_or_default());
    }
    if let Some(source) = &volume.empty_dir {
        return local::empty_dir(context.dir, &volume.name, source, fs_group(context.pod));
    }
    let secret = volume.secret.is_some() || volume.projected.is_some();
    if secret || volume.config_map.is_some() || volume.downward_api.is_some() {
        let base = if secret { local::memory(context.dir)? } else { context.dir.join("volumes") };
        let dir = base.join(&volume.name);
        context.tokens.ensure(context.pod, volume, &dir).await?;
        let shown = context.tokens.shown(volume);
        let payload = projection::payload(context.pod, volume, context.fetched, context.facts, &shown)?;
        let group = fs_group(context.pod);
        atomic::write(&dir, &payload.unwrap_or_default(), group).map_err(|error| Cause::Io(dir.clone(), error))?;
        return Ok(dir);
    }
    Err(Cause::Unsupported)
}
