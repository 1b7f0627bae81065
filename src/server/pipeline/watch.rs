//! WATCH: the events of a range since a revision, through selectors, with bookmarks.
//!
//! Never skips an event: when the store closes the watch because its reader was too slow, the
//! stream ends with an ERROR event of 410, and the client lists again.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::commit::store_failure;
use super::options::ListOptions;
use super::selection::Selection;
use super::{Context, Pipeline};
use crate::api::status::{Failure, Result};
use crate::store::{self, Event, EventKind, Item};

/// One line of a watch.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    pub kind: WatchKind,
    /// JSON: the object, or a Status for an error.
    pub object: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

impl WatchKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
            Self::Error => "ERROR",
        }
    }
}

/// About how often an idle watch is told the current revision.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long before its end a watch is told the revision once more, so that its client can go on from there.
const BEFORE_END: Duration = Duration::from_secs(2);
/// The shortest time a watch without a timeout lasts; the longest is twice that.
const MIN_TIMEOUT: u64 = 1800;

/// An open watch: call [`Self::next`] until `None`.
pub struct WatchStream {
    context: Context,
    selection: Selection,
    prefix: String,
    pipeline: std::sync::Arc<Pipeline>,
    source: store::Watch,
    /// Events to give before those of the source.
    ready: VecDeque<WatchEvent>,
    bookmarks: Option<tokio::time::Interval>,
    /// When the last bookmark is due, just before the end.
    last_bookmark: Option<Instant>,
    deadline: Instant,
    /// Nothing up to this revision is wanted; it may lie in the future.
    asked: u64,
    /// Everything up to this revision was given.
    seen: u64,
    ended: bool,
}

impl Pipeline {
    pub async fn watch(self: &std::sync::Arc<Self>, context: Context, options: &ListOptions) -> Result<WatchStream> {
        let selection = Selection::parse(&*context.kind, options)?;
        let prefix = selection.prefix(&context);
        let current = self.store.revision();
        let version = options.resource_version.unwrap_or(0);
        let initial = options.send_initial_events.unwrap_or(version == 0);
        let mut ready = VecDeque::new();
        // One from the future waits for what comes after that.
        let mut after = version.min(current);
        let mut ended = false;
        let fresh = if initial { self.reached(version).await } else { Ok(()) };
        if let Err(failure) = fresh {
            ended = true;
            ready.push_back(error_event(&failure));
        } else if initial {
            after = self.initial(&context, &selection, &prefix, &mut ready).await?;
            if options.send_initial_events == Some(true) && options.bookmarks {
                ready.push_back(bookmark(&context, after, true));
            }
        } else if version == 0 {
            after = current;
        }
        let source = match self.store.watch(&prefix, after).await {
            Err(error @ store::Error::Compacted { .. }) => {
                // As upstream: the stream opens and says why it ends.
                ended = true;
                ready.push_back(error_event(&watch_failure(&error)));
                store::Watch { events: tokio::sync::mpsc::channel(1).1 }
            }
            source => source.map_err(|error| store_failure(&error))?,
        };
        let now = Instant::now();
        let deadline = now + lifetime(options);
        let bookmarks = options.bookmarks.then(|| {
            let mut timer = interval_at(now + BOOKMARK_EVERY, BOOKMARK_EVERY);
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            timer
        });
        let last_bookmark = deadline.checked_sub(BEFORE_END).filter(|due| options.bookmarks && *due > now);
        let pipeline = self.clone();
        Ok(WatchStream {
            context,
            selection,
            prefix,
            pipeline,
            source,
            ready,
            bookmarks,
            last_bookmark,
            deadline,
            asked: version,
            seen: after.max(version),
            ended,
        })
    }

    /// What exists already, as ADDED events. Gives the revision they show.
    async fn initial(
        &self,
        context: &Context,
        selection: &Selection,
        prefix: &str,
        ready: &mut VecDeque<WatchEvent>,
    ) -> Result<u64> {
        let page = self.store.list(prefix, store::ListOptions::default()).await;
        let page = page.map_err(|error| store_failure(&error))?;
        for item in page.items.iter().filter(|item| in_range(prefix, item)) {
            if selection.matches(&*context.kind, &item.value)? {
                let object = self.present(context, &item.value)?;
                ready.push_back(WatchEvent { kind: WatchKind::Added, object });
            }
        }
        Ok(page.revision)
    }
}

/// How long the watch lasts: as asked, else something between half an hour and an hour, so that not all end at once.
fn lifetime(options: &ListOptions) -> Duration {
    let seconds = options.timeout_seconds.filter(|seconds| *seconds > 0).unwrap_or_else(|| {
        let mut random = [0u8; 8];
        // Without randomness all watches end at the same age, which is harmless.
        let _ = getrandom::fill(&mut random);
        MIN_TIMEOUT + u64::from_le_bytes(random) % MIN_TIMEOUT
    });
    Duration::from_secs(seconds.min(u64::from(u32::MAX)))
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The range of one object's key also holds the keys that begin with it.
fn in_range(prefix: &str, item: &Item) -> bool {
    prefix.ends_with('/') || *item.key == *prefix
}

impl WatchStream {
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The next event; `None` at the end of the watch.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            let bookmark_due = async {
                match &mut self.bookmarks {
                    Some(timer) => timer.tick().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = self.source.events.recv() => self.accept(event),
                _ = bookmark_due => self.mark(),
                () = at(self.last_bookmark) => {
                    self.last_bookmark = None;
                    self.mark();
                }
                () = sleep_until(self.deadline) => self.ended = true,
            }
        }
    }

    fn accept(&mut self, event: Option<store::Result<std::sync::Arc<Event>>>) {
        let Some(event) = event else {
            self.ended = true;
            return;
        };
        let translated = match event {
            Ok(event) if event.item.revision <= self.asked => return,
            Ok(event) => {
                self.seen = event.item.revision;
                self.translate(&event)
            }
            Err(error) => {
                self.ended = true;
                // A stopping server just ends its watches; clients come back by themselves.
                let closed = matches!(error, store::Error::Closed);
                Ok((!closed).then(|| error_event(&watch_failure(&error))))
            }
        };
        match translated {
            Ok(event) => self.ready.extend(event),
            Err(failure) => {
                self.ended = true;
                self.ready.push_back(error_event(&failure));
            }
        }
    }

    /// What a committed write means to somebody who sees only what the selectors let through.
    fn translate(&self, event: &Event) -> Result<Option<WatchEvent>> {
        if !in_range(&self.prefix, &event.item) {
            return Ok(None);
        }
        let kind = &*self.context.kind;
        let matches = |item: &Item| self.selection.matches(kind, &item.value);
        let before = match &event.previous {
            Some(previous) => matches(previous)?,
            None => false,
        };
        let after = event.kind != EventKind::Deleted && matches(&event.item)?;
        let kind = match (before, after) {
            (false, false) => return Ok(None),
            (false, true) => WatchKind::Added,
            (true, true) => WatchKind::Modified,
            (true, false) => WatchKind::Deleted,
        };
        let object = match &event.previous {
            // It left the selection: its last state inside, at the revision of the change.
            Some(previous) if kind == WatchKind::Deleted && event.kind != EventKind::Deleted => {
                restamp(&previous.value, event.item.revision)?
            }
            _ => event.item.value.clone(),
        };
        Ok(Some(WatchEvent { kind, object: self.pipeline.present(&self.context, &object)? }))
    }

    /// Queues a bookmark once everything before it was given.
    fn mark(&mut self) {
        // Events up to this revision are in the buffer already (a guarantee of the store).
        let revision = self.pipeline.store.revision();
        while let Ok(event) = self.source.events.try_recv() {
            self.accept(Some(event));
        }
        if !self.ended {
            self.seen = self.seen.max(revision);
            self.ready.push_back(bookmark(&self.context, self.seen, false));
        }
    }
}

/// The same object at another revision.
fn restamp(object: &Bytes, revision: u64) -> Result<Bytes> {
    let mut value: Value = serde_json::from_slice(object).map_err(Failure::internal)?;
    value["metadata"]["resourceVersion"] = Value::String(revision.to_string());
    serde_json::to_vec(&value).map(Bytes::from).map_err(Failure::internal)
}

/// The state up to `revision` has been sent; `initial` marks the end of the initial events.
fn bookmark(context: &Context, revision: u64, initial: bool) -> WatchEvent {
    let meta = context.kind.meta();
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if initial {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = json!({"kind": meta.kind, "apiVersion": meta.api_version(), "metadata": metadata});
    WatchEvent { kind: WatchKind::Bookmark, object: object.to_string().into() }
}

fn watch_failure(error: &store::Error) -> Failure {
    match error {
        store::Error::Compacted { requested, oldest } => {
            Failure::expired(format!("too old resource version: {requested} ({oldest})"))
        }
        other => store_failure(other),
    }
}

fn error_event(failure: &Failure) -> WatchEvent {
    let object = serde_json::to_vec(&failure.0).unwrap_or_default();
    WatchEvent { kind: WatchKind::Error, object: object.into() }
}
