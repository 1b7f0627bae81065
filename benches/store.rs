//! What the SQLite engine does on this machine, printed against the design's budgets. Asserts nothing.
//!
//! `cargo bench --bench store -- [directory]`; the directory decides which disk is measured.

#[path = "measure/mod.rs"]
mod measure;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use orch::store::sqlite::{SqliteOptions, SqliteStore};
use orch::store::{Change, Durability, Expect, ListOptions, Store, Write};

use measure::resident;

const WRITERS: usize = 64;
const OBJECT: usize = 1200;

fn main() {
    let directory =
        std::env::args().skip(1).find(|arg| !arg.starts_with('-')).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("orch-bench-store-{}", std::process::id()));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let path = directory.join("state.db");
        let store = SqliteStore::open(&path, SqliteOptions::default()).expect("a store");
        // First, while no other write's pages wait to be moved from the log into the database.
        lone_writes(&store).await;
        creates(&store, 1, 2_000).await;
        creates(&store, 16, 20_000).await;
        let before = resident("self");
        creates(&store, WRITERS, 50_000).await;
        let grown = resident("self").saturating_sub(before) as f64;
        println!("memory       {:.2} × the objects' own size", grown * 1024.0 / (50_000 * OBJECT) as f64);
        reads(&store).await;
        store.close().await;
        drop(store);
        reopen(&path).await;
    });
    let _ = std::fs::remove_dir_all(directory);
}

/// Creates by so many concurrent writers: throughput and latency.
async fn creates(store: &Arc<SqliteStore>, writers: usize, count: usize) {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut took = Vec::with_capacity(count / writers);
                for number in 0..count / writers {
                    let begun = Instant::now();
                    store.write(create(format!("/registry/pods/w{writers}-{writer}/{number}"))).await.expect("a write");
                    took.push(begun.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took: Vec<Duration> = Vec::with_capacity(count);
    for task in tasks {
        took.extend(task.await.expect("a writer"));
    }
    let elapsed = begun.elapsed();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "{writers:3} writers  {:.0} durable creates/s  p50 {:.2?}  p99 {:.2?}  worst {:.2?}  (budget: 10 000/s, p99 30 ms at 64)",
        took.len() as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0),
    );
}

fn create(key: String) -> Write {
    let encode = Box::new(|revision| {
        let mut value = vec![b'x'; OBJECT];
        value[..8].copy_from_slice(&u64::to_be_bytes(revision));
        Bytes::from(value)
    });
    Write { key: key.into(), expect: Expect::Absent, change: Change::Put(encode), durability: Durability::Durable }
}

async fn reads(store: &Arc<SqliteStore>) {
    let begun = Instant::now();
    for number in 0..100_000 {
        assert!(store.get(&format!("/registry/pods/w64-0/{}", number % 700)).is_some());
    }
    println!("get          {:.0}/s from one thread", 100_000.0 / begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let page = store.list("/registry/", ListOptions { limit: 10_000, ..Default::default() }).await.expect("a page");
    println!("list         {} objects in {:.2?}", page.items.len(), begun.elapsed());
}

/// What one write without company costs the disk, as a Lease costs it that nothing else takes along.
async fn lone_writes(store: &Arc<SqliteStore>) {
    let mut item = store.write(create("/registry/leases/node".into())).await.expect("a write");
    let before = written();
    for _ in 0..200 {
        let value = Bytes::from(vec![b'x'; 600]);
        let change = Change::Put(Box::new(move |_| value));
        let expect = Expect::Revision(item.revision);
        let write = Write { key: item.key, expect, change, durability: Durability::Durable };
        item = store.write(write).await.expect("a write");
    }
    let each = (written() - before) / 200;
    println!("lone write   {each} bytes on disk; one every 10 s is {:.1} MB a day", (each * 8640) as f64 / 1e6);
}

/// Bytes this process caused to be written to disks.
fn written() -> usize {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

async fn reopen(path: &Path) {
    let begun = Instant::now();
    let store = SqliteStore::open(path, SqliteOptions::default()).expect("the same store");
    println!("open         {} objects in {:.2?}", store.count(""), begun.elapsed());
    store.close().await;
}
