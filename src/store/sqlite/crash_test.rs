//! SIGKILL at random points under concurrent writes, hundreds of times.
//!
//! The test executable runs itself as the child that writes. Before each write the child says what
//! it tries and after it what was acknowledged; the pipe outlives it. Each key has one writer, so after the
//! crash a key holds its last durable acknowledged write or one that came after it, and nothing else.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::store::contract::{delete, next, put};
use crate::store::{Durability, EventKind, Expect, Store};

const ROUNDS: usize = 300;
const WRITERS: usize = 8;
const KEYS: usize = 4;
const DATABASE: &str = "ORCH_TEST_CRASH_DB";

/// The child: what this test does where [`DATABASE`] is set. Ends by being killed.
async fn child(path: &Path) {
    let store = SqliteStore::open(path, options()).unwrap();
    say(&format!("open {}", store.revision()));
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write_forever(store.clone(), writer))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

fn options() -> SqliteOptions {
    SqliteOptions {
        keep: Some(Duration::from_millis(20)),
        compact_rows: 10,
        relaxed_flush: Duration::from_millis(10),
        heartbeat_flush: Duration::from_millis(50),
        ..Default::default()
    }
}

/// One line in one write, so that lines of different threads do not mix.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

async fn write_forever(store: Arc<SqliteStore>, writer: usize) {
    for attempt in 0.. {
        let key = format!("/{writer}/{}", attempt % KEYS);
        let expect = store.get(&key).map_or(Expect::Absent, |item| Expect::Revision(item.revision));
        let removes = attempt % 7 == 0 && expect != Expect::Absent;
        let durability = match attempt % 5 {
            0 => Durability::Relaxed,
            1 => Durability::Heartbeat,
            _ => Durability::Durable,
        };
        let write = if removes { delete(&key, expect) } else { put(&key, expect, &format!("{key} {attempt}")) };
        let write = Write { durability, ..write };
        say(&format!("try {key} {attempt} {removes}"));
        let item = store.write(write).await.unwrap();
        say(&format!("ack {key} {attempt} {removes} {} {durability:?}", item.revision));
    }
}

/// A state a key may be found in: the value written by an attempt, or nothing.
type Outcome = Option<String>;

/// What one child said.
#[derive(Default)]
struct Told {
    opened: Option<Revision>,
    /// By key, what it may hold now; the first is the last durable one.
    outcomes: BTreeMap<String, Vec<Outcome>>,
    /// Revision, key, deleted, and durability, in the order in which they were told.
    acknowledged: Vec<(Revision, String, bool, bool)>,
}

impl Told {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["open", revision] => self.opened = revision.parse().ok(),
            ["try", key, attempt, removes] => {
                self.outcomes.entry(key.to_owned()).or_default().push(outcome(key, attempt, removes));
            }
            ["ack", key, attempt, removes, revision, durability] => {
                let durable = durability == "Durable";
                if durable {
                    self.outcomes.insert(key.to_owned(), vec![outcome(key, attempt, removes)]);
                }
                self.acknowledged.push((revision.parse().unwrap(), key.to_owned(), removes == "true", durable));
            }
            // The test harness talks, too.
            _ => {}
        }
    }
}

fn outcome(key: &str, attempt: &str, removes: &str) -> Outcome {
    (removes == "false").then(|| format!("{key} {attempt}"))
}

fn start_child(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::sqlite::crash_test::acknowledged_writes_survive_sigkill", "--nocapture"])
        .env(DATABASE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a random moment of the child's life is the point")]
fn wait_a_random_moment() {
    std::thread::sleep(Duration::from_millis(random(60)));
}

/// Runs a child, kills it and gives what it said in whole lines. `base`: what the keys held before.
fn crash(path: &Path, base: &BTreeMap<String, Outcome>) -> Told {
    let mut child = start_child(path);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut told = Told::default();
    told.outcomes.extend(base.iter().map(|(key, outcome)| (key.clone(), vec![outcome.clone()])));
    let mut line = String::new();
    // Sometimes while it opens the database, mostly a few milliseconds into writing.
    let early = random(10) == 0;
    while !early && told.opened.is_none() && output.read_line(&mut line).unwrap() > 0 {
        told.hear(line.trim_end());
        line.clear();
    }
    wait_a_random_moment();
    child.kill().unwrap();
    child.wait().unwrap();
    while output.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        told.hear(line.trim_end());
        line.clear();
    }
    told
}

fn random(below: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % below
}

#[tokio::test]
async fn acknowledged_writes_survive_sigkill() {
    if let Some(path) = std::env::var_os(DATABASE) {
        return child(Path::new(&path)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut base: BTreeMap<String, Outcome> = BTreeMap::new();
    let mut used = HashSet::new();
    let (mut newest, mut durable, mut lost) = (0, 0, 0);
    for round in 0..ROUNDS {
        let told = crash(&path, &base);
        assert!(told.opened.is_none_or(|opened| opened >= newest), "round {round}: revisions went back");
        for (revision, _, _, is_durable) in &told.acknowledged {
            assert!(used.insert(*revision), "round {round}: revision {revision} repeated");
            assert!(Some(*revision) > told.opened, "round {round}: revision {revision} was given out before");
            newest = newest.max(*revision);
            durable += usize::from(*is_durable);
        }
        let store = SqliteStore::open(&path, SqliteOptions { keep: None, ..options() }).unwrap();
        assert!(store.revision() >= newest, "round {round}: revisions went back");
        newest = store.revision();
        for (key, outcomes) in &told.outcomes {
            let found = store.get(key).map(|item| String::from_utf8(item.value.to_vec()).unwrap());
            assert!(outcomes.contains(&found), "round {round}: {key} holds {found:?}, told {outcomes:?}");
            base.insert(key.clone(), found);
        }
        lost += resume(&store, &told).await;
        store.close().await;
    }
    assert!(durable > ROUNDS, "only {durable} durable writes were acknowledged in all; the test shows nothing");
    eprintln!("{ROUNDS} crashes, {durable} durable writes all there, {lost} times relaxed writes were taken back");
}

/// Watches from every tenth acknowledged revision find all acknowledged durable writes after it, or are told to
/// start over because they had seen what was lost; gives 1 in that case.
async fn resume(store: &Arc<SqliteStore>, told: &Told) -> usize {
    let mut lost = 0;
    let newest_durable =
        told.acknowledged.iter().filter(|(.., durable)| *durable).map(|(revision, ..)| *revision).max();
    for (after, _, _, _) in told.acknowledged.iter().rev().step_by(10) {
        let mut watch = match store.watch("/", *after).await {
            Ok(watch) => watch,
            Err(Error::Compacted { .. }) => {
                let gone = *after > newest_durable.unwrap_or(0);
                assert!(gone || *after < store.shared.state.read().compacted(), "{after} has to be resumable");
                lost = usize::from(gone).max(lost);
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let mut missing: BTreeMap<Revision, (&str, bool)> = told
            .acknowledged
            .iter()
            .filter(|(revision, _, _, durable)| *durable && revision > after)
            .map(|(revision, key, removed, _)| (*revision, (&**key, *removed)))
            .collect();
        let mut last = *after;
        while !missing.is_empty() {
            let event = timeout(Duration::from_secs(10), next(&mut watch)).await.unwrap().unwrap();
            assert!(event.item.revision > last, "events out of order");
            last = event.item.revision;
            if let Some((key, removed)) = missing.remove(&last) {
                assert_eq!((&*event.item.key, event.kind == EventKind::Deleted), (key, removed));
            }
        }
    }
    lost
}
