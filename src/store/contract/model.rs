//! Random operations on an engine, compared with a model that remembers every state and every event:
//! lists and watches from every revision, and again after compaction at every revision.

use std::collections::BTreeMap;
use std::future::Future;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Put {
        key: u8,
        stale: bool,
        relaxed: bool,
    },
    Delete {
        key: u8,
        stale: bool,
        relaxed: bool,
    },
    /// At this share of the revisions there are.
    Compact(u8),
    /// Of engines that can: close and open again.
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let write = || (0u8..5, prop::bool::weighted(0.1), any::<bool>());
    prop_oneof![
        6 => write().prop_map(|(key, stale, relaxed)| Op::Put { key, stale, relaxed }),
        3 => write().prop_map(|(key, stale, relaxed)| Op::Delete { key, stale, relaxed }),
        1 => any::<u8>().prop_map(Op::Compact),
        1 => Just(Op::Reopen),
    ]
}

/// Every state there was, by revision, and what led to it.
struct Model {
    states: Vec<BTreeMap<String, Item>>,
    events: Vec<Event>,
    compacted: Revision,
}

impl Model {
    fn revision(&self) -> Revision {
        self.states.len() as Revision - 1
    }

    fn now(&self) -> &BTreeMap<String, Item> {
        &self.states[self.states.len() - 1]
    }

    fn apply(&mut self, kind: EventKind, item: Item) {
        let mut state = self.now().clone();
        let previous = match kind {
            EventKind::Deleted => state.remove(&*item.key),
            _ => state.insert(item.key.to_string(), item.clone()),
        };
        self.states.push(state);
        self.events.push(Event { kind, item, previous });
    }

    /// The expectation to write with: right, or wrong in a way that the state makes wrong.
    fn expect(&self, key: &str, stale: bool) -> Expect {
        match (self.now().get(key), stale) {
            (Some(item), false) => Expect::Revision(item.revision),
            (Some(_), true) | (None, false) => Expect::Absent,
            (None, true) => Expect::Revision(1),
        }
    }
}

async fn run(mut fixture: Fixture, ops: Vec<Op>) {
    let mut model = Model { states: vec![BTreeMap::new()], events: Vec::new(), compacted: 0 };
    for op in ops {
        match op {
            Op::Put { key, stale, relaxed } | Op::Delete { key, stale, relaxed } => {
                let removes = matches!(op, Op::Delete { .. });
                write(&fixture, &mut model, removes, key, stale, relaxed).await;
            }
            Op::Compact(share) => {
                let revision = model.revision() * u64::from(share) / 255;
                fixture.store.compact(revision).await.unwrap();
                model.compacted = model.compacted.max(revision);
            }
            Op::Reopen => fixture = fixture.reopen().await,
        }
        assert_eq!(fixture.store.revision(), model.revision());
    }
    check(&fixture, &model).await;
    for revision in model.compacted + 1..=model.revision() {
        fixture.store.compact(revision).await.unwrap();
        model.compacted = revision;
        check(&fixture, &model).await;
    }
    fixture = fixture.reopen().await;
    check(&fixture, &model).await;
}

async fn write(fixture: &Fixture, model: &mut Model, removes: bool, key: u8, stale: bool, relaxed: bool) {
    let key = format!("/{}/{key}", key % 2);
    let expect = model.expect(&key, stale);
    let kind = match (removes, model.now().contains_key(&key)) {
        (true, _) => EventKind::Deleted,
        (false, true) => EventKind::Updated,
        (false, false) => EventKind::Created,
    };
    let fails = stale || (removes && !model.now().contains_key(&key));
    let write = if removes { delete(&key, expect) } else { put(&key, expect, &format!("{}", model.revision())) };
    let durability = if relaxed { Durability::Relaxed } else { Durability::Durable };
    match fixture.store.write(Write { durability, ..write }).await {
        Ok(item) => {
            assert!(!fails);
            assert_eq!(item.revision, model.revision() + 1);
            model.apply(kind, item);
        }
        Err(Error::Conflict { current, .. }) => {
            assert!(fails);
            assert_eq!(current.as_ref(), model.now().get(&key));
        }
        Err(error) => panic!("{error}"),
    }
}

/// Everything that can be read is what the model says, and nothing older can be read.
async fn check(fixture: &Fixture, model: &Model) {
    let store = &*fixture.store;
    for at in 0..=model.revision() {
        for prefix in ["/", "/1/"] {
            let expected: Vec<Item> = model.states[at as usize]
                .iter()
                .filter(|(key, _)| key.starts_with(prefix))
                .map(|(_, item)| item.clone())
                .collect();
            if at < model.compacted {
                let list = store.list(prefix, ListOptions { at: Some(at), ..Default::default() }).await;
                assert!(matches!(list, Err(Error::Compacted { .. })));
                assert!(matches!(store.watch(prefix, at).await, Err(Error::Compacted { .. })));
                continue;
            }
            assert_eq!(list_in_pages(store, prefix, at).await, expected, "{prefix} at {at}");
            let mut watch = store.watch(prefix, at).await.unwrap();
            for event in model.events.iter().filter(|e| e.item.revision > at && e.item.key.starts_with(prefix)) {
                assert_eq!(*next(&mut watch).await.unwrap(), *event, "watch of {prefix} after {at}");
            }
            assert!(watch.events.try_recv().is_err(), "no event twice, none invented");
        }
    }
    for (key, item) in model.now() {
        assert_eq!(store.get(key).as_ref(), Some(item));
    }
    assert_eq!(store.count(""), model.now().len());
}

/// Two at a time, checking what each page says of the rest.
async fn list_in_pages(store: &dyn Store, prefix: &str, at: Revision) -> Vec<Item> {
    let (mut items, mut after, mut expected_rest) = (Vec::new(), None, None);
    loop {
        let page = store.list(prefix, ListOptions { after: after.take(), limit: 2, at: Some(at) }).await.unwrap();
        assert_eq!(page.revision, at);
        let rest = page.items.len() + page.remaining;
        assert_eq!(expected_rest.unwrap_or(rest), rest);
        expected_rest = Some(page.remaining);
        after = page.items.last().map(|item| item.key.to_string());
        items.extend(page.items);
        if page.remaining == 0 {
            return items;
        }
    }
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_is_the_model(ops in vec(op(), 1..40)) {
        block_on(run(memory(3), ops));
    }

    /// So few recent events in memory that most watches and lists have to read the log.
    #[test]
    fn sqlite_is_the_model(ops in vec(op(), 1..40)) {
        block_on(run(sqlite(3), ops));
    }
}
