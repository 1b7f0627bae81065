//! The probes of a running container: one task each, a timer that is armed only for the next check, thresholds,
//! and a message to the pod's worker when a verdict changes. What a verdict leads to is for the worker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Probe};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::handler::{Outcome, Target};
use super::host::Host;
use crate::reconcile::events::EventType::Warning;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// The results of the probes that are running, for who asks.
#[derive(Default)]
pub struct Results(Mutex<Vec<Weak<Tally>>>);

/// The results of one probe so far.
pub struct Tally {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub container: String,
    pub kind: &'static str,
    counts: [AtomicU64; 3],
}

/// As upstream calls them, in the order in which they are counted.
const RESULTS: [&str; 3] = ["successful", "failed", "unknown"];

impl Results {
    fn add(&self, pod: &Pod, container: &str, kind: Kind) -> Arc<Tally> {
        let meta = &pod.metadata;
        let tally = Arc::new(Tally {
            namespace: meta.namespace.clone().unwrap_or_default(),
            pod: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            container: container.to_owned(),
            kind: kind.name(),
            counts: Default::default(),
        });
        let mut all = self.0.lock();
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&tally));
        tally
    }

    pub fn running(&self) -> Vec<Arc<Tally>> {
        self.0.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

impl Tally {
    fn count(&self, outcome: &Outcome) {
        let at = match outcome {
            Outcome::Success => 0,
            Outcome::Failure(_) => 1,
            Outcome::Unknown(_) => 2,
        };
        self.counts[at].fetch_add(1, Ordering::Relaxed);
    }

    /// Those that there were, and how often.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = RESULTS.iter().zip(&self.counts).map(|(name, count)| (*name, count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0)
    }
}

/// A changed verdict about the run `id` of `container`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub container: String,
    pub id: String,
    pub kind: Kind,
    pub healthy: bool,
}

/// Counts results and says when the verdict changes. Pure.
#[derive(Debug)]
struct Counter {
    healthy: Option<bool>,
    run: u32,
    last: bool,
    success: u32,
    failure: u32,
}

impl Counter {
    fn new(probe: &Probe) -> Self {
        let least_one =
            |value: Option<i32>, default| value.and_then(|v| u32::try_from(v).ok()).unwrap_or(default).max(1);
        Self {
            healthy: None,
            run: 0,
            last: false,
            success: least_one(probe.success_threshold, 1),
            failure: least_one(probe.failure_threshold, 3),
        }
    }

    /// The new verdict, if this result changes it.
    fn count(&mut self, success: bool) -> Option<bool> {
        self.run = if success == self.last { self.run + 1 } else { 1 };
        self.last = success;
        let threshold = if success { self.success } else { self.failure };
        if self.run < threshold || self.healthy == Some(success) {
            return None;
        }
        self.healthy = Some(success);
        self.healthy
    }
}

/// The running probes of one container; dropping it ends them.
pub struct Probes {
    _tasks: JoinSet<()>,
    /// Says that the startup probe has passed.
    pub started: watch::Sender<bool>,
}

/// Starts the container's probes. `started` is true where nothing has to be waited for.
pub fn watch(
    host: &Arc<Host>,
    pod: &watch::Receiver<Arc<Pod>>,
    target: &Target,
    started: bool,
    verdicts: &mpsc::UnboundedSender<Verdict>,
) -> Probes {
    let (gate, gates) = watch::channel(started);
    let container = &target.container;
    let all = [
        (Kind::Startup, container.startup_probe.as_ref().filter(|_| !started)),
        (Kind::Liveness, container.liveness_probe.as_ref()),
        (Kind::Readiness, container.readiness_probe.as_ref()),
    ];
    let mut tasks = JoinSet::new();
    for (kind, probe) in all {
        let Some(probe) = probe.cloned() else { continue };
        let tally = host.probe_results.add(&pod.borrow(), &container.name, kind);
        let prober = Prober {
            host: host.clone(),
            pod: pod.clone(),
            target: target.clone(),
            kind,
            probe,
            verdicts: verdicts.clone(),
            tally,
        };
        tasks.spawn(prober.run(gates.clone()));
    }
    Probes { _tasks: tasks, started: gate }
}

struct Prober {
    host: Arc<Host>,
    pod: watch::Receiver<Arc<Pod>>,
    target: Target,
    kind: Kind,
    probe: Probe,
    verdicts: mpsc::UnboundedSender<Verdict>,
    tally: Arc<Tally>,
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
}

impl Prober {
    async fn run(self, mut gate: watch::Receiver<bool>) {
        tokio::time::sleep(seconds(self.probe.initial_delay_seconds, 0)).await;
        if self.kind != Kind::Startup && gate.wait_for(|started| *started).await.is_err() {
            return;
        }
        let period = seconds(self.probe.period_seconds, 10).max(Duration::from_secs(1));
        let mut counter = Counter::new(&self.probe);
        loop {
            let begun = tokio::time::Instant::now();
            if let Some(healthy) = self.check(&mut counter).await {
                let verdict = Verdict {
                    container: self.target.container.name.clone(),
                    id: self.target.id.clone(),
                    kind: self.kind,
                    healthy,
                };
                if self.verdicts.send(verdict).is_err() || (self.kind == Kind::Startup && healthy) {
                    return;
                }
            }
            tokio::time::sleep_until(begun + period).await;
        }
    }

    async fn check(&self, counter: &mut Counter) -> Option<bool> {
        let outcome = {
            let _slot = self.host.probes.acquire().await.ok();
            self.ask().await
        };
        self.tally.count(&outcome);
        let say = |reason: &str, message: String| {
            let pod = self.pod.borrow().clone();
            self.host.event(&pod, Some(&self.target.container.name), Warning, reason, message);
        };
        let name = self.kind.name();
        match outcome {
            Outcome::Success => counter.count(true),
            Outcome::Failure(why) => {
                say("Unhealthy", format!("{name} probe failed: {why}"));
                counter.count(false)
            }
            Outcome::Unknown(why) => {
                say("Unhealthy", format!("{name} probe errored: {why}"));
                None
            }
        }
    }

    async fn ask(&self) -> Outcome {
        let timeout = seconds(self.probe.timeout_seconds, 1).max(Duration::from_secs(1));
        let probe = &self.probe;
        if let Some(action) = &probe.exec {
            return self.target.exec(action.command.as_deref().unwrap_or_default(), timeout).await;
        }
        if let Some(action) = &probe.http_get {
            return self.target.http_get(action, timeout).await;
        }
        if let Some(action) = &probe.tcp_socket {
            return self.target.tcp(&action.port, action.host.as_deref(), timeout).await;
        }
        if let Some(action) = &probe.grpc {
            return self.target.grpc(action.port, action.service.as_deref().unwrap_or_default(), timeout).await;
        }
        Outcome::Success
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_change_at_the_thresholds() {
        let probe = Probe { success_threshold: Some(2), failure_threshold: Some(3), ..Probe::default() };
        let mut counter = Counter::new(&probe);
        let results = [true, true, true, false, false, true, false, false, false, false, true, true];
        let verdicts: Vec<_> = results.into_iter().map(|result| counter.count(result)).collect();
        let (n, y, f) = (None, Some(true), Some(false));
        assert_eq!(verdicts, [n, y, n, n, n, n, n, n, f, n, n, y]);
    }

    #[test]
    fn without_thresholds_upstreams_defaults_count() {
        let mut counter = Counter::new(&Probe::default());
        assert_eq!([false, false, false].map(|result| counter.count(result)), [None, None, Some(false)]);
        assert_eq!(counter.count(true), Some(true));
    }

    #[test]
    fn results_are_told_while_their_probe_runs() {
        let results = Results::default();
        let pod: Pod =
            serde_json::from_value(serde_json::json!({"metadata": {"namespace": "n", "name": "p", "uid": "u"}}))
                .unwrap();
        let tally = results.add(&pod, "c", Kind::Liveness);
        let outcomes = [Outcome::Success, Outcome::Success, Outcome::Failure("x".to_owned())];
        outcomes.iter().for_each(|outcome| tally.count(outcome));
        let told: Vec<_> = results.running().iter().flat_map(|one| one.results().collect::<Vec<_>>()).collect();
        assert_eq!(told, [("successful", 2), ("failed", 1)]);
        drop(tally);
        assert!(results.running().is_empty());
    }
}
