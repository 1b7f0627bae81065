//! `/metrics`: what the process counts, in one registry, under upstream's names.
//!
//! Requests are counted by labels that come from the catalog and from small fixed lists, never from what a
//! client wrote, so that nobody can make the registry grow. What can be read off at any time
//! (objects in the store, memory, processor time) is read when somebody asks, not kept.

mod labels;
mod process;
mod text;

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Response};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use self::labels::Request;
use self::labels::{Answered, Inflight, Watched};
use super::body::Body;
use super::respond;
use crate::api::exposition;
use crate::api::status::{Failure, Result};
use crate::server::strategy::Meta;
use crate::store::Store;

/// Seconds; fine where a request of ours ends, coarse up to the longest watch.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0];

/// The counters of a process and the registry that shows them.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Answered, Counter>,
    durations: Family<Request, Histogram, fn() -> Histogram>,
    long_running: Family<Request, Gauge>,
    watch_events: Family<Watched, Counter>,
    /// Reads, then writes.
    inflight: [Gauge; 2],
}

impl Metrics {
    pub fn new(store: Arc<dyn Store>) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let inflight = Family::<Inflight, Gauge>::default();
        let kinds =
            ["readOnly", "mutating"].map(|request_kind| inflight.get_or_create_owned(&Inflight { request_kind }));
        let metrics = Self {
            registry: Mutex::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
            long_running: Family::default(),
            watch_events: Family::default(),
            inflight: kinds,
        };
        metrics.add(|registry| {
            let (requests, durations) = (metrics.requests.clone(), metrics.durations.clone());
            registry.register(
                "apiserver_request",
                "Requests, by what they asked for and the code of the answer",
                requests,
            );
            let help = "How long requests took, in seconds, by what they asked for";
            registry.register("apiserver_request_duration_seconds", help, durations);
            registry.register("apiserver_current_inflight_requests", "Requests being answered, by kind", inflight);
            let help = "Open watches, logs, and sessions in containers";
            registry.register("apiserver_longrunning_requests", help, metrics.long_running.clone());
            registry.register("apiserver_watch_events", "Events sent to watchers", metrics.watch_events.clone());
            registry.register_collector(Box::new(process::Process));
            registry.register_collector(Box::new(process::Objects(store)));
        });
        metrics
    }

    /// Lets another part of the process show what it counts.
    pub fn add(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock());
    }

    /// The counter of events that watches of a kind send.
    pub(super) fn watch_events(&self, meta: &Meta) -> Counter {
        let labels = Watched { group: meta.group, version: meta.version, resource: meta.plural };
        self.watch_events.get_or_create_owned(&labels)
    }

    /// How many watch a kind.
    pub(super) fn watchers(&self, meta: &Meta) -> usize {
        let open = Request::watches(meta).map(|request| self.long_running.get(&request).map_or(0, |gauge| gauge.get()));
        open.into_iter().filter_map(|count| usize::try_from(count).ok()).sum()
    }

    /// A request began.
    pub(super) fn begin(self: &Arc<Self>, request: Request) -> Running {
        let gauge = match request.is_long_running() {
            true => self.long_running.get_or_create_owned(&request),
            false => self.inflight[usize::from(request.is_mutating())].clone(),
        };
        gauge.inc();
        Running { metrics: self.clone(), request, gauge, begun: Instant::now() }
    }

    /// Everything, as the client reads it best: OpenMetrics or Prometheus' older text.
    pub(super) fn respond(&self, headers: &HeaderMap) -> Result<Response<Body>> {
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &self.registry.lock()).map_err(Failure::internal)?;
        Ok(match text::wants_open_metrics(headers) {
            true => respond::typed(200, text::OPEN_METRICS, out),
            false => respond::typed(200, text::PLAIN, exposition::plain(&out)),
        })
    }
}

/// A request that is being answered. It ends when this is dropped.
pub struct Running {
    metrics: Arc<Metrics>,
    request: Request,
    gauge: Gauge,
    begun: Instant,
}

impl Running {
    /// The code is known.
    pub(super) fn answered(&self, code: u16) {
        self.metrics.requests.get_or_create(&Answered { request: self.request.clone(), code }).inc();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gauge.dec();
        self.metrics.durations.get_or_create(&self.request).observe(self.begun.elapsed().as_secs_f64());
    }
}
