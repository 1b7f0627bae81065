//! The images of a containerd that somebody else drives: what `orch image` needs beside a running agent. It never
//! touches containers.

use std::path::{Path, PathBuf};

use super::client::Client;
use super::content::WriteLocks;
use super::images::ImageStore;
use super::{Error, ImageInfo, Images, Progress, import};

pub struct ImageClient(Images);

impl ImageClient {
    /// `scratch` is for temporary files as large as an image.
    pub fn connect(socket: &Path, namespace: &str, scratch: PathBuf) -> Result<Self, Error> {
        let client = Client::new(socket, namespace)?;
        let (store, locks) = (ImageStore::new(client.clone()), WriteLocks::default());
        Ok(Self(Images { store, locks, scratch, insecure: Vec::new(), client }))
    }

    pub async fn list(&self) -> Result<Vec<ImageInfo>, Error> {
        self.0.store.list().await
    }

    pub async fn remove(&self, reference: &str) -> Result<(), Error> {
        self.0.store.remove(reference).await
    }

    /// Imports every image of a docker or OCI archive and gives their names.
    pub async fn import(&self, path: &Path, progress: Progress) -> Result<Vec<String>, Error> {
        let imported = import::import(&self.0, path, progress).await?;
        Ok(imported.into_iter().map(|image| image.name).collect())
    }
}
