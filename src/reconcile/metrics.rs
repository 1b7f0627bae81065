//! What the controller loops count, under the names of upstream's work queues.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Labels = [(&'static str, &'static str); 1];
type Times = Family<Labels, Histogram, fn() -> Histogram>;

/// Shared by every loop of a process; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    depth: Family<Labels, Gauge>,
    adds: Family<Labels, Counter>,
    retries: Family<Labels, Counter>,
    waited: Times,
    worked: Times,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(1e-4, 10.0, 7));
        let times = || Family::new_with_constructor(histogram);
        Self {
            depth: Family::default(),
            adds: Family::default(),
            retries: Family::default(),
            waited: times(),
            worked: times(),
        }
    }
}

impl Metrics {
    /// Puts them where `/metrics` is served from.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("workqueue_depth", "Keys that wait for their turn", self.depth.clone());
        registry.register("workqueue_adds", "Keys taken up by each controller", self.adds.clone());
        registry.register("workqueue_retries", "Keys that failed and are tried again", self.retries.clone());
        let help = "How long a key that is due waits for its turn";
        registry.register("workqueue_queue_duration_seconds", help, self.waited.clone());
        let help = "How long reconciling a key takes";
        registry.register("workqueue_work_duration_seconds", help, self.worked.clone());
    }

    /// What one loop counts.
    pub fn of(&self, name: &'static str) -> Queue {
        let labels = [("name", name)];
        Queue {
            depth: self.depth.get_or_create_owned(&labels),
            adds: self.adds.get_or_create_owned(&labels),
            retries: self.retries.get_or_create_owned(&labels),
            waited: self.waited.get_or_create_owned(&labels),
            worked: self.worked.get_or_create_owned(&labels),
        }
    }
}

/// The counters of one loop, at hand: an event costs no look-up.
#[derive(Clone)]
pub struct Queue {
    depth: Gauge,
    adds: Counter,
    retries: Counter,
    waited: Histogram,
    worked: Histogram,
}

impl Queue {
    /// So many keys are due and wait.
    pub fn waiting(&self, keys: usize) {
        self.depth.set(i64::try_from(keys).unwrap_or(i64::MAX));
    }
    /// A key's turn came, so long after it was due.
    pub fn taken(&self, waited: Duration) {
        self.adds.inc();
        self.waited.observe(waited.as_secs_f64());
    }
    pub fn retried(&self) {
        self.retries.inc();
    }
    pub fn worked(&self, time: Duration) {
        self.worked.observe(time.as_secs_f64());
    }
}
