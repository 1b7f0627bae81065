//! The image made of orch's own static executable, so that a cluster without a registry has something to
//! run. Describes it as an archived image whose layer is streamed around the executable: nothing is copied to disk here.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use sha2::{Digest as _, Sha256};

use super::archive::{ArchivedImage, Blob, Piece, Source};
use super::manifest::{
    Configuration, Descriptor, Execution, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Platform, RootFs, hex_digest,
    host_architecture,
};

/// What pods write as their image.
pub const NAME: &str = "orch.local/whoami:latest";
pub const ALIAS: &str = "localhost/orch:builtin";
const BLOCK: u64 = 512;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PASSWD: &str = "root:x:0:0:root:/:/orch\nnobody:x:65534:65534:nobody:/:/orch\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// Identifies the executable without reading it: size, inode, device and the time of its last change.
pub fn fingerprint(executable: &File) -> io::Result<String> {
    let metadata = executable.metadata()?;
    let (size, inode, device) = (metadata.len(), metadata.ino(), metadata.dev());
    Ok(format!("{size}-{inode}-{device}-{}.{}", metadata.ctime(), metadata.ctime_nsec()))
}

/// Reads the executable once, for the layer's digest.
pub fn image(executable: &File) -> io::Result<ArchivedImage> {
    let length = executable.metadata()?.len();
    let (before, after) = (before(length)?, after(length)?);
    let mut hash = Sha256::new();
    hash.update(&before);
    let mut reader = executable.try_clone()?;
    io::Seek::rewind(&mut reader)?;
    if io::copy(&mut reader.take(length), &mut hash)? != length {
        return Err(io::Error::other("the executable changed while it was read"));
    }
    hash.update(&after);
    let digest = hex_digest(&hash.finalize());
    let size = before.len() as u64 + length + after.len() as u64;
    let layer = Descriptor { media_type: OCI_LAYER.to_owned(), digest, size, ..Descriptor::default() };
    let source = Source::Around { before, piece: Piece { offset: 0, length }, after };
    describe(Blob { descriptor: layer, source })
}

fn describe(layer: Blob) -> io::Result<ArchivedImage> {
    let platform = Platform { architecture: host_architecture().to_owned(), os: "linux".to_owned(), variant: None };
    let configuration = Configuration {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: None,
        config: Execution {
            entrypoint: vec!["/orch".to_owned()],
            cmd: vec!["whoami".to_owned()],
            env: vec![PATH.to_owned()],
            ..Execution::default()
        },
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![layer.descriptor.digest.clone()] },
    };
    let config = serde_json::to_vec(&configuration)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: OCI_MANIFEST.to_owned(),
        config: Descriptor::of(OCI_CONFIG, &config),
        layers: vec![layer.descriptor.clone()],
    };
    let bytes = serde_json::to_vec(&manifest)?;
    let mut descriptor = Descriptor::of(OCI_MANIFEST, &bytes);
    descriptor.platform = Some(platform);
    Ok(ArchivedImage {
        names: vec![NAME.to_owned(), ALIAS.to_owned()],
        manifest: Blob { descriptor, source: Source::Memory(bytes) },
        config: Blob { descriptor: manifest.config, source: Source::Memory(config) },
        layers: vec![layer],
    })
}

fn header(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    // A fixed time: the same executable gives the same digest.
    header.set_mtime(0);
    header
}

/// Directories, the account files, and the header of `/orch`.
fn before(length: u64) -> io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, mode) in [("bin/", 0o755), ("etc/", 0o755), ("tmp/", 0o1777)] {
        layer.append_data(&mut header(tar::EntryType::Directory, 0, mode), path, io::empty())?;
    }
    for (path, text) in [("etc/passwd", PASSWD), ("etc/group", GROUP)] {
        let mut header = header(tar::EntryType::Regular, text.len() as u64, 0o644);
        layer.append_data(&mut header, path, text.as_bytes())?;
    }
    // `get_ref` and not `into_inner`: the tar does not end here.
    let mut bytes = layer.get_ref().clone();
    let mut orch = header(tar::EntryType::Regular, length, 0o755);
    orch.set_path("orch")?;
    orch.set_cksum();
    bytes.extend_from_slice(orch.as_bytes());
    Ok(bytes)
}

/// The padding behind the executable, `/bin/orch` as a hard link to it, and the end of the tar.
fn after(length: u64) -> io::Result<Vec<u8>> {
    let padding = length.next_multiple_of(BLOCK) - length;
    let mut bytes = vec![0; padding as usize];
    let mut link = header(tar::EntryType::Link, 0, 0o755);
    link.set_path("bin/orch")?;
    link.set_link_name("orch")?;
    link.set_cksum();
    bytes.extend_from_slice(link.as_bytes());
    bytes.resize(bytes.len() + 2 * BLOCK as usize, 0);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn layer_is_a_tar_of_the_executable() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"#!pretend executable").unwrap();
        let image = image(&file).unwrap();
        let Source::Around { before, after, .. } = &image.layers[0].source else { panic!("streamed") };
        let mut content = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut content).unwrap();
        let whole = [before.as_slice(), &content, after].concat();
        assert_eq!(whole.len() as u64, image.layers[0].descriptor.size);
        assert_eq!(super::super::manifest::sha256(&whole), image.layers[0].descriptor.digest);
        let mut archive = tar::Archive::new(whole.as_slice());
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((path, text));
        }
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["bin/", "etc/", "tmp/", "etc/passwd", "etc/group", "orch", "bin/orch"]);
        assert_eq!(found[5].1, "#!pretend executable");
        // The same executable is the same image.
        assert_eq!(super::image(&file).unwrap().manifest.descriptor, image.manifest.descriptor);
    }
}
