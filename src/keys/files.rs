//! Pairs and other private texts on disk.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{KeyError, Pair};

/// Where a pair lies on disk.
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Files {
    pub fn new(dir: &Path, name: &str) -> Self {
        Self { cert: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) }
    }

    pub fn read(&self) -> Result<Option<Pair>, KeyError> {
        Ok(match (read(&self.cert)?, read(&self.key)?) {
            (Some(cert_pem), Some(key_pem)) => Some(Pair { cert_pem, key_pem }),
            _ => None,
        })
    }

    /// The key first: a certificate without its key is never on disk.
    pub fn write(&self, pair: &Pair) -> Result<(), KeyError> {
        write_private(&self.key, &pair.key_pem)?;
        write_private(&self.cert, &pair.cert_pem)
    }
}

/// The text of a file; `None` where there is none.
pub fn read(path: &Path) -> Result<Option<String>, KeyError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeyError::File { verb: "read", path: path.to_owned(), source }),
    }
}

/// Replaces a file that only root may read, atomically and durably.
pub fn write_private(path: &Path, text: &str) -> Result<(), KeyError> {
    use std::os::unix::fs::OpenOptionsExt;
    let fail = |source| KeyError::File { verb: "write", path: path.to_owned(), source };
    let parent = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parent).map_err(fail)?;
    let draft = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    std::fs::rename(&draft, path).map_err(fail)?;
    // The new name must survive a power cut too.
    std::fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(fail)
}
