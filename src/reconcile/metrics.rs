//! What the controller loops count, under the names of upstream's work queues.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

type Labels = [(&'static str, &'static str); 1];
type Times = Family<Labels, Histogram, fn() -> Histogram>;
/// When the keys that run were begun.
type Begun = Arc<Mutex<Vec<Instant>>>;

/// Shared by every loop of a process; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    depth: Family<Labels, Gauge>,
    adds: Family<Labels, Counter>,
    retries: Family<Labels, Counter>,
    waited: Times,
    worked: Times,
    running: Running,
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
            running: Running::default(),
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
        registry.register_collector(Box::new(self.running.clone()));
    }

    /// What one loop counts.
    pub fn of(&self, name: &'static str) -> Queue {
        let labels = [("name", name)];
        let running = Begun::default();
        self.running.0.lock().push((name, running.clone()));
        Queue {
            depth: self.depth.get_or_create_owned(&labels),
            adds: self.adds.get_or_create_owned(&labels),
            retries: self.retries.get_or_create_owned(&labels),
            waited: self.waited.get_or_create_owned(&labels),
            worked: self.worked.get_or_create_owned(&labels),
            running,
        }
    }
}

/// How long the keys of each loop that run have been running, which is worked out when somebody asks.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<Vec<(&'static str, Begun)>>>);

impl fmt::Debug for Running {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Running")
    }
}

impl Collector for Running {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let loops = self.0.lock();
        let mut gauge = |name: &str, help: &str, of: fn(&[Instant]) -> f64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            loops.iter().try_for_each(|(name, begun)| {
                family.encode_family(&[("name", *name)])?.encode_gauge(&of(&begun.lock()))
            })
        };
        let help = "Seconds of work that is in progress, which the duration of work does not tell yet";
        gauge("workqueue_unfinished_work_seconds", help, |begun| {
            begun.iter().fold(0.0, |sum, at| sum + at.elapsed().as_secs_f64())
        })?;
        let help = "How long the key has been running that was begun first, in seconds";
        gauge("workqueue_longest_running_processor_seconds", help, |begun| {
            begun.iter().map(|at| at.elapsed().as_secs_f64()).fold(0.0, f64::max)
        })
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
    running: Begun,
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
    /// A key runs, until what this gives is dropped.
    pub fn work(&self) -> Work<'_> {
        let begun = Instant::now();
        self.running.lock().push(begun);
        Work { queue: self, begun }
    }
}

/// A key that runs.
pub struct Work<'a> {
    queue: &'a Queue,
    begun: Instant,
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.queue.worked.observe(self.begun.elapsed().as_secs_f64());
        let mut running = self.queue.running.lock();
        if let Some(at) = running.iter().position(|begun| *begun == self.begun) {
            running.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_runs_is_told_while_it_runs() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        let shown = || {
            let mut out = String::new();
            prometheus_client::encoding::text::encode(&mut out, &registry).unwrap();
            let of_work =
                |line: &&str| line.starts_with("workqueue_unfinished") || line.starts_with("workqueue_longest");
            out.lines().filter(of_work).map(|line| line.replace("workqueue_", "")).collect::<Vec<_>>()
        };
        let queue = metrics.of("a");
        let first = queue.work();
        tokio::time::advance(Duration::from_secs(3)).await;
        let second = queue.work();
        tokio::time::advance(Duration::from_secs(2)).await;
        let wanted = |sum: &str, longest: &str| {
            [
                format!("unfinished_work_seconds{{name=\"a\"}} {sum}"),
                format!("longest_running_processor_seconds{{name=\"a\"}} {longest}"),
            ]
        };
        assert_eq!(shown(), wanted("7.0", "5.0"));
        drop(first);
        assert_eq!(shown(), wanted("2.0", "2.0"));
        drop(second);
        assert_eq!(shown(), wanted("0.0", "0.0"));
    }
}
