//! Pods that wait: ready ones by priority, failed ones until their back-off is over, unschedulable ones
//! until something happens that may help them. Holds no time of its own: callers say what time it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::time::Instant;

use super::framework::Wake;
use super::snapshot::PodInfo;

/// Upstream's back-off of a pod that was tried and failed.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Why a pod does not stand among the ready ones.
#[derive(Debug)]
enum Place {
    /// Ready, under this key.
    Ready((i64, u64)),
    /// Backing off until its key's time.
    Backoff((Instant, u64)),
    /// Rejected by these filters; woken by what may change their mind.
    Unschedulable(Vec<&'static str>),
    /// Being scheduled or bound.
    Taken,
}

struct Entry {
    pod: PodInfo,
    place: Place,
    attempts: u32,
    /// When it first stood among the ready ones.
    since: Instant,
}

/// How often pods came into each queue, by the event that brought them there.
pub type Incoming = Family<[(&'static str, &'static str); 2], Counter>;

/// Upstream's names of what brings a pod into a queue, but for events of the cluster.
const ADDED: &str = "UnschedulablePodAdd";
const UPDATED: &str = "UnschedulablePodUpdate";
const UNGATED: &str = "UnschedulablePodUpdatePodSchedulingGatesEliminated";
const FAILED: &str = "ScheduleAttemptFailure";
const BACKED_OFF: &str = "BackoffComplete";

/// The scheduling queue. Every waiting pod is in it exactly once, by UID; of gated ones it knows only that there are.
#[derive(Default)]
pub struct Queue {
    entries: HashMap<String, Entry>,
    /// By falling priority, then by arrival.
    ready: BTreeMap<(i64, u64), String>,
    backoff: BTreeMap<(Instant, u64), String>,
    gated: HashSet<String>,
    counter: u64,
    /// Counts wakes, so that a pod which was being tried during one is tried again.
    wakes: u64,
    incoming: Incoming,
}

/// A pod taken to be scheduled.
pub struct Taken {
    pub pod: PodInfo,
    /// This one included.
    pub attempts: u32,
    pub since: Instant,
    wakes: u64,
}

impl Queue {
    /// Adds a new pod or brings a known one up to date. A changed spec or label gives it another try.
    pub fn put(&mut self, pod: PodInfo, now: Instant) {
        let uid = pod.uid().to_owned();
        let event = if self.gated.remove(&uid) { UNGATED } else { ADDED };
        match self.entries.get_mut(&uid) {
            None => {
                self.entries.insert(uid.clone(), Entry { pod, place: Place::Taken, attempts: 0, since: now });
                self.make_ready(&uid, event);
            }
            Some(entry) => {
                let (old, new) = (&entry.pod.pod, &pod.pod);
                let changed = old.spec != new.spec || old.metadata.labels != new.metadata.labels;
                entry.pod = pod;
                if changed && !matches!(entry.place, Place::Taken) {
                    self.make_ready(&uid, UPDATED);
                }
            }
        }
    }

    /// A gate keeps the pod from being tried.
    pub fn gate(&mut self, uid: &str) {
        if self.gated.insert(uid.to_owned()) {
            self.came("unschedulable", ADDED);
        }
    }

    /// What came in; shared with who shows it.
    pub fn incoming(&self) -> Incoming {
        self.incoming.clone()
    }

    fn came(&self, queue: &'static str, event: &'static str) {
        self.incoming.get_or_create(&[("queue", queue), ("event", event)]).inc();
    }

    pub fn remove(&mut self, uid: &str) {
        self.gated.remove(uid);
        self.leave(uid);
        self.entries.remove(uid);
    }

    /// The next pod to schedule; it stays known until [`Self::remove`].
    pub fn take(&mut self, now: Instant) -> Option<Taken> {
        while let Some((key, _)) = self.backoff.first_key_value().filter(|((at, _), _)| *at <= now) {
            let key = *key;
            if let Some(uid) = self.backoff.remove(&key) {
                self.make_ready(&uid, BACKED_OFF);
            }
        }
        let (_, uid) = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&uid)?;
        entry.place = Place::Taken;
        entry.attempts += 1;
        let (attempts, since) = (entry.attempts, entry.since);
        Some(Taken { pod: entry.pod.clone(), attempts, since, wakes: self.wakes })
    }

    /// When the next back-off ends, if a pod is backing off.
    pub fn next_due(&self) -> Option<Instant> {
        self.backoff.first_key_value().map(|((at, _), _)| *at)
    }

    /// How many pods wait, by upstream's names of where they do.
    pub fn waiting(&self) -> [(&'static str, usize); 4] {
        let unschedulable = |entry: &&Entry| matches!(entry.place, Place::Unschedulable(_));
        [
            ("active", self.ready.len()),
            ("backoff", self.backoff.len()),
            ("unschedulable", self.entries.values().filter(unschedulable).count()),
            ("gated", self.gated.len()),
        ]
    }

    /// No node took it. Where something happened meanwhile it backs off instead of waiting for more.
    pub fn unschedulable(&mut self, taken: &Taken, by: Vec<&'static str>, now: Instant) {
        if self.wakes != taken.wakes {
            return self.failed(taken.pod.uid(), now);
        }
        if let Some(entry) = self.entries.get_mut(taken.pod.uid()) {
            entry.place = Place::Unschedulable(by);
            self.came("unschedulable", FAILED);
        }
    }

    /// Scheduling or binding went wrong: try again after a while.
    pub fn failed(&mut self, uid: &str, now: Instant) {
        self.back_off(uid, FAILED, now);
    }

    fn back_off(&mut self, uid: &str, event: &'static str, now: Instant) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        let doubled = FIRST_BACKOFF.saturating_mul(1 << entry.attempts.saturating_sub(1).min(10));
        self.counter += 1;
        let key = (now + doubled.min(LONGEST_BACKOFF), self.counter);
        entry.place = Place::Backoff(key);
        self.backoff.insert(key, uid.to_owned());
        self.came("backoff", event);
    }

    /// Something happened, which upstream calls `event`: those whom it may help get another try, after their back-off.
    pub fn wake(&mut self, wake: Wake, event: &'static str, helps: impl Fn(&str, Wake) -> bool, now: Instant) {
        self.wakes += 1;
        let woken = self.entries.iter().filter(|(_, entry)| match &entry.place {
            Place::Unschedulable(by) => by.iter().any(|filter| helps(filter, wake)),
            _ => false,
        });
        for uid in woken.map(|(uid, _)| uid.clone()).collect::<Vec<_>>() {
            // The first failure is no reason to wait: the cluster has just changed in its favour.
            match self.entries.get(&uid).is_some_and(|entry| entry.attempts <= 1) {
                true => self.make_ready(&uid, event),
                false => self.back_off(&uid, event, now),
            }
        }
    }

    fn make_ready(&mut self, uid: &str, event: &'static str) {
        self.leave(uid);
        let Some(entry) = self.entries.get_mut(uid) else { return };
        let priority = entry.pod.spec().and_then(|spec| spec.priority).unwrap_or(0);
        self.counter += 1;
        let key = (-i64::from(priority), self.counter);
        entry.place = Place::Ready(key);
        self.ready.insert(key, uid.to_owned());
        self.came("active", event);
    }

    fn leave(&mut self, uid: &str) {
        match self.entries.get(uid).map(|entry| &entry.place) {
            Some(Place::Ready(key)) => drop(self.ready.remove(key)),
            Some(Place::Backoff(key)) => drop(self.backoff.remove(key)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn pod(uid: &str, priority: i32) -> PodInfo {
        let object = json!({"metadata": {"uid": uid}, "spec": {"priority": priority, "containers": []}});
        PodInfo::new(Arc::new(serde_json::from_value(object).unwrap()))
    }

    fn names(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.take(now)).map(|taken| taken.pod.uid().to_owned()).collect()
    }

    #[test]
    fn the_most_important_comes_first_then_the_oldest() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (uid, priority) in [("a", 0), ("b", 10), ("c", 0), ("d", -5)] {
            queue.put(pod(uid, priority), now);
        }
        assert_eq!(names(&mut queue, now), ["b", "a", "c", "d"]);
    }

    #[test]
    fn a_gate_is_told_of_until_it_is_gone() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        ["a", "b"].into_iter().for_each(|uid| queue.gate(uid));
        queue.remove("b");
        assert_eq!(queue.waiting()[3], ("gated", 1));
        assert!(queue.take(now).is_none());
        queue.put(pod("a", 0), now);
        assert_eq!(queue.waiting()[3], ("gated", 0));
        assert_eq!(names(&mut queue, now), ["a"]);
    }

    #[test]
    fn a_failure_backs_off_and_doubles() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.put(pod("a", 0), now);
        queue.take(now).unwrap();
        queue.failed("a", now);
        assert_eq!(queue.next_due(), Some(now + FIRST_BACKOFF));
        assert!(queue.take(now).is_none());
        let later = now + FIRST_BACKOFF;
        assert!(queue.take(later).is_some());
        queue.failed("a", later);
        assert_eq!(queue.next_due(), Some(later + 2 * FIRST_BACKOFF));
    }

    #[test]
    fn the_unschedulable_wait_for_what_helps_them() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.put(pod("a", 0), now);
        let taken = queue.take(now).unwrap();
        queue.unschedulable(&taken, vec!["NodeAffinity"], now);
        let helps = |filter: &str, wake| filter == "NodeAffinity" && wake == Wake::Node;
        queue.wake(Wake::PodGone, "AssignedPodDelete", helps, now);
        assert!(queue.take(now).is_none());
        queue.wake(Wake::Node, "NodeAdd", helps, now);
        assert!(queue.take(now).is_some());
    }

    #[test]
    fn a_wake_during_the_attempt_is_not_lost() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.put(pod("a", 0), now);
        let taken = queue.take(now).unwrap();
        queue.wake(Wake::Node, "NodeAdd", |_, _| true, now);
        queue.unschedulable(&taken, vec!["NodeAffinity"], now);
        assert!(queue.next_due().is_some());
    }

    #[test]
    fn a_removed_pod_is_gone_wherever_it_stood() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.put(pod("a", 0), now);
        queue.remove("a");
        assert!(queue.take(now).is_none() && queue.entries.is_empty());
    }

    #[test]
    fn what_comes_into_each_queue_is_counted_by_its_cause() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.gate("a");
        queue.put(pod("a", 0), now);
        let taken = queue.take(now).unwrap();
        queue.unschedulable(&taken, vec!["NodeAffinity"], now);
        queue.wake(Wake::Node, "NodeUpdateNodeLabel", |_, _| true, now);
        let taken = queue.take(now).unwrap();
        assert_eq!((taken.attempts, taken.since), (2, now));
        queue.failed("a", now);
        queue.take(now + LONGEST_BACKOFF).unwrap();
        let incoming = queue.incoming();
        for (queue, event) in [
            ("unschedulable", ADDED),
            ("active", UNGATED),
            ("unschedulable", FAILED),
            ("active", "NodeUpdateNodeLabel"),
            ("backoff", FAILED),
            ("active", BACKED_OFF),
        ] {
            let count = incoming.get(&[("queue", queue), ("event", event)]).map(|count| count.get());
            assert_eq!(count, Some(1), "{queue} {event}");
        }
    }
}
