//! Events: what controllers, scheduler and kubelet tell people about an object.
//!
//! An event that repeats is counted in the one already there (`count`, `lastTimestamp`) instead of being
//! written anew; a source that says too much about an object is cut off, as upstream's correlator does.
//! Recording never waits and never fails: events are for people, nothing may depend on one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use tokio::sync::mpsc;

use super::clock::{Clock, time};

/// Events that wait to be written; more are dropped.
const WAITING: usize = 1000;
/// Remembered events, as upstream.
const REMEMBERED: usize = 4096;
/// A source may say so much at once about an object, then one thing in five minutes.
const BURST: f64 = 25.0;
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What is recorded, before it has a name.
#[derive(Clone, Debug)]
struct Recorded {
    source: Arc<EventSource>,
    about: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
    action: Option<String>,
    at: Timestamp,
}

/// Where all recorders of a process send to. One task writes; it ends with the last recorder.
#[derive(Clone)]
pub struct EventSink {
    queue: mpsc::Sender<Recorded>,
    clock: Clock,
}

impl EventSink {
    pub fn start(client: Client, clock: Clock) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(write_all(client, waiting));
        Self { queue, clock }
    }

    /// A recorder for a component: `deployment-controller`, `default-scheduler`, `kubelet` on a host.
    pub fn recorder(&self, component: &str, host: Option<&str>) -> Recorder {
        let source = EventSource { component: Some(component.to_owned()), host: host.map(str::to_owned) };
        Recorder { sink: self.clone(), source: Arc::new(source) }
    }
}

/// Records events in the name of one component. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    sink: EventSink,
    source: Arc<EventSource>,
}

impl Recorder {
    /// An event about `object`.
    pub fn event<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.event_at(reference(object), kind, reason, message);
    }

    /// The same about a reference, such as one with a `fieldPath` (`spec.containers{app}`).
    pub fn event_at(&self, about: ObjectReference, kind: EventType, reason: &str, message: impl Into<String>) {
        self.record(about, kind, reason, message.into(), None);
    }

    /// With what was done or tried, as events.k8s.io has it (`Binding`, `Scheduling`).
    pub fn event_with_action(
        &self,
        about: ObjectReference,
        kind: EventType,
        reason: &str,
        action: &str,
        message: impl Into<String>,
    ) {
        self.record(about, kind, reason, message.into(), Some(action.to_owned()));
    }

    fn record(&self, about: ObjectReference, kind: EventType, reason: &str, message: String, action: Option<String>) {
        let (source, reason, at) = (self.source.clone(), reason.to_owned(), self.sink.clock.now());
        let recorded = Recorded { source, about, kind, reason, message, action, at };
        if self.sink.queue.try_send(recorded).is_err() {
            tracing::debug!("an event was dropped: the queue is full or closed");
        }
    }
}

/// The reference that an event carries to its object.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

#[derive(Debug)]
struct Known {
    name: String,
    count: i32,
    first: Timestamp,
}

/// What was written before, within bounds.
#[derive(Default)]
struct Memory {
    known: HashMap<String, Known>,
    order: VecDeque<String>,
    /// Tokens left and when they were counted, by source and object.
    budget: HashMap<String, (f64, Timestamp)>,
}

/// What is to be written for a recorded event.
#[derive(Debug, PartialEq, Eq)]
enum Write {
    Nothing,
    Create { name: String },
    Count { name: String, count: i32, first: Timestamp },
}

impl Memory {
    fn plan(&mut self, event: &Recorded) -> Write {
        if !self.affords(event) {
            return Write::Nothing;
        }
        let same = sameness(event);
        if let Some(known) = self.known.get_mut(&same) {
            known.count += 1;
            return Write::Count { name: known.name.clone(), count: known.count, first: known.first };
        }
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        let name = event_name(event);
        self.known.insert(same.clone(), Known { name: name.clone(), count: 1, first: event.at });
        self.order.push_back(same);
        Write::Create { name }
    }

    /// The event is not there (any more): the next one is written anew.
    fn forget(&mut self, event: &Recorded) {
        let same = sameness(event);
        if self.known.remove(&same).is_some() {
            self.order.retain(|other| *other != same);
        }
    }

    fn affords(&mut self, event: &Recorded) -> bool {
        if self.budget.len() >= REMEMBERED {
            self.budget.clear();
        }
        let spender = spender(event);
        let (tokens, counted) = self.budget.entry(spender).or_insert((BURST, event.at));
        let passed = event.at.duration_since(*counted).as_secs_f64().max(0.0);
        *tokens = (*tokens + passed * REFILL_PER_SECOND).min(BURST);
        *counted = event.at;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }
}

fn spender(event: &Recorded) -> String {
    let about = &event.about;
    let parts = [&event.source.component, &event.source.host, &about.kind, &about.namespace, &about.name, &about.uid];
    parts.map(|part| part.as_deref().unwrap_or_default()).join("\0")
}

fn sameness(event: &Recorded) -> String {
    let path = event.about.field_path.as_deref().unwrap_or_default();
    [&spender(event), path, event.kind.as_str(), &event.reason, &event.message].join("\0")
}

/// The object's name and the time in hexadecimal nanoseconds.
fn event_name(event: &Recorded) -> String {
    format!("{}.{:x}", event.about.name.as_deref().unwrap_or_default(), event.at.as_nanosecond())
}

fn namespace(event: &Recorded) -> &str {
    event.about.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default")
}

fn first_event(event: &Recorded, name: String, count: i32, first: Timestamp) -> Event {
    let mut object = Event {
        involved_object: event.about.clone(),
        type_: Some(event.kind.as_str().to_owned()),
        reason: Some(event.reason.clone()),
        message: Some(event.message.clone()),
        action: event.action.clone(),
        source: Some((*event.source).clone()),
        reporting_component: event.source.component.clone(),
        reporting_instance: Some(event.source.host.clone().unwrap_or_default()),
        count: Some(count),
        first_timestamp: Some(time(first)),
        last_timestamp: Some(time(event.at)),
        ..Event::default()
    };
    object.metadata.name = Some(name);
    object.metadata.namespace = Some(namespace(event).to_owned());
    object
}

async fn write_all(client: Client, mut waiting: mpsc::Receiver<Recorded>) {
    let mut memory = Memory::default();
    while let Some(event) = waiting.recv().await {
        let api: Api<Event> = Api::namespaced(client.clone(), namespace(&event));
        let outcome = match memory.plan(&event) {
            Write::Nothing => continue,
            Write::Create { name } => create(&api, first_event(&event, name, 1, event.at)).await,
            Write::Count { name, count, first } => {
                let patch = json!({"count": count, "lastTimestamp": time(event.at), "message": event.message});
                let patched = api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
                match patched {
                    // It expired: the same event again, under a new name.
                    Err(kube::Error::Api(status)) if status.code == 404 => {
                        memory.forget(&event);
                        match memory.plan(&event) {
                            Write::Create { name } => create(&api, first_event(&event, name, count, first)).await,
                            _ => Ok(()),
                        }
                    }
                    other => other.map(drop),
                }
            }
        };
        if let Err(error) = outcome {
            memory.forget(&event);
            tracing::debug!(%error, reason = event.reason, "an event was not written");
        }
    }
}

async fn create(api: &Api<Event>, event: Event) -> Result<(), kube::Error> {
    api.create(&PostParams::default(), &event).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(message: &str, second: i64) -> Recorded {
        Recorded {
            source: Arc::default(),
            about: ObjectReference { name: Some("web".to_owned()), ..ObjectReference::default() },
            kind: EventType::Normal,
            reason: "Tested".to_owned(),
            message: message.to_owned(),
            action: None,
            at: Timestamp::from_second(second).expect("a valid second"),
        }
    }

    #[test]
    fn repeats_are_counted() {
        let mut memory = Memory::default();
        let name = "web.2540be400".to_owned();
        assert_eq!(memory.plan(&recorded("a", 10)), Write::Create { name: name.clone() });
        let first = recorded("a", 10).at;
        assert_eq!(memory.plan(&recorded("a", 20)), Write::Count { name: name.clone(), count: 2, first });
        assert!(matches!(memory.plan(&recorded("b", 20)), Write::Create { .. }));
        memory.forget(&recorded("a", 20));
        assert!(matches!(memory.plan(&recorded("a", 30)), Write::Create { .. }));
    }

    #[test]
    fn a_chatterbox_is_cut_off_and_recovers() {
        let mut memory = Memory::default();
        let written = (0..100).filter(|_| memory.plan(&recorded("a", 10)) != Write::Nothing).count();
        assert_eq!(written, 25);
        assert_ne!(memory.plan(&recorded("a", 311)), Write::Nothing);
        assert_eq!(memory.plan(&recorded("a", 311)), Write::Nothing);
    }
}
