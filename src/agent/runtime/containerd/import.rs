//! From an image archive on disk to a usable image. The archive's format is read by
//! [`crate::agent::images::archive`]; this file copies the blobs into containerd and unpacks them.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};

use super::Images;
use super::content::{self, Labels, Lease};
use super::images::resolved;
use super::unpack::unpack;
use crate::agent::images::archive::{Archive, ArchivedImage, Blob, Piece, Source};
use crate::agent::images::manifest::{Configuration, Descriptor, Manifest};
use crate::agent::runtime::{Error, Progress};

/// The size of one message to containerd.
const CHUNK: u64 = 1 << 20;

pub(super) struct Meter {
    done: AtomicU64,
    total: u64,
    progress: Progress,
}

impl Meter {
    pub(super) fn new(total: u64, progress: Progress) -> Arc<Self> {
        Arc::new(Self { done: AtomicU64::new(0), total, progress })
    }
}

/// A name, and the digest of the manifest that it means.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Imported {
    pub name: String,
    pub digest: String,
}

/// Returns the names. An archive in which no image has a name is refused: nothing could refer to it.
pub(super) async fn import(images: &Images, path: &Path, progress: Progress) -> Result<Vec<Imported>, Error> {
    let (source, scratch) = (path.to_owned(), images.scratch.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let archive = Archive::open(&source, &scratch)?;
        archive.images().map(|images| (archive, images))
    });
    let failed = |message: String| Error::Archive { path: path.to_owned(), message };
    let (archive, found) = opened.await.map_err(|error| failed(error.to_string()))??;
    if found.iter().all(|image| image.names.is_empty()) {
        return Err(failed("the image inside has no name; save it with one (docker save NAME:TAG)".to_owned()));
    }
    let total = found.iter().flat_map(|image| &image.layers).map(|layer| layer.descriptor.size).sum();
    let meter = Meter::new(total, progress);
    let file = Arc::new(archive.file);
    let mut names = Vec::new();
    for image in found.iter().filter(|image| !image.names.is_empty()) {
        store(images, image, &file, &meter).await.map_err(|error| failed(error.to_string()))?;
        let digest = &image.manifest.descriptor.digest;
        names.extend(image.names.iter().map(|name| Imported { name: name.clone(), digest: digest.clone() }));
    }
    (meter.progress)(total, total);
    Ok(names)
}

/// Copies one image out of `file` (where its pieces are), unpacks and names it.
pub(super) async fn store(
    images: &Images,
    image: &ArchivedImage,
    file: &Arc<File>,
    meter: &Arc<Meter>,
) -> Result<(), Error> {
    let client = &images.client;
    let lease = Lease::new(client).await?;
    for layer in &image.layers {
        write(images, &lease, layer, Labels::new(), file, Some(meter)).await?;
    }
    write(images, &lease, &image.config, Labels::new(), file, None).await?;
    let config: Configuration = content::read_json(client, &image.config.descriptor.digest).await?;
    let layers: Vec<Descriptor> = image.layers.iter().map(|layer| layer.descriptor.clone()).collect();
    let labels = manifest_labels(&image.config.descriptor, &layers);
    write(images, &lease, &image.manifest, labels, file, None).await?;
    let manifest: Manifest = content::read_json(client, &image.manifest.descriptor.digest).await?;
    unpack(client, &lease, &resolved(&manifest, config)).await?;
    for name in &image.names {
        images.store.tag(name, &image.manifest.descriptor, true).await?;
    }
    Ok(())
}

/// What a manifest keeps alive.
pub(super) fn manifest_labels(config: &Descriptor, layers: &[Descriptor]) -> Labels {
    let layers = layers.iter().enumerate();
    let mut labels: Labels = layers
        .map(|(index, layer)| (format!("containerd.io/gc.ref.content.l.{index}"), layer.digest.clone()))
        .collect();
    labels.insert("containerd.io/gc.ref.content.config".to_owned(), config.digest.clone());
    labels
}

async fn write(
    images: &Images,
    lease: &Lease,
    blob: &Blob,
    labels: HashMap<String, String>,
    file: &Arc<File>,
    meter: Option<&Arc<Meter>>,
) -> Result<(), Error> {
    let open = async { Ok(data(&blob.source, file, meter.cloned())) };
    content::write(&images.client, &images.locks, lease, &blob.descriptor, labels, open).await
}

fn data(source: &Source, file: &Arc<File>, meter: Option<Arc<Meter>>) -> BoxStream<'static, Result<Bytes, Error>> {
    let memory = |bytes: &Vec<u8>| stream::iter([Ok(Bytes::from(bytes.clone()))]);
    match source {
        Source::Memory(bytes) => memory(bytes).boxed(),
        Source::Piece(piece) => read(*piece, file, meter).boxed(),
        Source::Around { before, piece, after } => {
            memory(before).chain(read(*piece, file, meter)).chain(memory(after)).boxed()
        }
    }
}

fn read(
    piece: Piece,
    file: &Arc<File>,
    meter: Option<Arc<Meter>>,
) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
    let file = file.clone();
    let chunks = (0..piece.length).step_by(CHUNK as usize);
    stream::iter(chunks).then(move |start| {
        let (file, meter) = (file.clone(), meter.clone());
        async move {
            let length = CHUNK.min(piece.length - start);
            let read = tokio::task::spawn_blocking(move || {
                let mut chunk = vec![0; length as usize];
                file.read_exact_at(&mut chunk, piece.offset + start).map(|()| Bytes::from(chunk))
            });
            let chunk = read.await.map_err(std::io::Error::other).and_then(|read| read);
            if let Some(meter) = meter {
                let done = meter.done.fetch_add(length, Ordering::Relaxed) + length;
                (meter.progress)(done, meter.total);
            }
            chunk.map_err(|error| Error::io("archive", error))
        }
    })
}
