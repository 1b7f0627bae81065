//! Keys, store and disk together: what an attacker with the disk finds, and what the server finds after an interruption.

use std::path::Path;

use super::*;
use crate::store::sqlite::SqliteOptions;
use crate::store::{Change, Durability, Expect, ListOptions, Store, Write};

const PLAIN: &str = "correct-horse-battery-staple";

fn open(dir: &Path) -> (Arc<Keyring>, Arc<SqliteStore>, Arc<Encryption>) {
    let keyring = Arc::new(Keyring::load(&dir.join("cred/encryption.json")).unwrap());
    let options = SqliteOptions { seal: keyring.clone(), keep: None, recent_events: 1, ..SqliteOptions::default() };
    let store = SqliteStore::open(&dir.join("state.db"), options).unwrap();
    let encryption = Encryption::new(keyring.clone(), store.clone());
    (keyring, store, encryption)
}

async fn put(store: &SqliteStore, key: &str, expect: Expect, value: &str) -> u64 {
    let value = Bytes::copy_from_slice(value.as_bytes());
    let change = Change::Put(Box::new(move |_| value));
    let write = Write { key: key.into(), expect, change, durability: Durability::Durable };
    store.write(write).await.unwrap().revision
}

/// How often the text lies open in any of the database's files.
fn found(dir: &Path, text: &str) -> usize {
    let files = ["state.db", "state.db-wal"].map(|name| std::fs::read(dir.join(name)).unwrap_or_default());
    files.iter().map(|bytes| bytes.windows(text.len()).filter(|part| *part == text.as_bytes()).count()).sum()
}

async fn ask(encryption: &Encryption, action: Action) -> Status {
    let body = serde_json::to_vec(&Wanted { action }).unwrap();
    let answer = encryption.serve(&Method::POST, body.into()).await.unwrap();
    serde_json::from_value(answer).unwrap()
}

#[tokio::test]
async fn secrets_leave_the_disk_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_, store, encryption) = open(dir.path());
    let first = put(&store, "/registry/core/secrets/ns/a", Expect::Absent, PLAIN).await;
    let second = put(&store, "/registry/core/secrets/ns/a", Expect::Revision(first), &format!("{PLAIN} changed")).await;
    put(&store, "/registry/core/configmaps/ns/a", Expect::Absent, "in the open").await;
    assert!(found(dir.path(), PLAIN) >= 2);

    let status = ask(&encryption, Action::Enable).await;
    assert_eq!((status.enabled, status.settled, status.keys.len(), status.rewritten), (true, true, 1, 2));
    assert_eq!(found(dir.path(), PLAIN), 0, "neither in pages, nor in free ones, nor in the write-ahead log");
    assert!(found(dir.path(), "in the open") >= 1);
    put(&store, "/registry/core/secrets/ns/b", Expect::Absent, PLAIN).await;
    assert_eq!(found(dir.path(), PLAIN), 0);
    assert_eq!(ask(&encryption, Action::Enable).await.rewritten, 0, "again is no change");

    // The past is readable, at its own revisions.
    let page = store.list("/registry/core/secrets/", ListOptions { at: Some(first), ..Default::default() }).await;
    assert_eq!(page.unwrap().items[0].value, PLAIN);
    let mut watch = store.watch("/registry/core/secrets/", first).await.unwrap();
    let event = watch.events.recv().await.unwrap().unwrap();
    assert_eq!(
        (event.item.revision, event.previous.as_ref().map(|item| &item.value[..])),
        (second, Some(PLAIN.as_bytes()))
    );

    let rotated = ask(&encryption, Action::Rotate).await;
    assert_eq!((rotated.keys.len(), rotated.rewritten), (1, 3));
    assert_ne!(rotated.keys, status.keys);
    store.close().await;
    drop((store, encryption));
    let (_, store, encryption) = open(dir.path());
    assert_eq!(store.get("/registry/core/secrets/ns/b").unwrap().value, PLAIN);
    let off = ask(&encryption, Action::Disable).await;
    assert_eq!((off.enabled, off.keys.len(), off.rewritten), (false, 0, 3));
    assert!(found(dir.path(), PLAIN) >= 2);
    let refused = encryption.serve(&Method::POST, Bytes::from_static(br#"{"action":"rotate"}"#)).await.unwrap_err();
    assert_eq!(refused.code(), 400);
    assert_eq!(encryption.serve(&Method::POST, Bytes::from_static(b"{}")).await.unwrap_err().code(), 400);
}

#[tokio::test]
async fn an_interrupted_change_goes_on_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (keyring, store, encryption) = open(dir.path());
    put(&store, "/registry/core/secrets/ns/a", Expect::Absent, PLAIN).await;
    // The key file was written; then the process died.
    keyring.enable().unwrap();
    store.close().await;
    drop((keyring, store, encryption));
    let (keyring, store, encryption) = open(dir.path());
    assert_eq!(store.get("/registry/core/secrets/ns/a").unwrap().value, PLAIN);
    assert!(found(dir.path(), PLAIN) > 0 && !keyring.settled());
    encryption.resume().await.unwrap();
    assert!(found(dir.path(), PLAIN) == 0 && keyring.settled());
}

#[tokio::test]
async fn without_its_key_the_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_, store, encryption) = open(dir.path());
    put(&store, "/registry/core/secrets/ns/a", Expect::Absent, PLAIN).await;
    ask(&encryption, Action::Enable).await;
    store.close().await;
    drop((store, encryption));
    std::fs::remove_file(dir.path().join("cred/encryption.json")).unwrap();
    let keyring = Arc::new(Keyring::load(&dir.path().join("cred/encryption.json")).unwrap());
    let options = SqliteOptions { seal: keyring, ..SqliteOptions::default() };
    let error = SqliteStore::open(&dir.path().join("state.db"), options).err().map(|error| error.to_string());
    let error = error.unwrap_or_default();
    assert!(error.contains("/registry/core/secrets/ns/a cannot be opened: it is sealed with key"), "{error}");
}
