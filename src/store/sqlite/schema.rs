//! The database file: its lock, its schema and how older schemas become this one, and loading the current state.
//!
//! Runs once, when the store is opened. Refuses, with a word that tells a person what to do, a
//! file that is somebody else's, damaged, in use by another process or written by a newer orch.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use crate::store::seal::Seal;
use crate::store::state::{Entry, Gap};
use crate::store::{Error, Result, Revision};

/// "orch" in the file's header.
const APPLICATION_ID: i32 = 0x6f72_6368;

/// The schema's steps; `user_version` counts those taken. Never change one that was released, append.
///
/// `log`: every write of the history that is kept, and the current value of every key.
/// `meta`: `reserved`, no revision above it was ever handed out; `closed_at`, what `reserved` was when
/// the store was last closed in order; `compacted`, the oldest revision whose state can be read.
/// `gap`: revisions that a crash may have taken back, see [`Gap`].
const MIGRATIONS: &[&str] = &["
    CREATE TABLE log (
        revision INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        prev_revision INTEGER NOT NULL,
        create_revision INTEGER NOT NULL,
        deleted INTEGER NOT NULL,
        value BLOB NOT NULL
    ) STRICT;
    CREATE TABLE meta (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        reserved INTEGER NOT NULL,
        closed_at INTEGER NOT NULL,
        compacted INTEGER NOT NULL
    ) STRICT;
    INSERT INTO meta VALUES (1, 0, 0, 0);
    CREATE TABLE gap (after INTEGER PRIMARY KEY, until INTEGER NOT NULL) STRICT;
"];

/// What was found in the file.
pub(super) struct Loaded {
    pub index: BTreeMap<Arc<str>, Entry>,
    pub revision: Revision,
    pub compacted: Revision,
    pub gaps: Vec<Gap>,
    /// Rows of the log that no current value needs.
    pub superseded: u64,
}

/// Taken for the life of the store; the kernel gives it back even after SIGKILL.
pub(super) fn lock(path: &Path) -> Result<File> {
    let path = beside(path, "lock");
    let file = private()
        .open(&path)
        .map_err(|error| Error::Unavailable(format!("cannot open {}: {error}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Unavailable(format!(
            "another process has {} open; stop it or choose another data directory",
            path.with_extension("").display()
        ))),
        Err(TryLockError::Error(error)) => Err(Error::Unavailable(format!("cannot lock {}: {error}", path.display()))),
    }
}

/// Opens the file for writing, makes it when it is missing, and brings its schema up to date.
pub(super) fn open(path: &Path) -> Result<Connection> {
    create(path).map_err(|error| Error::Unavailable(format!("cannot open {}: {error}", path.display())))?;
    prepare(path).map_err(|error| in_file(path, error))
}

/// Makes the file, so that it is never readable by others (it holds Secrets) and its name survives a power cut.
fn create(path: &Path) -> std::io::Result<()> {
    let exists = path.try_exists()?;
    private().open(path)?;
    match path.parent() {
        Some(parent) if !exists && parent != Path::new("") => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn prepare(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(error)?;
    // Only counts for a new file, and only before anything is written to it.
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(error)?;
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(error)?;
    if mode != "wal" {
        return Err(Error::Unavailable(format!("no write-ahead log on this file system (journal mode {mode})")));
    }
    db.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA busy_timeout = 1000; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2000;
         PRAGMA journal_size_limit = 16777216;",
    )
    .map_err(error)?;
    check_owner(&db)?;
    migrate(&mut db, MIGRATIONS)?;
    Ok(db)
}

/// A connection for reading the past beside the writer.
pub(super) fn open_reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(error)?;
    db.execute_batch("PRAGMA busy_timeout = 1000; PRAGMA cache_size = -500;").map_err(error)?;
    Ok(db)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn check_owner(db: &Connection) -> Result<()> {
    let id: i32 = db.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(error)?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(error)?;
    if id != APPLICATION_ID && tables > 0 {
        return Err(Error::Corrupt("it is an SQLite database, but not one of orch's".into()));
    }
    Ok(())
}

fn migrate(db: &mut Connection, steps: &[&str]) -> Result<()> {
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(error)?;
    let taken = usize::try_from(version).unwrap_or(usize::MAX);
    if taken > steps.len() {
        return Err(Error::Corrupt(format!(
            "its schema has version {version} and this orch knows only up to {}; run a newer orch",
            steps.len()
        )));
    }
    for (number, step) in steps.iter().enumerate().skip(taken) {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(error)?;
        tx.execute_batch(step).map_err(error)?;
        tx.pragma_update(None, "user_version", number as i64 + 1).map_err(error)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(error)?;
        tx.commit().map_err(error)?;
    }
    Ok(())
}

/// Reads the current state. After a crash it first closes the door behind what may have been lost: see [`Gap`].
pub(super) fn load(db: &mut Connection, path: &Path, seal: &dyn Seal) -> Result<Loaded> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(error)?;
    read(&tx, seal).and_then(|loaded| tx.commit().map_err(error).map(|()| loaded)).map_err(|error| in_file(path, error))
}

fn read(tx: &Transaction, seal: &dyn Seal) -> Result<Loaded> {
    let meta = tx
        .query_row("SELECT reserved, closed_at, compacted FROM meta", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
        .optional()
        .map_err(error)?;
    let Some((reserved, closed_at, compacted)) = meta else {
        return Err(Error::Corrupt("its meta row is missing".into()));
    };
    let (mut revision, compacted) = (reserved as Revision, compacted as Revision);
    let (index, last, rows) = read_log(tx, compacted, seal)?;
    if last > revision {
        return Err(Error::Corrupt(format!("it holds revision {last}, but only {revision} were handed out")));
    }
    if reserved != closed_at {
        // Not closed in order. Whatever is above the last row may have been acknowledged and lost (relaxed writes).
        revision += 1;
        tx.execute("UPDATE meta SET reserved = ?1, closed_at = ?1", [revision as i64]).map_err(error)?;
        tx.execute("INSERT OR REPLACE INTO gap VALUES (?1, ?2)", [last.max(compacted) as i64, revision as i64])
            .map_err(error)?;
    }
    let mut statement = tx.prepare("SELECT after, until FROM gap ORDER BY after").map_err(error)?;
    let gaps = statement
        .query_map([], |row| Ok(Gap { after: row.get::<_, i64>(0)? as u64, until: row.get::<_, i64>(1)? as u64 }))
        .and_then(Iterator::collect)
        .map_err(error)?;
    let superseded = rows - index.len() as u64;
    Ok(Loaded { index, revision, compacted, gaps, superseded })
}

/// Replays the log, checking that no link of a key's history is missing.
fn read_log(
    tx: &Transaction,
    compacted: Revision,
    seal: &dyn Seal,
) -> Result<(BTreeMap<Arc<str>, Entry>, Revision, u64)> {
    let mut index: BTreeMap<Arc<str>, Entry> = BTreeMap::new();
    let (mut last, mut count) = (0, 0);
    let mut statement = tx
        .prepare("SELECT revision, key, prev_revision, create_revision, deleted, value FROM log ORDER BY revision")
        .map_err(error)?;
    let mut rows = statement.query([]).map_err(error)?;
    while let Some(row) = rows.next().map_err(error)? {
        let read = || -> rusqlite::Result<_> {
            let key = row.get_ref(1)?.as_str()?;
            Ok((key, row.get::<_, i64>(2)? as u64, row.get::<_, bool>(4)?))
        };
        let (key, previous, deleted) = read().map_err(error)?;
        last = row.get::<_, i64>(0).map_err(error)? as u64;
        count += 1;
        let found = index.get(key).map_or(0, |entry| entry.revision);
        if last > compacted && found != previous {
            return Err(Error::Corrupt(format!("revision {last} follows {previous}, which is missing")));
        }
        if deleted {
            index.remove(key);
            continue;
        }
        let stored = row.get_ref(5).and_then(|value| Ok(value.as_blob()?)).map_err(error)?;
        let value = opened(seal, key, stored)?;
        let created = row.get::<_, i64>(3).map_err(error)? as u64;
        let entry = Entry { value, revision: last, created };
        match index.get_mut(key) {
            Some(old) => *old = entry,
            None => drop(index.insert(key.into(), entry)),
        }
    }
    Ok((index, last, count))
}

/// A value as it was before it was sealed.
pub(super) fn opened(seal: &dyn Seal, key: &str, stored: &[u8]) -> Result<Bytes> {
    let open = seal.open(key, stored).map_err(|why| Error::Corrupt(format!("{key} cannot be opened: {why}")))?;
    Ok(open.map_or_else(|| Bytes::copy_from_slice(stored), Bytes::from))
}

/// Says of which file an error speaks.
fn in_file(path: &Path, error: Error) -> Error {
    match error {
        Error::Corrupt(what) => Error::Corrupt(format!("{}: {what}", path.display())),
        Error::Unavailable(what) => Error::Unavailable(format!("{}: {what}", path.display())),
        other => other,
    }
}

/// SQLite's codes in the store's words.
pub(super) fn error(error: rusqlite::Error) -> Error {
    use rusqlite::Error as E;
    match &error {
        E::SqliteFailure(code, _) => match code.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Error::Corrupt(error.to_string()),
            _ => Error::Unavailable(error.to_string()),
        },
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::InvalidColumnType(..)
        | E::Utf8Error(..) => Error::Corrupt(error.to_string()),
        E::SqlInputError { .. } => Error::Corrupt(error.to_string()),
        _ => Error::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_schema_is_brought_forward_once() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, MIGRATIONS).unwrap();
        db.execute("INSERT INTO log VALUES (1, '/a', 0, 1, 0, x'00')", []).unwrap();
        let newer = [MIGRATIONS, &["ALTER TABLE log ADD COLUMN lease INTEGER NOT NULL DEFAULT 7"]].concat();
        for _ in 0..2 {
            migrate(&mut db, &newer).unwrap();
            let found: (String, i64) =
                db.query_row("SELECT key, lease FROM log", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            assert_eq!(found, ("/a".to_owned(), 7));
        }
        assert!(migrate(&mut db, MIGRATIONS).is_err(), "and never back");
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, MIGRATIONS).unwrap();
        let broken = [MIGRATIONS, &["CREATE TABLE half (x); CREATE TABLE log (x)"]].concat();
        assert!(migrate(&mut db, &broken).is_err());
        assert!(db.prepare("SELECT * FROM half").is_err());
        migrate(&mut db, MIGRATIONS).unwrap();
    }
}
