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

type Labels = [(&'static str, &'static str); 2];

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Metrics {
    attempts: Family<Labels, Counter>,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
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
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 12));
        Self { attempts: Family::default(), durations: Family::new_with_constructor(histogram) }
    }
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry, state: &Arc<Mutex<State>>) {
        let help = "Attempts to schedule a pod, by how they ended";
        registry.register("scheduler_schedule_attempts", help, self.attempts.clone());
        let help = "How long attempts took, from choosing a node to the pod being bound, in seconds";
        registry.register("scheduler_scheduling_attempt_duration_seconds", help, self.durations.clone());
        registry.register_collector(Box::new(Pending(Arc::downgrade(state))));
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
