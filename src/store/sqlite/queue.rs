//! The bounded queue in front of the writer thread.
//!
//! Producers are async tasks that wait for a place without blocking a thread; the one consumer is a
//! thread that sleeps until there is work, until a deadline, or until the queue is closed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What waits in the queue, with the place it holds there until it is dropped.
pub(super) struct Queued<T> {
    pub command: T,
    pub place: OwnedSemaphorePermit,
}

pub(super) struct Queue<T> {
    places: Arc<Semaphore>,
    inner: Mutex<Inner<T>>,
    wake: Condvar,
}

struct Inner<T> {
    waiting: VecDeque<Queued<T>>,
    /// The consumer sleeps until so many wait.
    wanted: usize,
    closed: bool,
}

/// What is worth waiting for when there is work already: the writers of the last batch are probably about to
/// send their next write, and a transaction of its own for the first of them would make all others wait for two.
#[derive(Clone, Copy, Default)]
pub(super) struct Gather {
    pub commands: usize,
    pub patience: Duration,
}

impl<T> Queue<T> {
    pub fn new(places: usize) -> Self {
        let inner = Mutex::new(Inner { waiting: VecDeque::new(), wanted: 1, closed: false });
        Self { places: Arc::new(Semaphore::new(places)), inner, wake: Condvar::new() }
    }

    /// False when the queue is closed.
    pub async fn push(&self, command: T) -> bool {
        let Ok(place) = self.places.clone().acquire_owned().await else { return false };
        let mut inner = self.inner.lock();
        if inner.closed {
            return false;
        }
        inner.waiting.push_back(Queued { command, place });
        let enough = inner.waiting.len() >= inner.wanted;
        drop(inner);
        if enough {
            self.wake.notify_one();
        }
        true
    }

    pub fn is_closed(&self) -> bool {
        self.places.is_closed()
    }

    /// Nothing enters any more; what is in the queue is still taken.
    pub fn close(&self) {
        self.places.close();
        self.inner.lock().closed = true;
        self.wake.notify_one();
    }

    /// Up to `most` commands; empty when `deadline` came first, `None` when closed and empty.
    pub fn take(&self, deadline: Option<Instant>, most: usize, gather: Gather) -> Option<Vec<Queued<T>>> {
        let mut inner = self.inner.lock();
        while inner.waiting.is_empty() {
            if inner.closed {
                return None;
            }
            match deadline {
                None => self.wake.wait(&mut inner),
                Some(deadline) => {
                    if self.wake.wait_until(&mut inner, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        if (1..gather.commands).contains(&inner.waiting.len()) && !inner.closed {
            inner.wanted = gather.commands.min(most);
            self.wake.wait_for(&mut inner, gather.patience);
            inner.wanted = 1;
        }
        let count = inner.waiting.len().min(most);
        Some(inner.waiting.drain(..count).collect())
    }
}
