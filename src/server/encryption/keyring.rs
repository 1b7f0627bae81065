//! The keys of the cluster's Secrets, and the file that holds them.
//!
//! A value is sealed with AES-256-GCM under a key of its own, derived from the newest key and 32 random bytes by
//! HKDF (as upstream's KMS v2 does), so that no number of writes wears a key out. The store's key is
//! authenticated with it: a Secret moved to another name does not open. Knows no store and no HTTP.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use parking_lot::RwLock;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use serde::{Deserialize, Serialize};

use crate::keys::{self, KeyError};
use crate::store::seal::{Seal, SealError};

/// What is sealed, by the beginning of its key.
const SECRETS: &str = "/registry/core/secrets/";
/// What a sealed value begins with, as upstream's do; a JSON object never does. The key's name follows, and a colon.
const MARK: &[u8] = b"k8s:enc:aesgcm-hkdf:v1:";
/// Random bytes that make the value's own key.
const SEED: usize = 32;

#[derive(Clone, Serialize, Deserialize)]
struct Key {
    name: String,
    created: Timestamp,
    /// 32 bytes in base64.
    secret: String,
}

/// The file: `<data-dir>/server/cred/encryption.json`, readable by root only.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// New writes are sealed.
    enabled: bool,
    /// Everything on the disk is as `enabled` and the first key say.
    settled: bool,
    /// The first seals, all open.
    keys: Vec<Key>,
}

/// A key as it is used.
struct Loaded {
    name: String,
    prk: Prk,
}

struct State {
    document: Document,
    loaded: Vec<Loaded>,
}

/// What a person may see of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    pub name: String,
    pub created: Timestamp,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error(transparent)]
    File(#[from] KeyError),
    #[error("{path}: {why}; restore it from a backup, for without its keys the Secrets cannot be read", path = .path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("the kernel gives no random bytes: {0}")]
    Random(getrandom::Error),
}

pub struct Keyring {
    path: PathBuf,
    state: RwLock<State>,
}

impl Keyring {
    /// Reads the file; where there is none, Secrets lie open.
    pub fn load(path: &Path) -> Result<Self, KeyringError> {
        let damaged = |why: String| KeyringError::Damaged { path: path.to_owned(), why };
        let document = match keys::read(path)? {
            Some(text) => serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?,
            None => Document { settled: true, ..Document::default() },
        };
        let loaded = load(&document).map_err(damaged)?;
        Ok(Self { path: path.to_owned(), state: RwLock::new(State { document, loaded }) })
    }

    pub fn enabled(&self) -> bool {
        self.state.read().document.enabled
    }

    /// Whether the disk is as the newest key says.
    pub fn settled(&self) -> bool {
        self.state.read().document.settled
    }

    /// The keys, the one that seals first.
    pub fn keys(&self) -> Vec<KeyInfo> {
        let state = self.state.read();
        state.document.keys.iter().map(|key| KeyInfo { name: key.name.clone(), created: key.created }).collect()
    }

    /// From now on Secrets are sealed, with a key made now where there is none.
    pub fn enable(&self) -> Result<(), KeyringError> {
        self.change(|document| {
            document.enabled = true;
            if document.keys.is_empty() {
                document.keys.push(new_key()?);
            }
            Ok(())
        })
    }

    /// From now on Secrets lie open; the keys stay for those that are still sealed.
    pub fn disable(&self) -> Result<(), KeyringError> {
        self.change(|document| {
            document.enabled = false;
            Ok(())
        })
    }

    /// From now on a new key seals.
    pub fn add_key(&self) -> Result<(), KeyringError> {
        self.change(|document| {
            document.keys.insert(0, new_key()?);
            Ok(())
        })
    }

    /// The disk is as the newest key says: the others go.
    pub fn settle(&self) -> Result<(), KeyringError> {
        let mut state = self.state.write();
        let mut document = state.document.clone();
        document.keys.truncate(usize::from(document.enabled));
        document.settled = true;
        self.store(&mut state, document)
    }

    fn change(&self, change: impl FnOnce(&mut Document) -> Result<(), KeyringError>) -> Result<(), KeyringError> {
        let mut state = self.state.write();
        let mut document = state.document.clone();
        document.settled = false;
        change(&mut document)?;
        self.store(&mut state, document)
    }

    /// The file first: nothing is ever sealed with a key that a power cut could take.
    fn store(&self, state: &mut State, document: Document) -> Result<(), KeyringError> {
        let damaged = |why: String| KeyringError::Damaged { path: self.path.clone(), why };
        let text = serde_json::to_string_pretty(&document).map_err(|error| damaged(error.to_string()))?;
        let loaded = load(&document).map_err(damaged)?;
        keys::write_private(&self.path, &text)?;
        *state = State { document, loaded };
        Ok(())
    }
}

impl Seal for Keyring {
    fn seal(&self, key: &str, value: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let state = self.state.read();
        let Some(newest) = state.loaded.first().filter(|_| state.document.enabled && key.starts_with(SECRETS)) else {
            return Ok(None);
        };
        let mut seed = [0; SEED];
        getrandom::fill(&mut seed).map_err(|error| error.to_string())?;
        let head = MARK.len() + newest.name.len() + 1 + SEED;
        let mut sealed = Vec::with_capacity(head + value.len() + MAX_TAG_LEN);
        sealed.extend_from_slice(MARK);
        sealed.extend_from_slice(newest.name.as_bytes());
        sealed.push(b':');
        sealed.extend_from_slice(&seed);
        sealed.extend_from_slice(value);
        let cipher = own_key(&newest.prk, &seed).ok_or("no key could be derived")?;
        let tag = cipher.seal_in_place_separate_tag(nonce(), Aad::from(key), &mut sealed[head..]);
        sealed.extend_from_slice(tag.map_err(|_| "the value could not be sealed")?.as_ref());
        Ok(Some(sealed))
    }

    fn open(&self, key: &str, stored: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let Some((name, rest)) = parse(stored) else { return Ok(None) };
        let state = self.state.read();
        let missing = || format!("it is sealed with key {name:?}, which {} does not hold", self.path.display());
        let loaded = state.loaded.iter().find(|loaded| loaded.name == name).ok_or_else(missing)?;
        let (seed, sealed) = rest.split_at_checked(SEED).ok_or("it is too short")?;
        let cipher = own_key(&loaded.prk, seed).ok_or("no key could be derived")?;
        let mut value = sealed.to_vec();
        let open = cipher.open_in_place(nonce(), Aad::from(key), &mut value);
        let length = open.map_err(|_| "it was changed, or belongs to another name")?.len();
        value.truncate(length);
        Ok(Some(value))
    }

    fn is_current(&self, key: &str, stored: &[u8]) -> bool {
        let state = self.state.read();
        let wanted = state.loaded.first().filter(|_| state.document.enabled && key.starts_with(SECRETS));
        parse(stored).map(|(name, _)| name) == wanted.map(|loaded| loaded.name.as_str())
    }
}

/// The name of the key and what follows it, where the value is sealed.
fn parse(stored: &[u8]) -> Option<(&str, &[u8])> {
    let rest = stored.strip_prefix(MARK)?;
    let colon = rest.iter().position(|byte| *byte == b':')?;
    Some((std::str::from_utf8(&rest[..colon]).ok()?, &rest[colon + 1..]))
}

fn own_key(prk: &Prk, seed: &[u8]) -> Option<LessSafeKey> {
    let info = [seed];
    let material = prk.expand(&info, &AES_256_GCM).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(material)))
}

/// The key is used once, so its nonce need not differ from another's.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn load(document: &Document) -> Result<Vec<Loaded>, String> {
    let keys = document.keys.iter().map(|key| {
        let secret = BASE64.decode(&key.secret).map_err(|error| format!("key {:?}: {error}", key.name))?;
        if secret.len() != 32 {
            return Err(format!("key {:?} has {} bytes instead of 32", key.name, secret.len()));
        }
        Ok(Loaded { name: key.name.clone(), prk: Salt::new(HKDF_SHA256, MARK).extract(&secret) })
    });
    let loaded: Vec<_> = keys.collect::<Result<_, _>>()?;
    if document.enabled && loaded.is_empty() {
        return Err("it is enabled and holds no key".to_owned());
    }
    Ok(loaded)
}

fn new_key() -> Result<Key, KeyringError> {
    let mut secret = [0; 32];
    let mut id = [0; 4];
    getrandom::fill(&mut secret).and_then(|()| getrandom::fill(&mut id)).map_err(KeyringError::Random)?;
    let name = format!("key-{:08x}", u32::from_be_bytes(id));
    Ok(Key { name, created: Timestamp::now(), secret: BASE64.encode(secret) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "/registry/core/secrets/default/a";

    fn keyring() -> (tempfile::TempDir, Keyring) {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::load(&dir.path().join("cred/encryption.json")).unwrap();
        (dir, keyring)
    }

    #[test]
    fn secrets_and_only_they_are_sealed_when_enabled() {
        let (_dir, keyring) = keyring();
        assert_eq!(keyring.seal(KEY, b"{}"), Ok(None));
        assert!(keyring.is_current(KEY, b"{}"));
        keyring.enable().unwrap();
        assert!(!keyring.settled() && !keyring.is_current(KEY, b"{}"));
        let sealed = keyring.seal(KEY, b"{\"data\":1}").unwrap().unwrap();
        assert!(sealed.starts_with(MARK) && !sealed.windows(4).any(|part| part == b"data"));
        assert_ne!(keyring.seal(KEY, b"{\"data\":1}").unwrap().unwrap(), sealed, "never twice the same");
        assert_eq!(keyring.open(KEY, &sealed).unwrap().unwrap(), b"{\"data\":1}");
        assert!(keyring.is_current(KEY, &sealed));
        assert_eq!(keyring.seal("/registry/core/configmaps/default/a", b"{}"), Ok(None));
        assert!(keyring.is_current("/registry/core/configmaps/default/a", b"{}"));
    }

    #[test]
    fn a_changed_or_moved_value_does_not_open() {
        let (_dir, keyring) = keyring();
        keyring.enable().unwrap();
        let sealed = keyring.seal(KEY, b"secret").unwrap().unwrap();
        assert!(keyring.open("/registry/core/secrets/default/b", &sealed).is_err());
        for at in MARK.len()..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_ne!(keyring.open(KEY, &changed).ok().flatten().as_deref(), Some(&b"secret"[..]), "byte {at}");
        }
        for length in MARK.len() + 13..sealed.len() {
            assert!(keyring.open(KEY, &sealed[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn rotation_opens_the_old_until_settled_and_survives_a_restart() {
        let (dir, keyring) = keyring();
        keyring.enable().unwrap();
        let old = keyring.seal(KEY, b"secret").unwrap().unwrap();
        keyring.add_key().unwrap();
        let keyring = Keyring::load(&dir.path().join("cred/encryption.json")).unwrap();
        assert_eq!((keyring.keys().len(), keyring.enabled(), keyring.settled()), (2, true, false));
        assert!(!keyring.is_current(KEY, &old));
        assert_eq!(keyring.open(KEY, &old).unwrap().unwrap(), b"secret");
        let new = keyring.seal(KEY, b"secret").unwrap().unwrap();
        keyring.settle().unwrap();
        assert_eq!((keyring.keys().len(), keyring.settled()), (1, true));
        assert_eq!(keyring.open(KEY, &new).unwrap().unwrap(), b"secret");
        let error = keyring.open(KEY, &old).unwrap_err();
        assert!(error.contains("does not hold"), "{error}");
        keyring.disable().unwrap();
        assert_eq!(keyring.open(KEY, &new).unwrap().unwrap(), b"secret");
        assert_eq!(keyring.seal(KEY, b"open"), Ok(None));
        keyring.settle().unwrap();
        assert!(keyring.keys().is_empty());
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("encryption.json");
        for text in ["", "{", r#"{"enabled": true, "settled": true, "keys": []}"#] {
            std::fs::write(&path, text).unwrap();
            let error = Keyring::load(&path).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("restore it from a backup"), "{text:?}: {error}");
        }
    }
}
