//! Who runs and who waits: the seats of each level and the queues in front of them.
//!
//! A level that is full may run what others do not use of what they lend. Queues are dealt to flows by shuffle sharding, so
//! that one busy flow fills few of them; they are emptied in turn. Nothing here knows of requests.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::config::{Full, Level, Limit};

/// A quarter of the time that a request may take (upstream's rule).
const PATIENCE: Duration = Duration::from_secs(15);

/// Why somebody got no seat, in the words of upstream's metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No seat, and nobody may wait.
    ConcurrencyLimit,
    QueueFull,
    TimeOut,
}

impl Refused {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::QueueFull => "queue-full",
            Self::TimeOut => "time-out",
        }
    }
}

struct Waiter {
    id: u64,
    width: usize,
    seat: oneshot::Sender<Seat>,
}

#[derive(Default)]
struct Room {
    limit: Option<Limit>,
    requests: usize,
    /// The seats that they have.
    running: usize,
    queues: Vec<VecDeque<Waiter>>,
    waiting: usize,
    /// The queue whose turn is next.
    next: usize,
}

#[derive(Default)]
struct State {
    rooms: HashMap<Arc<str>, Room>,
    next_id: u64,
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Seats(Arc<Mutex<State>>);

/// Lets one request run; the next one takes its place when this is dropped.
pub struct Seat {
    seats: Seats,
    level: Arc<str>,
    width: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let granted = {
            let mut state = self.seats.0.lock();
            if let Some(room) = state.rooms.get_mut(&self.level) {
                room.running = room.running.saturating_sub(self.width);
                room.requests = room.requests.saturating_sub(1);
            }
            self.seats.grant(&mut state)
        };
        hand_over(granted);
    }
}

/// Outside of the lock: a seat that nobody takes any more comes back at once.
fn hand_over(granted: Vec<(oneshot::Sender<Seat>, Seat)>) {
    for (waiter, seat) in granted {
        let _ = waiter.send(seat);
    }
}

impl Seats {
    /// From now on these are the levels. Who runs or waits goes on.
    pub fn configure(&self, levels: &[Level]) {
        let granted = {
            let mut state = self.0.lock();
            for level in levels {
                state.rooms.entry(level.name.clone()).or_default().limit = level.limit;
            }
            let known = |name: &Arc<str>| levels.iter().any(|level| level.name == *name);
            state.rooms.retain(|name, room| known(name) || room.running > 0 || room.waiting > 0);
            self.grant(&mut state)
        };
        hand_over(granted);
    }

    /// So many seats in a limited level, after waiting where that is allowed.
    pub async fn take(&self, level: &Arc<str>, flow: u64, width: usize) -> Result<Seat, Refused> {
        let (id, queue, seat) = {
            let mut state = self.0.lock();
            let room = state.rooms.entry(level.clone()).or_default();
            let empty = room.waiting == 0;
            if empty && state.has_seats(level, width) {
                return Ok(self.seat(&mut state, level, width));
            }
            state.next_id += 1;
            let id = state.next_id;
            let (queue, seat) = state.enqueue(level, flow, id, width)?;
            (id, queue, seat)
        };
        let mut place = Place { seats: self, level, queue, id, done: false };
        let outcome = timeout(PATIENCE, seat).await;
        match outcome {
            Ok(Ok(seat)) => {
                place.done = true;
                Ok(seat)
            }
            _ => Err(Refused::TimeOut),
        }
    }

    fn seat(&self, state: &mut State, level: &Arc<str>, width: usize) -> Seat {
        if let Some(room) = state.rooms.get_mut(level) {
            room.running += width;
            room.requests += 1;
        }
        Seat { seats: self.clone(), level: level.clone(), width }
    }

    /// Gives free seats to who waits.
    fn grant(&self, state: &mut State) -> Vec<(oneshot::Sender<Seat>, Seat)> {
        let mut granted = Vec::new();
        let waiting = state.rooms.iter().filter(|(_, room)| room.waiting > 0).map(|(name, _)| name.clone());
        for level in waiting.collect::<Vec<_>>() {
            while let Some(width) = state.rooms.get(&level).and_then(Room::next_width)
                && state.has_seats(&level, width)
            {
                let Some(waiter) = state.rooms.get_mut(&level).and_then(Room::pop) else { break };
                if !waiter.seat.is_closed() {
                    granted.push((waiter.seat, self.seat(state, &level, width)));
                }
            }
        }
        granted
    }
}

/// Leaves its queue when whoever waits gives up.
struct Place<'a> {
    seats: &'a Seats,
    level: &'a Arc<str>,
    queue: usize,
    id: u64,
    done: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut state = self.seats.0.lock();
        let Some(room) = state.rooms.get_mut(self.level) else { return };
        let Some(queue) = room.queues.get_mut(self.queue) else { return };
        let before = queue.len();
        queue.retain(|waiter| waiter.id != self.id);
        room.waiting -= before - queue.len();
    }
}

impl State {
    fn has_seats(&self, level: &str, width: usize) -> bool {
        let Some(room) = self.rooms.get(level) else { return true };
        let Some(limit) = room.limit else { return true };
        let wanted = room.running + width;
        // What is wider than the level runs alone.
        let alone = room.running == 0 && width > limit.seats && limit.seats > 0;
        if wanted <= limit.seats || alone {
            return true;
        }
        let borrowed = wanted - limit.seats.max(room.running);
        wanted <= limit.seats.saturating_add(limit.borrowable) && self.spare(level) >= borrowed
    }

    /// What the others lend and nobody has borrowed.
    fn spare(&self, level: &str) -> usize {
        let (mut lent, mut borrowed) = (0, 0);
        for (name, room) in &self.rooms {
            let Some(limit) = room.limit else { continue };
            borrowed += room.running.saturating_sub(limit.seats);
            if **name != *level {
                lent += limit.seats.saturating_sub(room.running).min(limit.lendable);
            }
        }
        lent.saturating_sub(borrowed)
    }

    fn enqueue(
        &mut self,
        level: &Arc<str>,
        flow: u64,
        id: u64,
        width: usize,
    ) -> Result<(usize, oneshot::Receiver<Seat>), Refused> {
        let room = self.rooms.entry(level.clone()).or_default();
        let Some(Limit { full: Full::Queue { queues, hand, length }, .. }) = room.limit else {
            return Err(Refused::ConcurrencyLimit);
        };
        // Queues that are no longer dealt are emptied, not dropped.
        room.queues.resize_with(queues.max(room.queues.len()), VecDeque::new);
        let dealt = deal(flow, queues, hand);
        let shortest = dealt.into_iter().min_by_key(|queue| room.queues[*queue].len()).unwrap_or(0);
        if room.queues[shortest].len() >= length {
            return Err(Refused::QueueFull);
        }
        let (seat, wait) = oneshot::channel();
        room.queues[shortest].push_back(Waiter { id, width, seat });
        room.waiting += 1;
        Ok((shortest, wait))
    }
}

impl Room {
    /// The next queue that is not empty.
    fn turn(&self) -> Option<usize> {
        let count = self.queues.len();
        (0..count).map(|step| (self.next + step) % count).find(|at| !self.queues[*at].is_empty())
    }

    fn next_width(&self) -> Option<usize> {
        Some(self.queues[self.turn()?].front()?.width)
    }

    /// The first of that queue.
    fn pop(&mut self) -> Option<Waiter> {
        let at = self.turn()?;
        self.next = (at + 1) % self.queues.len();
        self.waiting -= 1;
        self.queues[at].pop_front()
    }
}

/// Deals a hand of different queues by the flow's hash.
fn deal(mut hash: u64, queues: usize, hand: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..queues.max(1)).collect();
    let mut dealt = Vec::with_capacity(hand);
    while dealt.len() < hand && !left.is_empty() {
        let count = left.len() as u64;
        dealt.push(left.swap_remove((hash % count) as usize));
        hash /= count;
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Load {
        /// Requests that run, and the seats that they have.
        requests: usize,
        seats: usize,
        waiting: usize,
    }

    impl Seats {
        /// Who runs and who waits in a level.
        fn load(&self, level: &str) -> Load {
            let state = self.0.lock();
            let load = |room: &Room| Load { requests: room.requests, seats: room.running, waiting: room.waiting };
            state.rooms.get(level).map(load).unwrap_or_default()
        }
    }

    fn level(name: &str, seats: usize, lendable: usize, full: Full) -> Level {
        let limit = Some(Limit { seats, lendable, borrowable: usize::MAX, full });
        Level { name: name.into(), uid: "".into(), limit }
    }

    fn loaded(seats: &Seats, level: &str) -> (usize, usize) {
        let Load { seats, waiting, .. } = seats.load(level);
        (seats, waiting)
    }

    const QUEUE: Full = Full::Queue { queues: 1, hand: 1, length: 1 };

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_seat_waits_or_is_refused() {
        let seats = Seats::default();
        seats.configure(&[level("a", 1, 0, QUEUE), level("b", 1, 0, Full::Reject)]);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let first = seats.take(&a, 0, 1).await.ok().unwrap();
        let waiting = tokio::spawn({
            let (seats, a) = (seats.clone(), a.clone());
            async move { seats.take(&a, 0, 1).await.map(|_| ()) }
        });
        tokio::task::yield_now().await;
        assert_eq!(loaded(&seats, "a"), (1, 1));
        assert_eq!(seats.take(&a, 0, 1).await.err(), Some(Refused::QueueFull));
        drop(first);
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert_eq!(loaded(&seats, "a"), (0, 0));
        let held = seats.take(&b, 0, 1).await.ok().unwrap();
        assert_eq!(seats.take(&b, 0, 1).await.err(), Some(Refused::ConcurrencyLimit));
        let kept = seats.take(&a, 0, 1).await.ok().unwrap();
        // Time is paused: it passes only because everybody waits.
        assert_eq!(seats.take(&a, 0, 1).await.err(), Some(Refused::TimeOut));
        assert_eq!(loaded(&seats, "a"), (1, 0));
        drop((held, kept));
    }

    #[tokio::test]
    async fn what_is_lent_may_be_borrowed_once() {
        let seats = Seats::default();
        seats.configure(&[level("busy", 1, 0, Full::Reject), level("idle", 4, 2, Full::Reject)]);
        let (busy, idle): (Arc<str>, Arc<str>) = ("busy".into(), "idle".into());
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(seats.take(&busy, 0, 1).await.ok().unwrap());
        }
        assert!(seats.take(&busy, 0, 1).await.is_err());
        // Its own right is not touched.
        for _ in 0..4 {
            held.push(seats.take(&idle, 0, 1).await.ok().unwrap());
        }
        assert!(seats.take(&idle, 0, 1).await.is_err());
        held.clear();
        assert_eq!((loaded(&seats, "busy"), loaded(&seats, "idle")), ((0, 0), (0, 0)));
    }

    #[tokio::test]
    async fn the_wide_take_many_seats() {
        let seats = Seats::default();
        seats.configure(&[level("a", 3, 0, QUEUE)]);
        let a: Arc<str> = "a".into();
        let narrow = seats.take(&a, 0, 1).await.ok().unwrap();
        let waiting = tokio::spawn({
            let (seats, a) = (seats.clone(), a.clone());
            async move { seats.take(&a, 0, 3).await.ok().unwrap() }
        });
        tokio::task::yield_now().await;
        assert_eq!(seats.load("a"), Load { requests: 1, seats: 1, waiting: 1 });
        drop(narrow);
        let wide = waiting.await.unwrap();
        assert_eq!(seats.load("a"), Load { requests: 1, seats: 3, waiting: 0 });
        drop(wide);
        // Wider than the level: alone.
        let wider = seats.take(&a, 0, 9).await.ok().unwrap();
        assert_eq!(loaded(&seats, "a"), (9, 0));
        drop(wider);
        assert_eq!(loaded(&seats, "a"), (0, 0));
    }

    #[tokio::test]
    async fn who_gives_up_leaves_no_trace() {
        let seats = Seats::default();
        seats.configure(&[level("a", 1, 0, QUEUE)]);
        let a: Arc<str> = "a".into();
        let held = seats.take(&a, 0, 1).await.ok().unwrap();
        {
            let waiting = seats.take(&a, 0, 1);
            tokio::pin!(waiting);
            assert!(futures::poll!(waiting.as_mut()).is_pending());
            assert_eq!(loaded(&seats, "a"), (1, 1));
        }
        assert_eq!(loaded(&seats, "a"), (1, 0));
        drop(held);
        assert!(seats.take(&a, 0, 1).await.is_ok());
    }

    #[test]
    fn a_hand_holds_different_queues() {
        for hash in [0, 1, 12_345_678_901_234_567, u64::MAX] {
            let mut hand = deal(hash, 64, 8);
            hand.sort_unstable();
            hand.dedup();
            assert_eq!(hand.len(), 8);
            assert!(hand.iter().all(|queue| *queue < 64));
        }
        assert_eq!(deal(7, 2, 8).len(), 2);
    }
}
