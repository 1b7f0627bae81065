//! Image archives on disk: what `docker save` and `skopeo copy oci-archive:` write. Finds where each
//! file lies in the tar, so that layers are streamed from their place and never unpacked to disk. Knows no runtime.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::manifest::{
    Configuration, Descriptor, Index, Manifest, OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, OCI_MANIFEST, Platform,
    hex_digest, select,
};
use super::reference::Reference;
use crate::agent::runtime::Error;

/// JSON documents larger than this are not image metadata.
const MAX_JSON: u64 = 16 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// One image of an archive, ready to be copied blob by blob.
#[derive(Debug)]
pub struct ArchivedImage {
    /// Normalised names; empty for an image saved without one.
    pub names: Vec<String>,
    pub manifest: Blob,
    pub config: Blob,
    pub layers: Vec<Blob>,
}

/// Content and where it is.
#[derive(Debug, Clone)]
pub struct Blob {
    pub descriptor: Descriptor,
    pub source: Source,
}

#[derive(Debug, Clone)]
pub enum Source {
    Memory(Vec<u8>),
    /// A piece of [`Archive::file`].
    Piece(Piece),
    /// A piece with bytes of our own on either side.
    Around {
        before: Vec<u8>,
        piece: Piece,
        after: Vec<u8>,
    },
}

#[derive(Debug, Clone, Copy)]
pub struct Piece {
    pub offset: u64,
    pub length: u64,
}

/// An opened archive: a plain tar, or the unpacked temporary copy of a compressed one.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    pub file: File,
    pieces: BTreeMap<PathBuf, Piece>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Archive {
    /// Reads the headers only. A gzip-compressed archive is unpacked into `scratch` first (an unnamed file).
    pub fn open(path: &Path, scratch: &Path) -> Result<Self, Error> {
        let fail = |error: io::Error| Error::Archive { path: path.to_owned(), message: error.to_string() };
        let mut file = File::open(path).map_err(fail)?;
        let mut magic = [0; 4];
        let read = file.read(&mut magic).map_err(fail)?;
        file.rewind().map_err(fail)?;
        if magic.starts_with(&GZIP) {
            file = inflate(file, scratch).map_err(fail)?;
        } else if read == 4 && magic == ZSTD {
            return Err(fail(io::Error::other("zstd-compressed archives are not supported; decompress it first")));
        }
        let pieces = index(&file).map_err(fail)?;
        Ok(Self { path: path.to_owned(), file, pieces })
    }

    /// The images inside, for this machine's platform.
    pub fn images(&self) -> Result<Vec<ArchivedImage>, Error> {
        if self.pieces.contains_key(Path::new("index.json")) && self.pieces.contains_key(Path::new("oci-layout")) {
            // docker 25 and later writes both layouts; its index may lack the names that manifest.json has.
            let images = self.oci_images()?;
            if images.iter().any(|image| !image.names.is_empty()) || !self.is_docker() {
                return Ok(images);
            }
        }
        if self.is_docker() {
            return self.docker_images();
        }
        Err(self.error("neither index.json (OCI archive) nor manifest.json (docker archive) inside"))
    }

    fn is_docker(&self) -> bool {
        self.pieces.contains_key(Path::new("manifest.json"))
    }

    fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::Archive { path: self.path.clone(), message: message.to_string() }
    }

    fn oci_images(&self) -> Result<Vec<ArchivedImage>, Error> {
        let index: Index = self.json(self.piece("index.json")?)?;
        let mut images = Vec::new();
        for top in &index.manifests {
            let mut chosen = top.clone();
            if top.is_index() {
                let inner: Index = self.json(self.blob_piece(&top.digest)?)?;
                let Some(found) = select(&inner.manifests) else { continue };
                chosen = found.clone();
            }
            chosen.annotations.clear();
            let piece = self.blob_piece(&chosen.digest)?;
            let manifest: Manifest = self.json(piece)?;
            let blob = |descriptor: &Descriptor| -> Result<Blob, Error> {
                let source = Source::Piece(self.blob_piece(&descriptor.digest)?);
                Ok(Blob { descriptor: descriptor.clone(), source })
            };
            if chosen.media_type.is_empty() {
                chosen.media_type = OCI_MANIFEST.to_owned();
            }
            images.push(ArchivedImage {
                names: annotated_name(&top.annotations)?.into_iter().collect(),
                manifest: Blob { descriptor: chosen, source: Source::Piece(piece) },
                config: blob(&manifest.config)?,
                layers: manifest.layers.iter().map(blob).collect::<Result<_, _>>()?,
            });
        }
        if images.is_empty() {
            return Err(self.error("no image for this machine's platform inside"));
        }
        Ok(images)
    }

    fn docker_images(&self) -> Result<Vec<ArchivedImage>, Error> {
        let entries: Vec<DockerEntry> = self.json(self.piece("manifest.json")?)?;
        entries.iter().map(|entry| self.docker_image(entry)).collect()
    }

    /// docker's archive has no manifest of the kind registries speak: one is made from the configuration and the layers.
    fn docker_image(&self, entry: &DockerEntry) -> Result<ArchivedImage, Error> {
        let config_piece = self.piece(&entry.config)?;
        let config_bytes = self.bytes(config_piece)?;
        let configuration: Configuration = serde_json::from_slice(&config_bytes).map_err(|error| self.error(error))?;
        let diff_ids = &configuration.rootfs.diff_ids;
        if diff_ids.len() != entry.layers.len() {
            return Err(self.error(format!("{} layers but {} diff ids", entry.layers.len(), diff_ids.len())));
        }
        let layers = entry.layers.iter().zip(diff_ids).map(|(layer, diff)| self.docker_layer(layer, diff));
        let layers: Vec<Blob> = layers.collect::<Result<_, _>>()?;
        let config = Descriptor::of(OCI_CONFIG, &config_bytes);
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.to_owned(),
            config: config.clone(),
            layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
        };
        let manifest = serde_json::to_vec(&manifest).map_err(|error| self.error(error))?;
        let mut descriptor = Descriptor::of(OCI_MANIFEST, &manifest);
        descriptor.platform = Some(Platform {
            architecture: configuration.architecture,
            os: configuration.os,
            variant: configuration.variant,
        });
        let tags = entry.repo_tags.iter().flatten();
        Ok(ArchivedImage {
            names: tags.map(|tag| Reference::parse(tag).map(|name| name.to_string())).collect::<Result<_, _>>()?,
            manifest: Blob { descriptor, source: Source::Memory(manifest) },
            config: Blob { descriptor: config, source: Source::Memory(config_bytes) },
            layers,
        })
    }

    fn docker_layer(&self, name: &str, diff_id: &str) -> Result<Blob, Error> {
        let piece = self.piece(name)?;
        let mut magic = [0; 2];
        let compressed = piece.length > 2 && {
            let mut reader = self.reader(piece)?;
            reader.read_exact(&mut magic).map_err(|error| self.error(error))?;
            magic == GZIP
        };
        // The digest of a plain layer is its diff id; only a compressed one has to be read for it.
        let (media_type, digest) =
            if compressed { (OCI_LAYER_GZIP, self.digest(piece)?) } else { (OCI_LAYER, diff_id.to_owned()) };
        let descriptor =
            Descriptor { media_type: media_type.to_owned(), digest, size: piece.length, ..Descriptor::default() };
        Ok(Blob { descriptor, source: Source::Piece(piece) })
    }

    fn piece(&self, name: &str) -> Result<Piece, Error> {
        let found = self.pieces.get(&clean(Path::new(name))).copied();
        found.ok_or_else(|| self.error(format!("{name} is missing in the archive")))
    }

    fn blob_piece(&self, digest: &str) -> Result<Piece, Error> {
        self.piece(&format!("blobs/{}", digest.replace(':', "/")))
    }

    fn reader(&self, piece: Piece) -> Result<impl Read, Error> {
        let mut file = self.file.try_clone().map_err(|error| self.error(error))?;
        file.seek(SeekFrom::Start(piece.offset)).map_err(|error| self.error(error))?;
        Ok(BufReader::new(file).take(piece.length))
    }

    fn bytes(&self, piece: Piece) -> Result<Vec<u8>, Error> {
        if piece.length > MAX_JSON {
            return Err(self.error(format!("metadata of {} bytes", piece.length)));
        }
        let mut bytes = Vec::new();
        self.reader(piece)?.read_to_end(&mut bytes).map_err(|error| self.error(error))?;
        Ok(bytes)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, piece: Piece) -> Result<T, Error> {
        serde_json::from_slice(&self.bytes(piece)?).map_err(|error| self.error(error))
    }

    fn digest(&self, piece: Piece) -> Result<String, Error> {
        let mut hash = Sha256::new();
        io::copy(&mut self.reader(piece)?, &mut hash).map_err(|error| self.error(error))?;
        Ok(hex_digest(&hash.finalize()))
    }
}

/// containerd and buildkit write the whole name; others write only the tag, which names nothing.
fn annotated_name(annotations: &BTreeMap<String, String>) -> Result<Option<String>, Error> {
    let whole = annotations.get("io.containerd.image.name");
    let name = whole.or_else(|| annotations.get("org.opencontainers.image.ref.name").filter(|name| name.contains('/')));
    name.map(|name| Reference::parse(name).map(|name| name.to_string())).transpose()
}

fn inflate(compressed: File, scratch: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    std::fs::create_dir_all(scratch)?;
    let mut plain: File =
        rustix::fs::open(scratch, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?.into();
    io::copy(&mut flate2::read::MultiGzDecoder::new(BufReader::new(compressed)), &mut plain)?;
    plain.rewind()?;
    Ok(plain)
}

/// Where each regular file's data lies; links (older `docker save` shares layers so) point at their target.
fn index(file: &File) -> io::Result<BTreeMap<PathBuf, Piece>> {
    let mut pieces = BTreeMap::new();
    let mut links = Vec::new();
    let mut archive = tar::Archive::new(BufReader::new(file.try_clone()?));
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let path = clean(&entry.path()?);
        let kind = entry.header().entry_type();
        if kind.is_file() {
            pieces.insert(path, Piece { offset: entry.raw_file_position(), length: entry.size() });
        } else if let (true, Some(target)) = (kind.is_symlink() || kind.is_hard_link(), entry.link_name()?) {
            let base = if kind.is_symlink() { path.parent().unwrap_or(Path::new("")) } else { Path::new("") };
            links.push((path.clone(), clean(&base.join(target))));
        }
    }
    for (path, target) in links {
        if let Some(piece) = pieces.get(&target).copied() {
            pieces.insert(path, piece);
        }
    }
    Ok(pieces)
}

/// `./a/../b` is `b`: names are looked up, never opened, so leaving the root is harmless.
fn clean(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut clean, component| {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
        clean
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(dir: &Path, files: &[(&str, &[u8])]) -> Archive {
        let path = dir.join("image.tar");
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.finish().unwrap();
        Archive::open(&path, dir).unwrap()
    }

    #[test]
    fn docker_archive_gets_a_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let layer = b"pretend tar";
        let diff = super::super::manifest::sha256(layer);
        let config =
            format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff}"]}}}}"#);
        let manifest = br#"[{"Config":"c.json","RepoTags":["busybox:1"],"Layers":["l/layer.tar"]}]"#;
        let archive = archive(
            dir.path(),
            &[("l/layer.tar", layer), ("./c.json", config.as_bytes()), ("manifest.json", manifest)],
        );
        let images = archive.images().unwrap();
        assert_eq!(images[0].names, ["docker.io/library/busybox:1"]);
        assert_eq!(images[0].layers[0].descriptor.digest, diff);
        assert_eq!(images[0].layers[0].descriptor.media_type, OCI_LAYER);
    }

    #[test]
    fn refuses_other_tars_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let message = archive(dir.path(), &[("hello", b"x")]).images().unwrap_err().to_string();
        assert!(
            message.ends_with("neither index.json (OCI archive) nor manifest.json (docker archive) inside"),
            "{message}"
        );
        let broken = archive(dir.path(), &[("manifest.json", br#"[{"Config":"gone","Layers":[]}]"#)]);
        assert!(broken.images().unwrap_err().to_string().ends_with("gone is missing in the archive"));
    }
}
