//! The images containerd knows, as the kubelet wants to see them: grouped by image id, with what their
//! configuration says. Resolved configurations are remembered by digest, which never changes. Fetches nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use containerd_client::services::v1::{
    CreateImageRequest, DeleteImageRequest, GetImageRequest, Image, ListImagesRequest, UpdateImageRequest,
};
use containerd_client::types;
use parking_lot::Mutex;

use super::client::{Client, created, optional, rpc};
use super::content::{self, Labels};
use crate::agent::images::manifest::{Configuration, Descriptor, Index, Manifest, chain_ids, select};
use crate::agent::images::reference::Reference;
use crate::agent::runtime::{Code, Error, ImageConfig, ImageInfo};

/// The label that containerd's own CRI puts on images that must stay.
const PINNED: &str = "io.cri-containerd.pinned";

/// An image down to its layers, for this machine.
#[derive(Debug)]
pub(super) struct Resolved {
    /// Digest of the configuration: the image id.
    pub id: String,
    pub layers: Vec<Descriptor>,
    pub diff_ids: Vec<String>,
    pub size: u64,
    pub config: ImageConfig,
}

impl Resolved {
    /// The snapshot that holds the unpacked root file system; empty for an image without layers.
    pub(super) fn chain_id(&self) -> String {
        chain_ids(&self.diff_ids).pop().unwrap_or_default()
    }
}

pub(super) struct ImageStore {
    client: Client,
    /// By the digest that the image record points at.
    resolved: Mutex<HashMap<String, Arc<Resolved>>>,
}

impl ImageStore {
    pub(super) fn new(client: Client) -> Self {
        Self { client, resolved: Mutex::default() }
    }

    pub(super) async fn list(&self) -> Result<Vec<ImageInfo>, Error> {
        let records = self.records().await?;
        let mut images: BTreeMap<String, ImageInfo> = BTreeMap::new();
        for record in &records {
            let Some(target) = &record.target else { continue };
            let resolved = match self.resolve(&target.digest, &target.media_type).await {
                Ok(resolved) => resolved,
                Err(error @ Error::Unavailable { .. }) => return Err(error),
                Err(error) => {
                    // A half-collected image of another client; it is of no use to us.
                    tracing::debug!(image = record.name, %error, "skipping an incomplete image");
                    continue;
                }
            };
            let image = images.entry(resolved.id.clone()).or_insert_with(|| ImageInfo {
                id: resolved.id.clone(),
                size: resolved.size,
                config: resolved.config.clone(),
                ..ImageInfo::default()
            });
            image.pinned |= record.labels.get(PINNED).is_some_and(|value| value == "pinned");
            add_names(image, &record.name, &target.digest);
        }
        Ok(images.into_values().collect())
    }

    /// By normalised name, by `repository@digest`, or by image id.
    pub(super) async fn find(&self, reference: &str) -> Result<Option<ImageInfo>, Error> {
        let wanted: Box<dyn Fn(&ImageInfo) -> bool + Send> = if reference.starts_with("sha256:") {
            Box::new(|image| image.id == reference)
        } else {
            let name = Reference::parse(reference)?;
            let by_digest = name.digest.as_deref().map(|digest| name.at_digest(digest));
            let name = name.to_string();
            Box::new(move |image| match &by_digest {
                Some(digest) => image.digests.contains(digest),
                None => image.tags.contains(&name),
            })
        };
        Ok(self.list().await?.into_iter().find(|image| wanted(image)))
    }

    /// The layers behind a reference, as [`ImageStore::find`] finds it.
    pub(super) async fn resolve_reference(&self, reference: &str) -> Result<Arc<Resolved>, Error> {
        let missing = || Error::ImageNotFound { reference: reference.to_owned() };
        if !reference.starts_with("sha256:") {
            let name = Reference::parse(reference)?.to_string();
            let request = self.client.request(GetImageRequest { name });
            let found = optional(self.client.images().get(request).await).map_err(rpc("get image"))?;
            if let Some(target) = found.and_then(|response| response.image).and_then(|image| image.target) {
                return self.resolve(&target.digest, &target.media_type).await;
            }
        }
        let image = self.find(reference).await?.ok_or_else(missing)?;
        let resolved = self.resolved.lock().values().find(|resolved| resolved.id == image.id).cloned();
        resolved.ok_or_else(missing)
    }

    pub(super) async fn resolve(&self, digest: &str, media_type: &str) -> Result<Arc<Resolved>, Error> {
        if let Some(resolved) = self.resolved.lock().get(digest) {
            return Ok(resolved.clone());
        }
        let resolved = Arc::new(load(&self.client, digest, media_type).await?);
        self.resolved.lock().insert(digest.to_owned(), resolved.clone());
        Ok(resolved)
    }

    /// Whether a name exists and means this digest.
    pub(super) async fn points_at(&self, name: &str, digest: &str) -> Result<bool, Error> {
        let request = self.client.request(GetImageRequest { name: name.to_owned() });
        let found = optional(self.client.images().get(request).await).map_err(rpc("get image"))?;
        let target = found.and_then(|response| response.image).and_then(|image| image.target);
        Ok(target.is_some_and(|target| target.digest == digest))
    }

    /// Creates the name, or moves it to another target.
    pub(super) async fn tag(&self, name: &str, target: &Descriptor, pinned: bool) -> Result<(), Error> {
        let mut labels = Labels::new();
        if pinned {
            labels.insert(PINNED.to_owned(), "pinned".to_owned());
        }
        let target = descriptor(target);
        let image = Image { name: name.to_owned(), labels, target: Some(target), ..Image::default() };
        let request = self.client.request(CreateImageRequest { image: Some(image.clone()), source_date_epoch: None });
        if created(self.client.images().create(request).await).map_err(rpc("create image"))? {
            return Ok(());
        }
        let update = UpdateImageRequest { image: Some(image), update_mask: None, source_date_epoch: None };
        self.client.images().update(self.client.request(update)).await.map_err(rpc("update image"))?;
        Ok(())
    }

    pub(super) async fn remove(&self, reference: &str) -> Result<(), Error> {
        let Some(image) = self.find(reference).await? else { return Ok(()) };
        let whole_image = reference.starts_with("sha256:");
        let name = if whole_image { None } else { Some(Reference::parse(reference)?.to_string()) };
        let digests: Vec<String> = image.digests.clone();
        for record in self.records().await? {
            let Some(target) = &record.target else { continue };
            let at_digest = Reference::parse(&record.name).ok().map(|name| name.at_digest(&target.digest));
            let same = at_digest.is_some_and(|at| digests.contains(&at));
            // A digest names no tag: asking to remove it removes the image.
            let chosen = name.as_ref().is_none_or(|name| record.name == *name || name.contains('@'));
            if same && chosen {
                let delete = DeleteImageRequest { name: record.name, sync: true, target: None };
                optional(self.client.images().delete(self.client.request(delete)).await)
                    .map_err(rpc("delete image"))?;
            }
        }
        self.resolved.lock().clear();
        Ok(())
    }

    async fn records(&self) -> Result<Vec<Image>, Error> {
        let request = self.client.request(ListImagesRequest { filters: Vec::new() });
        let response = self.client.images().list(request).await.map_err(rpc("list images"))?;
        Ok(response.into_inner().images)
    }
}

fn add_names(image: &mut ImageInfo, name: &str, digest: &str) {
    let Ok(name) = Reference::parse(name) else { return };
    let at_digest = name.at_digest(digest);
    if !image.digests.contains(&at_digest) {
        image.digests.push(at_digest);
    }
    if name.tag.is_some() && name.digest.is_none() {
        image.tags.push(name.to_string());
    }
}

async fn load(client: &Client, digest: &str, media_type: &str) -> Result<Resolved, Error> {
    let mut digest = digest.to_owned();
    let top = Descriptor { media_type: media_type.to_owned(), ..Descriptor::default() };
    if top.is_index() {
        let index: Index = content::read_json(client, &digest).await?;
        let chosen = select(&index.manifests).ok_or_else(|| no_platform(&digest))?;
        digest.clone_from(&chosen.digest);
    }
    let manifest: Manifest = content::read_json(client, &digest).await?;
    let configuration: Configuration = content::read_json(client, &manifest.config.digest).await?;
    Ok(resolved(&manifest, configuration))
}

pub(super) fn resolved(manifest: &Manifest, configuration: Configuration) -> Resolved {
    Resolved {
        id: manifest.config.digest.clone(),
        layers: manifest.layers.clone(),
        diff_ids: configuration.rootfs.diff_ids,
        size: manifest.layers.iter().map(|layer| layer.size).sum::<u64>() + manifest.config.size,
        config: configuration.config.into(),
    }
}

pub(super) fn no_platform(name: &str) -> Error {
    let architecture = crate::agent::images::manifest::host_architecture();
    Error::Runtime {
        code: Code::NotFound,
        operation: "choose platform",
        message: format!("no match for platform in manifest {name}: linux/{architecture}: not found"),
    }
}

pub(super) fn descriptor(descriptor: &Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.clone(),
        size: descriptor.size.cast_signed(),
        annotations: HashMap::new(),
    }
}
