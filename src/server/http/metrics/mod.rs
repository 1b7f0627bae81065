//! `/metrics`: what the process counts, in one registry, under upstream's names.
//!
//! Requests are counted by labels that come from the catalog and from small fixed lists, never from what a
//! client wrote, so that nobody can make the registry grow. What can be read off at any time
//! (objects in the store, memory, processor time) is read when somebody asks, not kept.

mod labels;
mod process;
mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, Response};
use hyper::body::Body as _;
use jiff::SignedDuration;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use self::labels::Request;
use self::labels::{Answered, Deprecated, Inflight, Watched};
use super::body::Body;
use super::respond;
use crate::api::exposition;
use crate::api::status::{Failure, Result};
use crate::server::strategy::Meta;
use crate::store::Store;

/// Seconds; fine where a request of ours ends, coarse up to the longest watch.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0];

/// Upstream's objectives for a request are one, five and thirty seconds.
const SLI_BUCKETS: [f64; 13] = [0.005, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
const SIZES: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Minutes, hours, days and months, in seconds.
const LIFETIMES: [f64; 12] = [
    0.0,
    1800.0,
    3600.0,
    7200.0,
    21600.0,
    86400.0,
    172_800.0,
    345_600.0,
    604_800.0,
    2_592_000.0,
    7_776_000.0,
    31_104_000.0,
];

type Histograms = Family<Request, Histogram, fn() -> Histogram>;

/// The counters of a process and the registry that shows them.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Answered, Counter>,
    durations: Histograms,
    /// Without the time that requests waited for a seat, and without what lasts.
    sli_durations: Histograms,
    sizes: Histograms,
    deprecated: Family<Deprecated, Gauge>,
    terminations: Family<Answered, Counter>,
    certificates: Histogram,
    long_running: Family<Request, Gauge>,
    watch_events: Family<Watched, Counter>,
    /// Reads, then writes.
    inflight: [Gauge; 2],
}

impl Metrics {
    pub fn new(store: Arc<dyn Store>) -> Self {
        let inflight = Family::<Inflight, Gauge>::default();
        let kinds =
            ["readOnly", "mutating"].map(|request_kind| inflight.get_or_create_owned(&Inflight { request_kind }));
        let metrics = Self {
            registry: Mutex::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            sli_durations: Family::new_with_constructor(|| Histogram::new(SLI_BUCKETS)),
            sizes: Family::new_with_constructor(|| Histogram::new(SIZES)),
            deprecated: Family::default(),
            terminations: Family::default(),
            certificates: Histogram::new(LIFETIMES),
            long_running: Family::default(),
            watch_events: Family::default(),
            inflight: kinds,
        };
        metrics.show_requests(inflight);
        metrics.add(|registry| {
            let help = "How long the certificates were still good that clients showed, in seconds";
            registry.register("apiserver_client_certificate_expiration_seconds", help, metrics.certificates.clone());
            registry.register("apiserver_watch_events", "Events sent to watchers", metrics.watch_events.clone());
            registry.register_collector(Box::new(process::Process));
            registry.register_collector(Box::new(process::Objects(store)));
        });
        metrics
    }

    fn show_requests(&self, inflight: Family<Inflight, Gauge>) {
        self.add(|registry| {
            let help = "Requests, by what they asked for and the code of the answer";
            registry.register("apiserver_request", help, self.requests.clone());
            let help = "How long requests took, in seconds, by what they asked for";
            registry.register("apiserver_request_duration_seconds", help, self.durations.clone());
            let help = "The same without the time spent waiting for a turn, for what does not last";
            registry.register("apiserver_request_sli_duration_seconds", help, self.sli_durations.clone());
            let help = "Bytes of answers to GET and LIST";
            registry.register("apiserver_response_sizes", help, self.sizes.clone());
            let help = "Requests that were refused or given up so that others could be answered";
            registry.register("apiserver_request_terminations", help, self.terminations.clone());
            let help = "Deprecated kinds that were asked for, which are 1";
            registry.register("apiserver_requested_deprecated_apis", help, self.deprecated.clone());
            registry.register("apiserver_current_inflight_requests", "Requests being answered, by kind", inflight);
            let help = "Open watches, logs, and sessions in containers";
            registry.register("apiserver_longrunning_requests", help, self.long_running.clone());
        });
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
        Running { metrics: self.clone(), request, gauge, begun: Instant::now(), waited: AtomicU64::new(0) }
    }

    /// A deprecated kind was asked for.
    pub(super) fn deprecated(&self, meta: &Meta, subresource: &str) {
        let known = meta.subresources.iter().find(|sub| sub.name == subresource);
        let labels = Deprecated {
            group: meta.group,
            version: meta.version,
            resource: meta.plural,
            subresource: known.map_or("", |sub| sub.name),
            removed_release: "",
        };
        self.deprecated.get_or_create(&labels).set(1);
    }

    /// A client showed a certificate that is good for so much longer.
    pub(super) fn certificate(&self, left: SignedDuration) {
        self.certificates.observe(left.as_secs_f64());
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
    /// For its turn, in nanoseconds.
    waited: AtomicU64,
}

/// What those who made an answer have to say of it here; an extension of the answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    /// The request waited so long for its turn.
    Waited(Duration),
    /// It was refused or given up for the sake of others.
    Terminated,
}

impl Running {
    /// There is an answer.
    pub(super) fn answered(&self, response: &Response<Body>) {
        let (metrics, code) = (&self.metrics, response.status().as_u16());
        let labels = Answered { request: self.request.clone(), code };
        metrics.requests.get_or_create(&labels).inc();
        match response.extensions().get::<Told>() {
            Some(Told::Waited(waited)) => {
                self.waited.store(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
            Some(Told::Terminated) => drop(metrics.terminations.get_or_create(&labels).inc()),
            None => {}
        }
        if let Some(bytes) = response.body().size_hint().exact().filter(|_| self.request.is_read()) {
            metrics.sizes.get_or_create(&self.request).observe(bytes as f64);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gauge.dec();
        let took = self.begun.elapsed();
        self.metrics.durations.get_or_create(&self.request).observe(took.as_secs_f64());
        if !self.request.is_long_running() {
            let own = took.saturating_sub(Duration::from_nanos(self.waited.load(Ordering::Relaxed)));
            self.metrics.sli_durations.get_or_create(&self.request).observe(own.as_secs_f64());
        }
    }
}
