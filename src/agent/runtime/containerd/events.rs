//! Keeps up with containerd: subscribes to its task events, lists everything after every (re)connect, and
//! feeds the ends it learns of to [`Containers`]. Polls nothing: between events it sleeps.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use containerd_client::events::{TaskExit, TaskOom};
use containerd_client::services::v1::{Container, ListContainersRequest, PublishRequest, SubscribeRequest};
use containerd_client::types::Envelope;
use prost::Message;
use prost_types::Any;
use tokio_util::sync::CancellationToken;

use super::client::rpc;
use super::containers::{Containers, Entry};
use super::state::{EXTENSION, MANAGED, Record};
use crate::agent::runtime::{Error, RuntimeEvent};

const HELLO: &str = "/orch/hello";
const HELLO_PATIENCE: Duration = Duration::from_millis(100);
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Runs until stopped. `ready` is told when the first list is in.
pub(super) async fn run(containers: Arc<Containers>, stop: CancellationToken, ready: tokio::sync::oneshot::Sender<()>) {
    let (mut ready, mut backoff) = (Some(ready), BACKOFF.0);
    loop {
        let session = follow(&containers, &mut ready, &mut backoff);
        let error = tokio::select! {
            result = session => result.err(),
            () = stop.cancelled() => return,
        };
        tracing::debug!(error = error.map(|error| error.to_string()), "the event stream ended; subscribing again");
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            () = stop.cancelled() => return,
        }
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

/// One subscription, from the list that opens it to its end.
async fn follow(
    containers: &Arc<Containers>,
    ready: &mut Option<tokio::sync::oneshot::Sender<()>>,
    backoff: &mut Duration,
) -> Result<(), Error> {
    let client = &containers.client;
    let filters = vec![
        format!("namespace=={},topic~=\"^/tasks/(exit|oom)\"", client.namespace()),
        format!("namespace=={},topic==\"{HELLO}\"", client.namespace()),
    ];
    let request = client.request(SubscribeRequest { filters });
    let mut events = client.events();
    let mut opening = std::pin::pin!(events.subscribe(request));
    // containerd says nothing before the first event. One of our own proves that the subscription holds:
    // what ends after the list below cannot be missed.
    let opened = loop {
        tokio::select! {
            biased;
            opened = &mut opening => break opened,
            () = say_hello(containers) => {}
        }
    };
    let mut stream = opened.map_err(rpc("subscribe to events"))?.into_inner();
    resync(containers).await?;
    *backoff = BACKOFF.0;
    match ready.take() {
        Some(ready) => drop(ready.send(())),
        None => containers.announce(RuntimeEvent::Resync),
    }
    while let Some(envelope) = stream.message().await.map_err(rpc("read events"))? {
        handle(containers, &envelope);
    }
    Ok(())
}

/// Publishes an event and leaves it a moment to come back. It is said again only if it overtook the subscription.
async fn say_hello(containers: &Containers) {
    let event = Some(Any { type_url: "orch.io/hello".to_owned(), value: Vec::new() });
    let publish = PublishRequest { topic: HELLO.to_owned(), event };
    let client = &containers.client;
    if let Err(error) = client.events().publish(client.request(publish)).await {
        tracing::debug!(%error, "publishing an event");
    }
    tokio::time::sleep(HELLO_PATIENCE).await;
}

fn handle(containers: &Arc<Containers>, envelope: &Envelope) {
    let Some(event) = &envelope.event else { return };
    if envelope.topic == "/tasks/oom" {
        let Ok(oom) = TaskOom::decode(event.value.as_slice()) else { return };
        if let Some(entry) = containers.find(&oom.container_id) {
            entry.status.lock().oom = true;
            containers.announce(RuntimeEvent::Oom { id: oom.container_id });
        }
        return;
    }
    if envelope.topic != "/tasks/exit" {
        return;
    }
    let Ok(exit) = TaskExit::decode(event.value.as_slice()) else { return };
    // An exec'd process has an id of its own; those are waited for where they were started.
    if exit.id != exit.container_id {
        return;
    }
    let Some(entry) = containers.find(&exit.container_id) else { return };
    let containers = containers.clone();
    tokio::spawn(async move { containers.ended(&entry, exit.exit_status, exit.exited_at.as_ref()).await });
}

/// Makes memory agree with containerd: adopts what runs, records what ended unseen, forgets what is gone.
async fn resync(containers: &Arc<Containers>) -> Result<(), Error> {
    let before: Vec<String> = containers.all().iter().map(|entry| entry.record.id.clone()).collect();
    let client = &containers.client;
    let filters = vec![format!("labels.\"{MANAGED}\"==true")];
    let list = client.containers().list_stream(client.request(ListContainersRequest { filters })).await;
    let mut list = list.map_err(rpc("list containers"))?.into_inner();
    let mut present = HashSet::new();
    while let Some(message) = list.message().await.map_err(rpc("list containers"))? {
        let Some(container) = message.container else { continue };
        learn(containers, &container);
        present.insert(container.id);
    }
    // Only what was known before the list began: a container may have been made since.
    before.iter().filter(|id| !present.contains(*id)).for_each(|id| containers.forget(id));
    let unsettled: Vec<_> = containers.all().into_iter().filter(|entry| entry.status.lock().end.is_none()).collect();
    let settling = unsettled.iter().map(|entry| containers.settle(entry));
    for result in futures::future::join_all(settling).await {
        match result {
            Err(error @ Error::Unavailable { .. }) => return Err(error),
            Err(error) => tracing::warn!(%error, "a container's state is uncertain"),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn learn(containers: &Containers, container: &Container) {
    let Some(extension) = container.extensions.get(EXTENSION) else { return };
    if containers.find(&container.id).is_some() {
        return;
    }
    match serde_json::from_slice::<Record>(&extension.value) {
        Ok(record) => containers.insert(Entry::new(record, containers.status_file(&container.id))),
        Err(error) => tracing::warn!(container = container.id, %error, "a container whose record cannot be read"),
    }
}
