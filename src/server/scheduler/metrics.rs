//! What the scheduler counts, under upstream's names. How many pods wait is counted when somebody asks.

use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::{NAME, State};

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Metrics {
    attempts: Family<Labels<2>, Counter>,
    durations: Histograms<Labels<2>>,
    steps: Histograms<Labels<3>>,
    /// How often pods were tried that got a node, and how long that took.
    tries: Histogram,
    waits: Histograms<Labels<1>>,
}

/// How an attempt ended.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Scheduled,
    Unschedulable,
    Error,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            attempts: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15))),
            steps: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.0001, 2.0, 12))),
            tries: Histogram::new(exponential_buckets(1.0, 2.0, 5)),
            waits: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.01, 2.0, 20))),
        }
    }
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry, state: &Arc<Mutex<State>>) {
        let help = "Attempts to schedule a pod, by how they ended";
        registry.register("scheduler_schedule_attempts", help, self.attempts.clone());
        let help = "How long attempts took, from choosing a node to the pod being bound, in seconds";
        registry.register("scheduler_scheduling_attempt_duration_seconds", help, self.durations.clone());
        let help = "How long each step of an attempt took, all plugins together, in seconds";
        registry.register("scheduler_framework_extension_point_duration_seconds", help, self.steps.clone());
        let help = "How many attempts it took until a pod had its node";
        registry.register("scheduler_pod_scheduling_attempts", help, self.tries.clone());
        let help = "How long that took since the pod came into the queue, in seconds, by the number of attempts";
        registry.register("scheduler_pod_scheduling_sli_duration_seconds", help, self.waits.clone());
        let help = "Pods that came into each queue, by what brought them there";
        registry.register("scheduler_queue_incoming_pods", help, state.lock().queue.incoming());
        registry.register_collector(Box::new(Pending(Arc::downgrade(state))));
    }

    /// A step of an attempt is over, which began at `since`. Gives now.
    pub fn step(&self, extension_point: &'static str, status: &'static str, since: Instant) -> Instant {
        let now = Instant::now();
        let labels = [("extension_point", extension_point), ("status", status), ("profile", NAME)];
        self.steps.get_or_create(&labels).observe((now - since).as_secs_f64());
        now
    }

    /// A pod has its node, after so many attempts.
    pub fn scheduled(&self, attempts: u32, since: Instant) {
        /// Upstream tells no more of them apart.
        const NUMBERS: [&str; 16] =
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15+"];
        self.tries.observe(f64::from(attempts));
        let number = NUMBERS[(attempts as usize).min(NUMBERS.len() - 1)];
        self.waits.get_or_create(&[("attempts", number)]).observe(since.elapsed().as_secs_f64());
    }

    pub fn attempted(&self, outcome: Outcome, begun: Instant) {
        let result = match outcome {
            Outcome::Scheduled => "scheduled",
            Outcome::Unschedulable => "unschedulable",
            Outcome::Error => "error",
        };
        let labels = [("profile", NAME), ("result", result)];
        self.attempts.get_or_create(&labels).inc();
        self.durations.get_or_create(&labels).observe(begun.elapsed().as_secs_f64());
    }
}

struct Pending(Weak<Mutex<State>>);

impl fmt::Debug for Pending {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Pending")
    }
}

impl Collector for Pending {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(state) = self.0.upgrade() else { return Ok(()) };
        let waiting = state.lock().queue.waiting();
        let help = "Pods that wait: ready, until their back-off is over, for something to change, or behind a gate";
        let mut family = encoder.encode_descriptor("scheduler_pending_pods", help, None, MetricType::Gauge)?;
        for (queue, pods) in waiting {
            let pods = i64::try_from(pods).unwrap_or(i64::MAX);
            family.encode_family(&[("queue", queue)])?.encode_gauge(&pods)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_told_by_upstreams_names() {
        let (metrics, state, mut registry) = (Metrics::default(), Arc::default(), Registry::default());
        metrics.register(&mut registry, &state);
        let now = metrics.step("Filter", "Success", Instant::now());
        metrics.attempted(Outcome::Scheduled, now);
        [1, 3, 15, 40].into_iter().for_each(|attempts| metrics.scheduled(attempts, now));
        state.lock().queue.gate("a");
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &registry).unwrap();
        let told = crate::api::exposition::plain(&out);
        for line in [
            r#"scheduler_schedule_attempts_total{profile="default-scheduler",result="scheduled"} 1"#,
            r#"scheduler_framework_extension_point_duration_seconds_count{extension_point="Filter",status="Success",profile="default-scheduler"} 1"#,
            r#"scheduler_pod_scheduling_attempts_bucket{le="4"} 2"#,
            r#"scheduler_pod_scheduling_attempts_bucket{le="16"} 3"#,
            r#"scheduler_pod_scheduling_sli_duration_seconds_count{attempts="3"} 1"#,
            r#"scheduler_pod_scheduling_sli_duration_seconds_count{attempts="15+"} 2"#,
            r#"scheduler_queue_incoming_pods_total{queue="unschedulable",event="UnschedulablePodAdd"} 1"#,
            r#"scheduler_pending_pods{queue="gated"} 1"#,
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\n{told}");
        }
    }
}
