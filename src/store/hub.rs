//! The recent events, kept once for all watches, and the open watches themselves.
//!
//! The ring is bounded in events and bytes but never drops an event that is not on disk yet. A watch
//! has a bounded buffer; when it is full the watch is closed with [`Error::Compacted`], because its
//! reader can list again, and no event is ever skipped. Called by [`State`](super::state::State) under its lock.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{Error, Event, Result, Revision, Watch};

/// How much the hub may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub ring_events: usize,
    pub ring_bytes: usize,
    /// Events that wait for one watch's reader.
    pub watch_buffer: usize,
}

pub(super) struct Hub {
    limits: Limits,
    ring: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The ring holds every event newer than this.
    floor: Revision,
    watchers: Vec<Watcher>,
    /// Watches whose readers went away are looked for when there are this many.
    prune_at: usize,
    closed: bool,
}

/// The sending side of a watch.
pub(super) struct Watcher {
    prefix: Box<str>,
    events: mpsc::Sender<Result<Arc<Event>>>,
    /// Keeps a place in the buffer for the reason why the watch ended.
    end: mpsc::OwnedPermit<Result<Arc<Event>>>,
    /// Events up to this one were delivered.
    seen: Revision,
}

impl Watcher {
    /// A watch whose buffer has room for `room` events; they and the reason of its end never wait.
    pub fn new(prefix: &str, after: Revision, room: usize) -> (Self, Watch) {
        let (events, receiver) = mpsc::channel(room + 1);
        let end = events.clone().try_reserve_owned().unwrap_or_else(|_| unreachable!("a new channel has room"));
        (Self { prefix: prefix.into(), events, end, seen: after }, Watch { events: receiver })
    }

    pub fn seen(&self) -> Revision {
        self.seen
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Waits for room. False when the reader is gone.
    pub async fn send(&mut self, event: Arc<Event>) -> bool {
        self.seen = event.item.revision;
        self.events.send(Ok(event)).await.is_ok()
    }

    /// Nothing of the watch's interest lies between what it has seen and `revision`.
    pub fn skip_to(&mut self, revision: Revision) {
        self.seen = self.seen.max(revision);
    }

    pub fn end(self, error: Error) {
        self.end.send(Err(error));
    }
}

impl Hub {
    pub fn new(limits: Limits, floor: Revision) -> Self {
        Self { limits, ring: VecDeque::new(), bytes: 0, floor, watchers: Vec::new(), prune_at: 64, closed: false }
    }

    /// [`Hub::since`] is complete from here on.
    pub fn floor(&self) -> Revision {
        self.floor
    }

    pub fn publish<'a>(&mut self, events: impl Iterator<Item = &'a Arc<Event>>, durable: Revision) {
        for event in events {
            self.bytes += weight(event);
            self.ring.push_back(event.clone());
            let mut at = 0;
            while at < self.watchers.len() {
                if deliver(&mut self.watchers[at], event) {
                    at += 1;
                } else {
                    let watcher = self.watchers.swap_remove(at);
                    if !watcher.events.is_closed() {
                        let requested = watcher.seen;
                        watcher.end(Error::Compacted { requested, oldest: event.item.revision });
                    }
                }
            }
        }
        while self.ring.len() > self.limits.ring_events || self.bytes > self.limits.ring_bytes {
            match self.ring.front() {
                Some(event) if event.item.revision <= durable => self.forget_first(),
                _ => break,
            }
        }
    }

    /// Drops events up to `revision`.
    pub fn forget(&mut self, revision: Revision) {
        while self.ring.front().is_some_and(|event| event.item.revision <= revision) {
            self.forget_first();
        }
        self.floor = self.floor.max(revision);
    }

    fn forget_first(&mut self) {
        if let Some(event) = self.ring.pop_front() {
            self.bytes -= weight(&event);
            self.floor = event.item.revision;
        }
    }

    /// The events under `prefix` that are newer than `after`, as far as the ring goes back.
    pub fn since<'a>(&'a self, prefix: &'a str, after: Revision) -> impl Iterator<Item = &'a Arc<Event>> {
        let first = self.ring.partition_point(|event| event.item.revision <= after);
        self.ring.range(first..).filter(move |event| event.item.key.starts_with(prefix))
    }

    /// A watch that begins in the ring; `None` when `after` is older than that.
    pub fn watch(&mut self, prefix: &str, after: Revision) -> Option<Watch> {
        if after < self.floor {
            return None;
        }
        let room = self.since(prefix, after).count() + self.limits.watch_buffer;
        let (watcher, watch) = Watcher::new(prefix, after, room);
        // Room for all of them was made.
        let _ = self.attach(watcher);
        Some(watch)
    }

    pub fn new_watcher(&self, prefix: &str, after: Revision) -> (Watcher, Watch) {
        Watcher::new(prefix, after, self.limits.watch_buffer)
    }

    /// Lets the hub feed a watch from now on, unless what it has yet to see is no longer in the ring or does not
    /// fit into its buffer; then the watcher comes back.
    pub fn attach(&mut self, mut watcher: Watcher) -> std::result::Result<(), Watcher> {
        if watcher.seen < self.floor || self.since(&watcher.prefix, watcher.seen).count() > watcher.events.capacity() {
            return Err(watcher);
        }
        let events: Vec<_> = self.since(&watcher.prefix, watcher.seen).cloned().collect();
        for event in &events {
            deliver(&mut watcher, event);
        }
        if self.closed {
            watcher.end(Error::Closed);
            return Ok(());
        }
        if self.watchers.len() >= self.prune_at {
            self.watchers.retain(|watcher| !watcher.events.is_closed());
            self.prune_at = (self.watchers.len() * 2).max(64);
        }
        self.watchers.push(watcher);
        Ok(())
    }

    /// Ends every watch, also those that would begin later.
    pub fn close(&mut self) {
        self.closed = true;
        for watcher in self.watchers.drain(..) {
            watcher.end(Error::Closed);
        }
    }
}

/// False when the watch has to end: its reader is gone or has fallen behind.
fn deliver(watcher: &mut Watcher, event: &Arc<Event>) -> bool {
    if event.item.revision <= watcher.seen || !event.item.key.starts_with(&*watcher.prefix) {
        return true;
    }
    match watcher.events.try_send(Ok(event.clone())) {
        Ok(()) => {
            watcher.seen = event.item.revision;
            true
        }
        Err(TrySendError::Full(_) | TrySendError::Closed(_)) => false,
    }
}

fn weight(event: &Event) -> usize {
    event.item.value.len() + event.previous.as_ref().map_or(0, |previous| previous.value.len())
}
