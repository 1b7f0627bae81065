//! From a registry into containerd: resolve, choose the platform, copy what is missing, unpack, name. The
//! registry's side is [`crate::agent::images::registry`].

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::Images;
use super::content::{self, Labels, Lease};
use super::images::{no_platform, resolved};
use super::import::manifest_labels;
use super::unpack::unpack;
use crate::agent::images::manifest::{Configuration, Descriptor, Index, Manifest, select};
use crate::agent::images::reference::Reference;
use crate::agent::images::registry::{Fetched, Registry};
use crate::agent::runtime::{Code, Credentials, Error, ImageInfo};

/// Layers fetched at once, as containerd's CRI does.
const CONCURRENT_DOWNLOADS: usize = 3;

pub(super) async fn pull(
    images: &Images,
    reference: &str,
    credentials: Option<&Credentials>,
) -> Result<ImageInfo, Error> {
    let name = Reference::parse(reference)?;
    let registry = Registry::new(&name, credentials, &images.insecure);
    let top = registry.resolve().await?;
    fetch(images, &registry, &name, top).await.map_err(|error| match error {
        told @ (Error::Pull { .. } | Error::Unavailable { .. }) => told,
        other => registry.failed(other.code(), &other.to_string()),
    })?;
    images.store.find(&name.to_string()).await?.ok_or_else(|| Error::ImageNotFound { reference: name.to_string() })
}

async fn fetch(images: &Images, registry: &Registry, name: &Reference, top: Fetched) -> Result<(), Error> {
    let client = &images.client;
    let lease = Lease::new(client).await?;
    let target = top.descriptor.clone();
    let (index, manifest) = if target.is_index() {
        let entries: Index = parse(&top)?;
        let chosen = select(&entries.manifests).ok_or_else(|| no_platform(&name.to_string()))?;
        (Some(top), registry.manifest_at(&chosen.digest).await?)
    } else {
        (None, top)
    };
    let parsed: Manifest = parse(&manifest)?;
    let source = Labels::from([(format!("containerd.io/distribution.source.{}", name.domain), name.path.clone())]);
    let mut downloads = Vec::new();
    for blob in parsed.layers.iter().chain([&parsed.config]) {
        let download = content::write(client, &images.locks, &lease, blob, source.clone(), registry.blob(blob));
        downloads.push(download.boxed());
    }
    stream::iter(downloads).buffer_unordered(CONCURRENT_DOWNLOADS).try_collect::<()>().await?;
    let mut labels = manifest_labels(&parsed.config, &parsed.layers);
    labels.extend(source.clone());
    store(images, &lease, &manifest, labels).await?;
    if let Some(index) = &index {
        let mut labels = source;
        labels.insert("containerd.io/gc.ref.content.m.0".to_owned(), manifest.descriptor.digest.clone());
        store(images, &lease, index, labels).await?;
    }
    let configuration: Configuration = content::read_json(client, &parsed.config.digest).await?;
    unpack(client, &lease, &resolved(&parsed, configuration)).await?;
    images.store.tag(&name.to_string(), &target, false).await
}

fn parse<T: serde::de::DeserializeOwned>(fetched: &Fetched) -> Result<T, Error> {
    serde_json::from_slice(&fetched.bytes).map_err(|error| Error::Runtime {
        code: Code::InvalidArgument,
        operation: "parse manifest",
        message: format!("{}: {error}", fetched.descriptor.digest),
    })
}

async fn store(images: &Images, lease: &Lease, fetched: &Fetched, labels: Labels) -> Result<(), Error> {
    let descriptor: &Descriptor = &fetched.descriptor;
    let open = async { Ok(stream::iter([Ok::<Bytes, Error>(fetched.bytes.clone())])) };
    content::write(&images.client, &images.locks, lease, descriptor, labels, open).await
}
