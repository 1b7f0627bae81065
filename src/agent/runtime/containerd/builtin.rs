//! Keeps the built-in image in step with the running executable. A start finds out by a few numbers that nothing
//! changed; only a new executable is read and copied, and nobody waits for that but a pod that needs it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Images;
use super::import::{self, Meter};
use crate::agent::images::builtin::{self, ALIAS, NAME};
use crate::agent::images::reference::Reference;
use crate::agent::runtime::{Error, no_progress};

/// Where the executable is, and where it is remembered which one was imported.
pub(super) struct Builtin {
    executable: PathBuf,
    remembered: PathBuf,
    importing: tokio::sync::Mutex<()>,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct Remembered {
    fingerprint: String,
    digest: String,
}

impl Builtin {
    pub(super) fn new(executable: PathBuf, root: &Path) -> Self {
        Self { executable, remembered: root.join("builtin-image.json"), importing: tokio::sync::Mutex::default() }
    }

    /// Whether a name means the built-in image, which no registry has.
    pub(super) fn is_named(name: &Reference) -> bool {
        let name = name.to_string();
        name == NAME || name == ALIAS
    }

    /// Imports the executable if it is not the one imported last.
    pub(super) async fn ensure(&self, images: &Images) -> Result<(), Error> {
        let _alone = self.importing.lock().await;
        let fail = |error: std::io::Error| Error::io(&self.executable, error);
        let file = File::open(&self.executable).map_err(fail)?;
        let fingerprint = builtin::fingerprint(&file).map_err(fail)?;
        if let Some(digest) = self.remembered(&fingerprint)
            && images.store.points_at(NAME, &digest).await?
            && images.store.points_at(ALIAS, &digest).await?
        {
            return Ok(());
        }
        let begun = std::time::Instant::now();
        let file = Arc::new(file);
        let reading = file.clone();
        let image = tokio::task::spawn_blocking(move || builtin::image(&reading)).await;
        let image = image.map_err(std::io::Error::other).and_then(|image| image).map_err(fail)?;
        import::store(images, &image, &file, &Meter::new(0, no_progress())).await?;
        let remembered = Remembered { fingerprint, digest: image.manifest.descriptor.digest };
        let text = serde_json::to_vec(&remembered).map_err(|error| fail(error.into()))?;
        std::fs::write(&self.remembered, text).map_err(|error| Error::io(&self.remembered, error))?;
        tracing::info!(image = NAME, elapsed = ?begun.elapsed(), "imported the built-in image");
        Ok(())
    }

    fn remembered(&self, fingerprint: &str) -> Option<String> {
        let remembered: Remembered = serde_json::from_slice(&std::fs::read(&self.remembered).ok()?).ok()?;
        (remembered.fingerprint == fingerprint).then_some(remembered.digest)
    }
}
