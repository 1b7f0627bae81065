//! Disks that fill up, files that are damaged, locked or read-only, and power cuts: clear errors, nothing lost.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use rusqlite::Connection;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use super::*;
use crate::store::contract::{beat, create, delete, next, put, relaxed};
use crate::store::{Expect, Store};

fn database() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    (dir, path)
}

/// Relaxed writes stay in memory and history stays on disk unless a test wants otherwise.
fn options() -> SqliteOptions {
    let never = Duration::from_secs(3600);
    SqliteOptions { keep: None, relaxed_flush: never, heartbeat_flush: never, ..Default::default() }
}

fn open(path: &Path) -> Arc<SqliteStore> {
    SqliteStore::open(path, options()).unwrap()
}

fn refusal(path: &Path) -> String {
    match SqliteStore::open(path, options()) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error.to_string(),
    }
}

/// Waits for what the writer's own timers do to the file, of which nothing tells.
#[expect(clippy::disallowed_methods, reason = "between two looks at a file, with a deadline")]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn rows(path: &Path) -> i64 {
    Connection::open(path).unwrap().query_row("SELECT count(*) FROM log", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let (_dir, path) = database();
    let store = open(&path);
    let error = refusal(&path);
    assert!(error.contains("another process has") && error.contains("state.db open"), "{error}");
    store.close().await;
    open(&path);
}

#[tokio::test]
async fn a_failed_commit_changes_nothing_and_the_next_one_works() {
    let (_dir, path) = database();
    let store = open(&path);
    let first = create(&*store, "/a", "1").await;
    let mut watch = store.watch("/", first.revision).await.unwrap();
    let seen = store.write(relaxed(put("/lease", Expect::Absent, "1"))).await.unwrap();
    // Another writer inside the database is as good as a disk that does not take the write.
    let blocker = Connection::open(&path).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.write(put("/a", Expect::Revision(first.revision), "2")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert_eq!((store.get("/a"), store.revision()), (Some(first.clone()), seen.revision));
    blocker.execute_batch("ROLLBACK").unwrap();
    let second = store.write(put("/a", Expect::Revision(first.revision), "2")).await.unwrap();
    assert_eq!(next(&mut watch).await.unwrap().item, seen);
    assert_eq!(next(&mut watch).await.unwrap().item, second);
    drop(store);
    let store = open(&path);
    assert_eq!((store.get("/a"), store.get("/lease")), (Some(second), Some(seen)));
}

#[tokio::test]
async fn damaged_and_foreign_files_are_refused() {
    let (dir, path) = database();
    let store = open(&path);
    for number in 0..500 {
        create(&*store, &format!("/{number}"), &"x".repeat(500)).await;
    }
    store.close().await;
    let good = fs::read(&path).unwrap();

    let damage = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let error = refusal(&path);
        assert!(error.contains("damaged") && error.contains("state.db"), "{error}");
    };
    damage(&|bytes| bytes[..16].fill(b'!'));
    damage(&|bytes| bytes.truncate(bytes.len() / 2));
    damage(&|bytes| bytes[40_960..45_056].fill(0xff));

    fs::write(&path, &good).unwrap();
    Connection::open(&path).unwrap().execute("DELETE FROM log WHERE revision = 7", []).unwrap();
    let store = open(&path);
    store.write(put("/8", Expect::Revision(9), "2")).await.unwrap();
    store.close().await;
    Connection::open(&path).unwrap().execute("DELETE FROM log WHERE revision = 9", []).unwrap();
    assert!(refusal(&path).contains("follows 9, which is missing"));

    let foreign = dir.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(refusal(&foreign).contains("not one of orch's"));
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let (_dir, path) = database();
    let store = open(&path);
    create(&*store, "/a", "1").await;
    store.close().await;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(refusal(&path).contains("run a newer orch"));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1).unwrap();
    assert!(open(&path).get("/a").is_some());
}

/// What a power cut leaves: the files as they are now, without what only memory knows.
fn power_cut(path: &Path) -> (tempfile::TempDir, PathBuf) {
    let (dir, copy) = database();
    for suffix in ["", "-wal"] {
        let name = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        fs::copy(name(path), name(&copy)).unwrap();
    }
    (dir, copy)
}

#[tokio::test]
async fn revisions_lost_in_a_power_cut_are_not_given_out_again() {
    let (_dir, path) = database();
    let store = open(&path);
    let durable = create(&*store, "/pod", "1").await;
    let lease = store.write(relaxed(put("/lease", Expect::Absent, "1"))).await.unwrap();
    let (_dir2, copy) = power_cut(&path);
    let after = open(&copy);
    assert_eq!((after.get("/pod"), after.get("/lease")), (Some(durable.clone()), None));
    assert!(after.revision() > lease.revision);
    // Who saw the lost lease has to list again; who did not goes on.
    assert!(matches!(after.watch("/", lease.revision).await, Err(Error::Compacted { .. })));
    let again = ListOptions { at: Some(lease.revision), ..Default::default() };
    assert!(matches!(after.list("/", again).await, Err(Error::Compacted { .. })));
    let mut watch = after.watch("/", durable.revision).await.unwrap();
    let next_lease = after.write(relaxed(put("/lease", Expect::Absent, "2"))).await.unwrap();
    assert!(next_lease.revision > lease.revision);
    assert_eq!(next(&mut watch).await.unwrap().item, next_lease);

    // Twice in a row, and remembered after an orderly restart.
    let lost_again = after.write(relaxed(put("/event", Expect::Absent, "1"))).await.unwrap();
    let (_dir3, copy) = power_cut(&copy);
    let twice = open(&copy);
    assert!(twice.revision() > lost_again.revision);
    twice.close().await;
    drop(twice);
    let later = open(&copy);
    for lost in [&lease, &lost_again] {
        assert!(matches!(later.watch("/", lost.revision).await, Err(Error::Compacted { .. })));
    }
    assert!(later.watch("/", durable.revision).await.is_ok());
}

#[tokio::test]
async fn relaxed_writes_reach_the_disk_by_themselves() {
    let (_dir, path) = database();
    let store =
        SqliteStore::open(&path, SqliteOptions { relaxed_flush: Duration::from_millis(30), ..options() }).unwrap();
    create(&*store, "/a", "1").await;
    store.write(relaxed(put("/lease", Expect::Absent, "1"))).await.unwrap();
    until("the relaxed write is in the log", || rows(&path) == 2);
}

#[tokio::test]
async fn old_history_goes_by_itself_and_its_space_is_given_back() {
    let (_dir, path) = database();
    let keep = Some(Duration::from_millis(100));
    let store = SqliteStore::open(&path, SqliteOptions { keep, compact_rows: 1, ..options() }).unwrap();
    let value = "x".repeat(100_000);
    let mut item = create(&*store, "/a", &value).await;
    create(&*store, "/b", "stays").await;
    for _ in 0..150 {
        item = store.write(put("/a", Expect::Revision(item.revision), &value)).await.unwrap();
    }
    let gone = store.write(delete("/a", Expect::Revision(item.revision))).await.unwrap();
    until("only the live row is left", || rows(&path) == 1);
    assert!(matches!(store.watch("/", gone.revision - 1).await, Err(Error::Compacted { .. })));
    assert!(store.watch("/", gone.revision).await.is_ok());
    until("the pages are given back", || {
        let pages: i64 = Connection::open(&path).unwrap().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        pages < 1200
    });
    store.close().await;
    assert!(fs::metadata(&path).unwrap().len() < 5 << 20, "written were 15 MB");
    assert_eq!(open(&path).get("/b").unwrap().value, "stays");
}

/// A file system of its own, gone with the value.
struct Mount(tempfile::TempDir);

impl Mount {
    fn tmpfs(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = std::ffi::CString::new(format!("size={size}")).unwrap();
        mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), data.as_c_str()).expect("mounting needs root");
        Self(dir)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_writing_resumes_needs_root() {
    let disk = Mount::tmpfs("4m");
    let path = disk.0.path().join("state.db");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    let store = open(&path);
    let mut written = Vec::new();
    let error = loop {
        match store.write(put(&format!("/{}", written.len()), Expect::Absent, &"x".repeat(20_000))).await {
            Ok(item) => written.push(item),
            Err(error) => break error,
        }
        assert!(written.len() < 1000, "the disk never became full");
    };
    assert!(matches!(&error, Error::Unavailable(why) if why.contains("full")), "{error}");
    assert_eq!((store.count(""), store.revision()), (written.len(), written.len() as u64));
    assert!(store.write(put("/still-full", Expect::Absent, &"x".repeat(20_000))).await.is_err());
    fs::remove_file(&ballast).unwrap();
    written.push(create(&*store, "/more", "x").await);
    store.close().await;
    drop(store);
    let store = open(&path);
    assert_eq!(store.count(""), written.len());
    for item in written {
        assert_eq!(store.get(&item.key), Some(item));
    }
}

#[tokio::test]
async fn a_read_only_disk_is_refused_with_a_word_needs_root() {
    let disk = Mount::tmpfs("4m");
    let path = disk.0.path().join("state.db");
    let store = open(&path);
    let item = create(&*store, "/a", "1").await;
    store.close().await;
    drop(store);
    mount_remount(disk.0.path(), MountFlags::RDONLY, "").unwrap();
    let error = refusal(&path);
    assert!(error.contains("Read-only file system"), "{error}");
    mount_remount(disk.0.path(), MountFlags::empty(), "").unwrap();
    assert_eq!(open(&path).get("/a"), Some(item));
}

#[tokio::test]
async fn only_the_newest_heartbeat_reaches_the_disk() {
    let (_dir, path) = database();
    let store = open(&path);
    let made = create(&*store, "/lease", "made").await;
    let mut watch = store.watch("/", made.revision).await.unwrap();
    let mut last = made.clone();
    for round in 0..100 {
        last = store.write(beat(put("/lease", Expect::Revision(last.revision), &round.to_string()))).await.unwrap();
        assert_eq!(next(&mut watch).await.unwrap().item, last, "watches see every one of them");
    }
    assert_eq!((store.get("/lease"), rows(&path)), (Some(last.clone()), 1));
    // A power cut takes back what only heartbeats said; nobody is told the revisions again.
    let (_dir2, copy) = power_cut(&path);
    let after = open(&copy);
    assert_eq!(after.get("/lease"), Some(made.clone()));
    assert!(after.revision() > last.revision);
    // The next write of anything takes the newest along, linked to what the disk had.
    create(&*store, "/pod", "1").await;
    assert_eq!(rows(&path), 3);
    let (_dir3, copy) = power_cut(&path);
    let after = open(&copy);
    assert_eq!(after.get("/lease"), Some(last.clone()));
    let mut resumed = after.watch("/lease", made.revision).await.unwrap();
    let event = next(&mut resumed).await.unwrap();
    assert_eq!((&event.item, &event.previous), (&last, &Some(made.clone())));
    after.compact(after.revision()).await.unwrap();
    assert_eq!(after.get("/lease"), Some(last));
}

#[tokio::test]
async fn a_heartbeat_between_other_writes_of_its_key_is_kept() {
    let (_dir, path) = database();
    let store = open(&path);
    let made = store.write(beat(put("/lease", Expect::Absent, "made"))).await.unwrap();
    let first = store.write(beat(put("/lease", Expect::Revision(made.revision), "1"))).await.unwrap();
    let taken = store.write(relaxed(put("/lease", Expect::Revision(first.revision), "taken"))).await.unwrap();
    let second = store.write(beat(put("/lease", Expect::Revision(taken.revision), "2"))).await.unwrap();
    let third = store.write(beat(put("/lease", Expect::Revision(second.revision), "3"))).await.unwrap();
    store.close().await;
    drop(store);
    assert_eq!(rows(&path), 4, "all but the second");
    let again = open(&path);
    assert_eq!((again.get("/lease"), again.revision()), (Some(third), taken.revision + 2));
}

#[tokio::test]
async fn a_heartbeat_is_flushed_when_it_is_due() {
    let (_dir, path) = database();
    let soon = SqliteOptions { heartbeat_flush: Duration::from_millis(20), ..options() };
    let store = SqliteStore::open(&path, soon).unwrap();
    let made = create(&*store, "/lease", "made").await;
    store.write(beat(put("/lease", Expect::Revision(made.revision), "1"))).await.unwrap();
    until("the heartbeat is on disk", || rows(&path) == 2);
}
