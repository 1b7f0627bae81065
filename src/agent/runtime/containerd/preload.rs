//! Imports the archives in `<data-dir>/agent/images` when the agent starts, so that a node without a registry has its
//! images. In the background; an unchanged archive costs a few numbers and a look at its names. Never removes an image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Images;
use super::import::{self, Imported};
use crate::agent::images::builtin::fingerprint;
use crate::agent::runtime::{Error, no_progress};

/// The folder, and where it is remembered what was imported from it.
pub(super) struct Preload {
    dir: PathBuf,
    remembered: PathBuf,
    done: watch::Sender<bool>,
}

/// What came out of one archive, by its file name.
type Memory = BTreeMap<String, Archived>;

#[derive(Serialize, Deserialize)]
struct Archived {
    fingerprint: String,
    images: Vec<Imported>,
}

impl Preload {
    pub(super) fn new(dir: PathBuf, root: &Path) -> Self {
        Self { dir, remembered: root.join("preloaded-images.json"), done: watch::Sender::new(false) }
    }

    /// Returns when every archive has had its turn: an image that is missing until then may yet come.
    pub(super) async fn finished(&self) {
        // The sender lives as long as `self`.
        let _ = self.done.subscribe().wait_for(|done| *done).await;
    }

    /// Imports what is new, unless stopped. An archive that cannot be read is a warning and does not stop the others.
    pub(super) async fn run(&self, images: &Images, stop: &CancellationToken) {
        if let Some(Err(error)) = stop.run_until_cancelled(self.import_all(images)).await {
            tracing::warn!(%error, "image archives not imported");
        }
        self.done.send_replace(true);
    }

    async fn import_all(&self, images: &Images) -> Result<(), Error> {
        let files = archives(&self.dir).map_err(|error| Error::io(&self.dir, error))?;
        let mut before = self.remembered();
        let (known, mut now) = (before.len(), Memory::new());
        let mut changed = false;
        for name in files {
            let path = self.dir.join(&name);
            match self.import_one(images, &path, before.remove(&name)).await {
                Ok((archived, new)) => {
                    changed |= new;
                    now.insert(name, archived);
                }
                Err(error) => tracing::warn!(archive = %path.display(), %error, "image archive not imported"),
            }
        }
        if changed || now.len() != known {
            let text = serde_json::to_vec(&now).map_err(|error| Error::io(&self.remembered, error))?;
            std::fs::write(&self.remembered, text).map_err(|error| Error::io(&self.remembered, error))?;
        }
        Ok(())
    }

    /// Also says whether the archive had to be read.
    async fn import_one(
        &self,
        images: &Images,
        path: &Path,
        before: Option<Archived>,
    ) -> Result<(Archived, bool), Error> {
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let fingerprint = fingerprint(&file).map_err(|error| Error::io(path, error))?;
        if let Some(before) = before
            && before.fingerprint == fingerprint
            && all_there(images, &before.images).await?
        {
            return Ok((before, false));
        }
        let begun = std::time::Instant::now();
        let imported = import::import(images, path, no_progress()).await?;
        let names: Vec<_> = imported.iter().map(|image| image.name.as_str()).collect();
        tracing::info!(archive = %path.display(), images = ?names, elapsed = ?begun.elapsed(), "imported an archive");
        Ok((Archived { fingerprint, images: imported }, true))
    }

    fn remembered(&self) -> Memory {
        let text = std::fs::read(&self.remembered).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

async fn all_there(images: &Images, imported: &[Imported]) -> Result<bool, Error> {
    for image in imported {
        if !images.store.points_at(&image.name, &image.digest).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The names of the files in the folder, in order; hidden ones are being copied. No folder, no archives.
fn archives(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Follows links: an archive may lie elsewhere.
        if !entry.path().is_file() {
            continue;
        }
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::archives;

    #[test]
    fn files_are_archives_but_hidden_ones_and_folders_are_not() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["b.tar", "a.tar.zst", ".partial"] {
            std::fs::write(temp.path().join(name), "").unwrap();
        }
        std::fs::create_dir(temp.path().join("folder")).unwrap();
        assert_eq!(archives(temp.path()).unwrap(), ["a.tar.zst", "b.tar"]);
        assert!(archives(&temp.path().join("missing")).unwrap().is_empty());
    }
}
