//! What every engine has to do, written once and run on each. Engines are compared with a model that
//! keeps every state there ever was.

mod model;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::memory::MemoryStore;
use super::sqlite::{SqliteOptions, SqliteStore};
use super::*;

/// A store and what has to live as long as it.
pub(super) struct Fixture {
    pub store: Arc<dyn Store>,
    on_disk: Option<(tempfile::TempDir, SqliteOptions)>,
}

impl Fixture {
    /// Closes and opens again what survives that.
    async fn reopen(self) -> Self {
        let Some((dir, options)) = self.on_disk else { return self };
        self.store.close().await;
        on_disk(dir, options)
    }
}

/// `buffer`: events a watch holds for a slow reader; SQLite also keeps as few recent events in memory.
fn memory(buffer: usize) -> Fixture {
    Fixture { store: MemoryStore::with_watch_buffer(buffer), on_disk: None }
}

fn sqlite(buffer: usize) -> Fixture {
    let options = SqliteOptions { recent_events: buffer, watch_buffer: buffer, keep: None, ..Default::default() };
    on_disk(tempfile::tempdir().unwrap(), options)
}

fn on_disk(dir: tempfile::TempDir, options: SqliteOptions) -> Fixture {
    let store = SqliteStore::open(&dir.path().join("state.db"), options.clone()).unwrap();
    Fixture { store, on_disk: Some((dir, options)) }
}

/// Runs each check on each engine.
macro_rules! contract {
    ($($check:ident),* $(,)?) => {
        mod on_memory { $(#[tokio::test] async fn $check() { super::$check(super::memory).await; })* }
        mod on_sqlite { $(#[tokio::test] async fn $check() { super::$check(super::sqlite).await; })* }
    };
}

contract! {
    creates_only_what_is_absent,
    updates_and_deletes_only_the_expected_revision,
    several_writes_are_one,
    values_are_encoded_with_their_revision,
    lists_pages_of_a_prefix_in_order,
    lists_the_past,
    compaction_forgets_history_and_nothing_else,
    watches_see_all_of_their_prefix,
    watches_begin_where_a_list_ended,
    a_slow_reader_is_closed_and_can_resume,
    concurrent_updates_lose_nothing,
    closed_stores_refuse_writes_and_end_watches,
    relaxed_writes_are_ordered_with_durable_ones,
}

pub(super) fn put(key: &str, expect: Expect, value: &str) -> Write {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Write { key: key.into(), expect, change: Change::Put(Box::new(move |_| value)), durability: Durability::Durable }
}

pub(super) fn delete(key: &str, expect: Expect) -> Write {
    let change = Change::Delete(Box::new(|revision| Bytes::from(format!("gone at {revision}"))));
    Write { key: key.into(), expect, change, durability: Durability::Durable }
}

pub(super) fn relaxed(write: Write) -> Write {
    Write { durability: Durability::Relaxed, ..write }
}

pub(super) fn beat(write: Write) -> Write {
    Write { durability: Durability::Heartbeat, ..write }
}

pub(super) async fn create(store: &dyn Store, key: &str, value: &str) -> Item {
    store.write(put(key, Expect::Absent, value)).await.unwrap()
}

/// The next event, which has to come soon.
pub(super) async fn next(watch: &mut Watch) -> Result<Arc<Event>> {
    timeout(Duration::from_secs(10), watch.events.recv()).await.expect("an event in time").expect("the watch is open")
}

fn keys(page: &Page) -> Vec<&str> {
    page.items.iter().map(|item| &*item.key).collect()
}

async fn creates_only_what_is_absent(engine: fn(usize) -> Fixture) {
    let fixture = engine(100);
    let store = &*fixture.store;
    assert_eq!((store.revision(), store.get("/a"), store.count("/")), (0, None, 0));
    let item = create(store, "/a", "1").await;
    assert_eq!((item.revision, &item.value[..]), (1, &b"1"[..]));
    let conflict = store.write(put("/a", Expect::Absent, "2")).await.unwrap_err();
    assert!(matches!(conflict, Error::Conflict { current: Some(current), .. } if current == item));
    assert_eq!((store.revision(), store.get("/a"), store.count("/")), (1, Some(item), 1));
}

async fn updates_and_deletes_only_the_expected_revision(engine: fn(usize) -> Fixture) {
    let fixture = engine(100);
    let store = &*fixture.store;
    let missing = store.write(put("/a", Expect::Revision(1), "x")).await.unwrap_err();
    assert!(matches!(missing, Error::Conflict { current: None, .. }));
    let first = create(store, "/a", "1").await;
    let second = store.write(put("/a", Expect::Revision(first.revision), "2")).await.unwrap();
    for stale in [
        put("/a", Expect::Revision(first.revision), "3"),
        delete("/a", Expect::Revision(first.revision)),
        delete("/a", Expect::Absent),
    ] {
        let conflict = store.write(stale).await.unwrap_err();
        assert!(matches!(conflict, Error::Conflict { current: Some(current), .. } if current == second));
    }
    let gone = store.write(delete("/a", Expect::Revision(second.revision))).await.unwrap();
    assert_eq!((gone.revision, &gone.value[..]), (3, &b"gone at 3"[..]));
    assert_eq!((store.get("/a"), store.count(""), store.revision()), (None, 0, 3));
    assert_eq!(create(store, "/a", "again").await.revision, 4);
}

async fn several_writes_are_one(engine: fn(usize) -> Fixture) {
    let fixture = engine(100);
    let store = &*fixture.store;
    let first = create(store, "/a", "1").await;
    let stale = vec![put("/b", Expect::Absent, "1"), put("/a", Expect::Revision(first.revision + 1), "2")];
    let conflict = store.write_all(stale).await.unwrap_err();
    assert!(matches!(conflict, Error::Conflict { key, current: Some(current) } if *key == *"/a" && current == first));
    assert_eq!((store.get("/b"), store.revision()), (None, first.revision));
    let both = vec![put("/b", Expect::Absent, "1"), put("/a", Expect::Revision(first.revision), "2")];
    let items = store.write_all(both).await.unwrap();
    let revisions: Vec<_> = items.iter().map(|item| (&*item.key, item.revision)).collect();
    assert_eq!(revisions, [("/b", 2), ("/a", 3)]);
    // The second sees what the first did.
    let again = vec![delete("/b", Expect::Revision(2)), put("/b", Expect::Absent, "2")];
    store.write_all(again).await.unwrap();
    let fixture = fixture.reopen().await;
    assert_eq!((fixture.store.get("/b").unwrap().revision, fixture.store.count("/")), (5, 2));
}

async fn values_are_encoded_with_their_revision(engine: fn(usize) -> Fixture) {
    let fixture = engine(100);
    create(&*fixture.store, "/other", "").await;
    let encode: Encode = Box::new(|revision| Bytes::from(format!("at {revision}")));
    let write = Write {
        key: "/a".into(),
        expect: Expect::Absent,
        change: Change::Put(encode),
        durability: Durability::Durable,
    };
    fixture.store.write(write).await.unwrap();
    assert_eq!(fixture.store.get("/a").unwrap().value, "at 2");
}

async fn lists_pages_of_a_prefix_in_order(engine: fn(usize) -> Fixture) {
    let fixture = engine(100);
    let store = &*fixture.store;
    for key in ["/b/2", "/a/1", "/b/1", "/b/3", "/c/1", "/b"] {
        create(store, key, key).await;
    }
    let all = store.list("/b/", ListOptions::default()).await.unwrap();
    assert_eq!((keys(&all), all.revision, all.remaining), (vec!["/b/1", "/b/2", "/b/3"], 6, 0));
    let page = store.list("/b/", ListOptions { limit: 2, ..Default::default() }).await.unwrap();
    assert_eq!((keys(&page), page.remaining), (vec!["/b/1", "/b/2"], 1));
    let rest = ListOptions { after: Some("/b/2".into()), limit: 2, at: Some(page.revision) };
    let rest = store.list("/b/", rest).await.unwrap();
    assert_eq!((keys(&rest), rest.remaining), (vec!["/b/3"], 0));
    let none = store.list("/x/", ListOptions::default()).await.unwrap();
    assert_eq!((none.items.len(), none.revision), (0, 6), "an empty list has the store's revision");
    assert_eq!(store.count("/b"), 4);
}

async fn lists_the_past(engine: fn(usize) -> Fixture) {
    let fixture = engine(2);
    let store = &*fixture.store;
    let a = create(store, "/a", "1").await;
    create(store, "/b", "1").await;
    store.write(put("/a", Expect::Revision(a.revision), "2")).await.unwrap();
    store.write(delete("/b", Expect::Revision(2))).await.unwrap();
    create(store, "/c", "1").await;
    let expected =
        [vec![], vec!["/a=1"], vec!["/a=1", "/b=1"], vec!["/a=2", "/b=1"], vec!["/a=2"], vec!["/a=2", "/c=1"]];
    for (at, expected) in expected.iter().enumerate() {
        let page = store.list("/", ListOptions { at: Some(at as u64), ..Default::default() }).await.unwrap();
        let found: Vec<_> =
            page.items.iter().map(|item| format!("{}={}", item.key, String::from_utf8_lossy(&item.value))).collect();
        assert_eq!(found, *expected);
        assert_eq!(page.revision, at as u64);
    }
    let future = store.list("/", ListOptions { at: Some(6), ..Default::default() }).await.unwrap_err();
    assert!(matches!(future, Error::Future { requested: 6, current: 5 }));
}

async fn compaction_forgets_history_and_nothing_else(engine: fn(usize) -> Fixture) {
    let fixture = engine(2);
    let store = &*fixture.store;
    for number in 0..20 {
        create(store, &format!("/{number:02}"), "old").await;
    }
    for number in 0..10 {
        store.write(put(&format!("/{number:02}"), Expect::Revision(number + 1), "new")).await.unwrap();
    }
    store.write(delete("/19", Expect::Revision(20))).await.unwrap();
    let before = store.list("/", ListOptions::default()).await.unwrap();
    assert!(matches!(store.compact(32).await, Err(Error::Future { requested: 32, current: 31 })));
    for revision in [25, 3, 31, 31] {
        store.compact(revision).await.unwrap();
        let after = store.list("/", ListOptions::default()).await.unwrap();
        assert_eq!(after.items, before.items);
    }
    let old = store.list("/", ListOptions { at: Some(30), ..Default::default() }).await.unwrap_err();
    assert!(matches!(old, Error::Compacted { requested: 30, oldest: 31 }));
    assert!(matches!(store.watch("/", 30).await, Err(Error::Compacted { requested: 30, oldest: 31 })));
    assert!(store.watch("/", 31).await.is_ok());
}

async fn watches_see_all_of_their_prefix(engine: fn(usize) -> Fixture) {
    let fixture = engine(100);
    let store = &*fixture.store;
    let mut watch = store.watch("/a/", 0).await.unwrap();
    let created = create(store, "/a/1", "1").await;
    create(store, "/b/1", "1").await;
    let updated = store.write(put("/a/1", Expect::Revision(1), "2")).await.unwrap();
    let deleted = store.write(delete("/a/1", Expect::Revision(3))).await.unwrap();
    let expected = [
        Event { kind: EventKind::Created, item: created.clone(), previous: None },
        Event { kind: EventKind::Updated, item: updated.clone(), previous: Some(created) },
        Event { kind: EventKind::Deleted, item: deleted, previous: Some(updated) },
    ];
    for event in &expected {
        assert_eq!(*next(&mut watch).await.unwrap(), *event);
    }
    let mut late = store.watch("/a/", 1).await.unwrap();
    assert_eq!(*next(&mut late).await.unwrap(), expected[1]);
    assert!(matches!(store.watch("/a/", 5).await, Err(Error::Future { requested: 5, current: 4 })));
}

async fn watches_begin_where_a_list_ended(engine: fn(usize) -> Fixture) {
    let fixture = engine(4);
    let store = fixture.store.clone();
    let writer = tokio::spawn(async move {
        for number in 0..200 {
            create(&*store, &format!("/{number:03}"), "x").await;
        }
    });
    for _ in 0..20 {
        let page = fixture.store.list("/", ListOptions::default()).await.unwrap();
        let mut watch = fixture.store.watch("/", page.revision).await.unwrap();
        if page.revision < 200 {
            assert_eq!(next(&mut watch).await.unwrap().item.revision, page.items.len() as u64 + 1);
        }
    }
    writer.await.unwrap();
}

async fn a_slow_reader_is_closed_and_can_resume(engine: fn(usize) -> Fixture) {
    let fixture = engine(10);
    let store = &*fixture.store;
    let mut watch = store.watch("/", 0).await.unwrap();
    for number in 0..30 {
        create(store, &format!("/{number}"), "x").await;
    }
    let mut seen = 0;
    let error = loop {
        match next(&mut watch).await {
            Ok(event) => {
                assert_eq!(event.item.revision, seen + 1);
                seen += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Compacted { .. }), "{error}");
    assert_eq!(seen, 10);
    assert!(watch.events.recv().await.is_none());
    let mut watch = store.watch("/", seen).await.unwrap();
    for revision in seen + 1..=30 {
        assert_eq!(next(&mut watch).await.unwrap().item.revision, revision);
    }
    create(store, "/more", "x").await;
    assert_eq!(next(&mut watch).await.unwrap().item.revision, 31);
}

async fn concurrent_updates_lose_nothing(engine: fn(usize) -> Fixture) {
    let fixture = engine(1000);
    create(&*fixture.store, "/n", "0").await;
    let add = |store: Arc<dyn Store>| async move {
        let mut done = 0;
        let mut item = store.get("/n").unwrap();
        while done < 10 {
            let next = std::str::from_utf8(&item.value).unwrap().parse::<u64>().unwrap() + 1;
            match store.write(put("/n", Expect::Revision(item.revision), &next.to_string())).await {
                Ok(written) => (item, done) = (written, done + 1),
                Err(Error::Conflict { current, .. }) => item = current.unwrap(),
                Err(error) => panic!("{error}"),
            }
        }
    };
    let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(add(fixture.store.clone()))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(fixture.store.get("/n").unwrap().value, "80");
    assert_eq!(fixture.store.revision(), 81);
}

async fn closed_stores_refuse_writes_and_end_watches(engine: fn(usize) -> Fixture) {
    let fixture = engine(100);
    let store = &*fixture.store;
    create(store, "/a", "1").await;
    let mut watch = store.watch("/", 1).await.unwrap();
    store.close().await;
    assert!(matches!(store.write(put("/b", Expect::Absent, "")).await, Err(Error::Closed)));
    assert!(matches!(store.watch("/", 1).await, Err(Error::Closed)));
    assert!(matches!(next(&mut watch).await, Err(Error::Closed)));
    assert!(store.get("/a").is_some(), "reads go on while requests drain");
}

async fn relaxed_writes_are_ordered_with_durable_ones(engine: fn(usize) -> Fixture) {
    let fixture = engine(1000);
    let mut watch = fixture.store.watch("/", 0).await.unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let store = fixture.store.clone();
            tokio::spawn(async move {
                let write = put(&format!("/{number}"), Expect::Absent, "x");
                let write = if number % 3 == 0 { write } else { relaxed(write) };
                let item = store.write(write).await.unwrap();
                assert!(store.revision() >= item.revision, "visible when acknowledged");
                assert_eq!(store.get(&item.key), Some(item));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for revision in 1..=100 {
        assert_eq!(next(&mut watch).await.unwrap().item.revision, revision);
    }
}
