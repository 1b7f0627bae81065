//! What the controller loops count, under the names of upstream's work queues.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Labels = [(&'static str, &'static str); 1];

/// Shared by every loop of a process; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    adds: Family<Labels, Counter>,
    retries: Family<Labels, Counter>,
    work: Family<Labels, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(1e-4, 10.0, 7));
        Self { adds: Family::default(), retries: Family::default(), work: Family::new_with_constructor(histogram) }
    }
}

impl Metrics {
    /// Puts them where `/metrics` is served from.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("workqueue_adds", "Keys taken up by each controller", self.adds.clone());
        registry.register("workqueue_retries", "Keys that failed and are tried again", self.retries.clone());
        let help = "How long reconciling a key takes";
        registry.register("workqueue_work_duration_seconds", help, self.work.clone());
    }

    pub fn added(&self, name: &'static str) {
        self.adds.get_or_create(&[("name", name)]).inc();
    }
    pub fn retried(&self, name: &'static str) {
        self.retries.get_or_create(&[("name", name)]).inc();
    }
    pub fn worked(&self, name: &'static str, time: Duration) {
        self.work.get_or_create(&[("name", name)]).observe(time.as_secs_f64());
    }
}
