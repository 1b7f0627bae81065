//! What a watch saw last, kept on disk for times without a server: a node that restarts then goes on with the pods,
//! Services and Nodes that it knew.
//!
//! *Flow.* Every event of the inner watch passes through; its content goes to the [`journal`] first, so that nobody acts
//! on what could not be told again. When the watch fails, or says nothing for a while, *before its first list* and there is a
//! memory, that is given once as a list. The server's own list, when it comes, is a list like any other.
//!
//! *Guarantees.* Without a memory nothing is given: a failure is never an empty list. After the server has listed once the
//! memory is never given again in this process. [`Remembered::confirmed`] tells the two kinds of list apart, for
//! those who would take something away because it is not in the list.

pub mod journal;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::ResourceExt;
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::informer::Cached;
use super::relist::Events;
use journal::Journal;

/// A server that is there has listed by then; one behind a dead line may never even refuse.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where and how a watch is remembered.
#[derive(Clone, Debug)]
pub struct Memory {
    pub file: PathBuf,
    /// JSON pointers to what changes all the time and nobody needs without a server.
    pub without: &'static [&'static str],
    /// Whether a deletion must never be forgotten, not even in a power cut.
    pub synced: bool,
}

/// A watch with a memory.
pub struct Remembered<K> {
    events: Events<K>,
    confirmed: watch::Receiver<bool>,
}

impl<K> Remembered<K> {
    /// True from the moment on when the server's own list passes.
    pub fn confirmed(&self) -> watch::Receiver<bool> {
        self.confirmed.clone()
    }
}

impl<K> Stream for Remembered<K> {
    type Item = watcher::Result<Event<K>>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_next_unpin(cx)
    }
}

/// Remembers what `events` says, and says it again when it fails at first. Without a `memory` it only confirms.
pub fn remembered<K: Cached>(events: Events<K>, memory: Option<Memory>) -> Remembered<K> {
    let (sender, confirmed) = watch::channel(false);
    let Some(memory) = memory else {
        let confirm = move |event: &watcher::Result<Event<K>>| {
            if matches!(event, Ok(Event::InitDone)) {
                sender.send_replace(true);
            }
        };
        return Remembered { events: events.inspect(confirm).boxed(), confirmed };
    };
    let state = Adapter {
        events,
        journal: Some(Journal::new(memory.file.clone(), memory.synced)),
        recall: true,
        memory,
        told: VecDeque::new(),
        list: List::None,
        deadline: Instant::now() + PATIENCE,
        confirmed: sender,
    };
    let events = futures::stream::unfold(state, |mut state| async move { Some((state.next().await?, state)) });
    Remembered { events: events.boxed(), confirmed }
}

/// How far the inner watch is with a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    None,
    Begun,
    /// Objects of it have passed already.
    Flowing,
}

struct Adapter<K> {
    events: Events<K>,
    memory: Memory,
    /// Away while it waits for the disk.
    journal: Option<Journal>,
    /// The memory may still be given.
    recall: bool,
    /// Events of the memory that wait for their turn.
    told: VecDeque<Event<K>>,
    list: List,
    deadline: Instant,
    confirmed: watch::Sender<bool>,
}

impl<K: Cached> Adapter<K> {
    async fn next(&mut self) -> Option<watcher::Result<Event<K>>> {
        loop {
            if let Some(event) = self.told.pop_front() {
                return Some(Ok(event));
            }
            let waiting = self.recall && self.list != List::Flowing;
            tokio::select! {
                event = self.events.next() => {
                    let event = event?;
                    match &event {
                        Ok(event) => self.note(event).await,
                        Err(_) => {
                            self.list = List::None;
                            self.recall().await;
                        }
                    }
                    return Some(event);
                }
                () = tokio::time::sleep_until(self.deadline), if waiting => self.recall().await,
            }
        }
    }

    /// Gives the memory, once and if there is one.
    async fn recall(&mut self) {
        if !std::mem::take(&mut self.recall) {
            return;
        }
        let memory = self.memory.clone();
        let read = tokio::task::spawn_blocking(move || objects::<K>(&memory)).await.map_err(io::Error::other).flatten();
        let kind = K::kind(&());
        match read {
            Ok(Some(objects)) => {
                tracing::warn!(%kind, count = objects.len(), "the server does not answer; going on with what it said last");
                self.told.push_back(Event::Init);
                self.told.extend(objects.into_iter().map(Event::InitApply));
                self.told.push_back(Event::InitDone);
                // The list that the server has begun goes on after this one.
                self.told.extend((self.list == List::Begun).then_some(Event::Init));
            }
            Ok(None) => tracing::warn!(%kind, "the server does not answer, and nothing is remembered of it; waiting"),
            Err(error) => tracing::warn!(%kind, %error, "the memory cannot be used"),
        }
    }

    /// Writes down what an event says.
    async fn note(&mut self, event: &Event<K>) {
        let object = match event {
            Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => Some(object),
            Event::Init | Event::InitDone => None,
        };
        let Some(mut journal) = self.journal.take() else { return self.follow(event) };
        let told = object.map(|object| (key(object), text(object, self.memory.without)));
        let (key, text) = told.unwrap_or_default();
        let result = match event {
            Event::Init => journal.begin(),
            Event::InitApply(_) => journal.list(&key, &text),
            Event::Apply(_) if !journal.is_long() => journal.put(&key, &text),
            // These wait for the disk.
            _ => {
                let step = Step::of(event);
                let work = move || (step.carry_out(&mut journal, &key, &text), journal);
                match tokio::task::spawn_blocking(work).await {
                    Ok((result, returned)) => {
                        journal = returned;
                        result
                    }
                    // The process is ending.
                    Err(_) => return self.follow(event),
                }
            }
        };
        if let Err(error) = result {
            tracing::warn!(kind = %K::kind(&()), %error, "what the server says cannot be remembered");
            journal.forget();
        }
        self.journal = Some(journal);
        self.follow(event);
    }

    /// Keeps count of the inner watch's lists.
    fn follow(&mut self, event: &Event<K>) {
        match event {
            Event::Init => self.list = List::Begun,
            Event::InitApply(_) => self.list = List::Flowing,
            Event::InitDone => {
                self.list = List::None;
                self.recall = false;
                self.confirmed.send_replace(true);
            }
            Event::Apply(_) | Event::Delete(_) => {}
        }
    }
}

/// What is done off the event loop.
#[derive(Clone, Copy)]
enum Step {
    Finish,
    Remove,
    PutAndFold,
}

impl Step {
    fn of<K>(event: &Event<K>) -> Self {
        match event {
            Event::Delete(_) => Self::Remove,
            Event::Apply(_) => Self::PutAndFold,
            Event::Init | Event::InitApply(_) | Event::InitDone => Self::Finish,
        }
    }

    fn carry_out(self, journal: &mut Journal, key: &str, text: &str) -> io::Result<()> {
        match self {
            Self::Finish => journal.finish(),
            Self::Remove => journal.remove(key),
            Self::PutAndFold => {
                journal.put(key, text)?;
                journal.fold()
            }
        }
    }
}

fn objects<K: Cached>(memory: &Memory) -> io::Result<Option<Vec<K>>> {
    let Some(content) = journal::read(&memory.file)? else { return Ok(None) };
    content
        .objects()
        .into_values()
        .map(|text| serde_json::from_str(text).map_err(io::Error::from))
        .collect::<io::Result<_>>()
        .map(Some)
}

/// Namespace and name.
fn key(object: &impl ResourceExt) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// The object as it is remembered: without what only the server can use, and without what is not worth a write.
fn text<K: Cached>(object: &K, without: &[&str]) -> String {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    for pointer in ["/metadata/managedFields", "/metadata/resourceVersion"].iter().chain(without) {
        let Some((parent, field)) = pointer.rsplit_once('/') else { continue };
        if let Some(Value::Object(fields)) = value.pointer_mut(parent) {
            fields.remove(field);
        }
    }
    value.to_string()
}

#[cfg(test)]
mod tests;
