//! The adapter over a watch that the test speaks for.

use futures::channel::mpsc;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::Error;

use super::*;

fn object(name: &str, value: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.to_owned());
    object.metadata.namespace = Some("ns".to_owned());
    object.metadata.resource_version = Some("7".to_owned());
    object.data = Some([("v".to_owned(), value.to_owned())].into());
    object
}

type Inner = mpsc::UnboundedSender<watcher::Result<Event<ConfigMap>>>;

/// A watch whose events the test makes.
fn begin(memory: Option<&Memory>) -> (Inner, Remembered<ConfigMap>) {
    let (inner, events) = mpsc::unbounded();
    (inner, remembered(events.boxed(), memory.cloned()))
}

fn memory(dir: &tempfile::TempDir) -> Memory {
    Memory { file: dir.path().join("configmaps"), without: &["/data/noise"], synced: true }
}

/// `a=1` for an object with a value.
async fn next(stream: &mut Remembered<ConfigMap>) -> String {
    let shown = |object: &ConfigMap| {
        let value = object.data.as_ref().and_then(|data| data.get("v"));
        format!("{}={}", object.metadata.name.as_deref().unwrap(), value.unwrap())
    };
    match stream.next().await.unwrap() {
        Err(_) => "error".to_owned(),
        Ok(Event::Init) => "init".to_owned(),
        Ok(Event::InitDone) => "done".to_owned(),
        Ok(Event::InitApply(object)) => format!("list {}", shown(&object)),
        Ok(Event::Apply(object)) => format!("put {}", shown(&object)),
        Ok(Event::Delete(object)) => format!("delete {}", shown(&object)),
    }
}

async fn expect(stream: &mut Remembered<ConfigMap>, events: &[&str]) {
    for event in events {
        assert_eq!(next(stream).await, *event);
    }
}

fn list(inner: &Inner, objects: &[(&str, &str)]) {
    inner.unbounded_send(Ok(Event::Init)).unwrap();
    for (name, value) in objects {
        inner.unbounded_send(Ok(Event::InitApply(object(name, value)))).unwrap();
    }
    inner.unbounded_send(Ok(Event::InitDone)).unwrap();
}

fn fail(inner: &Inner) {
    inner.unbounded_send(Err(Error::NoResourceVersion)).unwrap();
}

/// A first life that saw `b` change and `c` go.
async fn live_once(memory: &Memory) {
    let (inner, mut stream) = begin(Some(memory));
    list(&inner, &[("a", "1"), ("b", "1"), ("c", "1")]);
    inner.unbounded_send(Ok(Event::Apply(object("b", "2")))).unwrap();
    inner.unbounded_send(Ok(Event::Delete(object("c", "1")))).unwrap();
    expect(&mut stream, &["init", "list a=1", "list b=1", "list c=1", "done", "put b=2", "delete c=1"]).await;
    // What fails later is no reason to look back.
    fail(&inner);
    list(&inner, &[("a", "1"), ("b", "2")]);
    expect(&mut stream, &["error", "init", "list a=1", "list b=2", "done"]).await;
}

#[tokio::test]
async fn a_watch_that_cannot_list_gives_what_it_saw_last_and_then_the_servers_own_list() {
    let dir = tempfile::tempdir().unwrap();
    let memory = memory(&dir);
    live_once(&memory).await;
    let (inner, mut stream) = begin(Some(&memory));
    let confirmed = stream.confirmed();
    inner.unbounded_send(Ok(Event::Init)).unwrap();
    fail(&inner);
    expect(&mut stream, &["init", "error", "init", "list a=1", "list b=2", "done"]).await;
    assert!(!*confirmed.borrow());
    fail(&inner);
    list(&inner, &[("b", "3")]);
    expect(&mut stream, &["error", "init", "list b=3"]).await;
    assert!(!*confirmed.borrow());
    expect(&mut stream, &["done"]).await;
    assert!(*confirmed.borrow());
    // The next life knows of this one only.
    let (inner, mut stream) = begin(Some(&memory));
    fail(&inner);
    expect(&mut stream, &["error", "init", "list b=3", "done"]).await;
}

#[tokio::test]
async fn an_error_is_never_an_empty_list() {
    let dir = tempfile::tempdir().unwrap();
    for memory in [None, Some(memory(&dir))] {
        let (inner, mut stream) = begin(memory.as_ref());
        inner.unbounded_send(Ok(Event::Init)).unwrap();
        inner.unbounded_send(Ok(Event::InitApply(object("a", "1")))).unwrap();
        fail(&inner);
        fail(&inner);
        expect(&mut stream, &["init", "list a=1", "error", "error"]).await;
        drop(inner);
        assert!(stream.next().await.is_none());
    }
    // A list that broke off is not remembered either.
    let (inner, mut stream) = begin(Some(&memory(&dir)));
    fail(&inner);
    list(&inner, &[]);
    expect(&mut stream, &["error", "init", "done"]).await;
}

#[tokio::test]
async fn a_list_that_truly_is_empty_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let (inner, mut stream) = begin(Some(&memory(&dir)));
    list(&inner, &[]);
    expect(&mut stream, &["init", "done"]).await;
    let (inner, mut stream) = begin(Some(&memory(&dir)));
    fail(&inner);
    expect(&mut stream, &["error", "init", "done"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    live_once(&memory(&dir)).await;
    let (inner, mut stream) = begin(Some(&memory(&dir)));
    inner.unbounded_send(Ok(Event::Init)).unwrap();
    // The server's own list goes on behind the memory, as a list of its own.
    expect(&mut stream, &["init", "init", "list a=1", "list b=2", "done", "init"]).await;
    inner.unbounded_send(Ok(Event::InitApply(object("a", "1")))).unwrap();
    inner.unbounded_send(Ok(Event::InitDone)).unwrap();
    expect(&mut stream, &["list a=1", "done"]).await;
    // In the middle of a list nothing is mixed in, however long it takes.
    let (inner, mut stream) = begin(Some(&memory(&dir)));
    inner.unbounded_send(Ok(Event::Init)).unwrap();
    inner.unbounded_send(Ok(Event::InitApply(object("x", "1")))).unwrap();
    expect(&mut stream, &["init", "list x=1"]).await;
    assert!(tokio::time::timeout(PATIENCE * 10, stream.next()).await.is_err());
}

#[tokio::test]
async fn a_memory_that_cannot_be_written_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let memory = memory(&dir);
    let (inner, mut stream) = begin(Some(&memory));
    list(&inner, &[("a", "1")]);
    expect(&mut stream, &["init", "list a=1", "done"]).await;
    // A folder in the way of the next list: its writing fails.
    let beside = memory.file.with_added_extension("new");
    std::fs::create_dir(&beside).unwrap();
    list(&inner, &[("b", "1")]);
    expect(&mut stream, &["init", "list b=1", "done"]).await;
    assert!(!memory.file.exists(), "it would tell of `a`, which is gone");
    std::fs::remove_dir(&beside).unwrap();
    list(&inner, &[("c", "1")]);
    expect(&mut stream, &["init", "list c=1", "done"]).await;
    assert!(memory.file.exists());
}

#[test]
fn only_what_is_worth_a_write_is_remembered() {
    let mut noisy = object("a", "1");
    noisy.metadata.managed_fields = Some(vec![Default::default()]);
    noisy.data.as_mut().unwrap().insert("noise".to_owned(), "1".to_owned());
    let mut later = noisy.clone();
    later.metadata.resource_version = Some("8".to_owned());
    later.data.as_mut().unwrap().insert("noise".to_owned(), "2".to_owned());
    let without = &["/data/noise"];
    assert_eq!(text(&noisy, without), text(&later, without));
    assert_ne!(text(&noisy, without), text(&object("a", "2"), without));
    assert_eq!(key(&noisy), "ns/a");
}
