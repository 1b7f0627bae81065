//! `/metrics`: what the process counts, in one registry, under upstream's names.
//!
//! Requests are counted by labels that come from the catalog and from small fixed lists, never from what a
//! client wrote, so that nobody can make the registry grow. What can be read off at any time
//! (objects in the store, memory, processor time) is read when somebody asks, not kept.

mod access;
mod burst;
mod labels;
mod process;
mod sorts;
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
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub use self::burst::Burst;
pub use self::labels::Tried;
use self::labels::{Deprecated, Request, Terminated, Watched};
use self::sorts::{Sort, Sorts};
use super::body::Body;
use super::respond;
use crate::api::exposition;
use crate::api::requests::{IN_PROCESS, Requests};
use crate::api::status::{Failure, Result};
use crate::server::pipeline::context::Writes;
use crate::server::strategy::Meta;
use crate::store::Store;

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

/// The counters of a process and the registry that shows them.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Of pods, which are many.
    resources: Mutex<Registry>,
    pub(super) access: access::Access,
    /// From parts of this process.
    pub(super) own_requests: Requests,
    sorts: Sorts,
    deprecated: Family<Deprecated, Gauge>,
    terminations: Family<Terminated, Counter>,
    certificates: Histogram,
    watch_events: Family<Watched, Counter>,
    burst: Arc<Burst>,
    watch_sizes: Family<Watched, Histogram, fn() -> Histogram>,
}

/// What the events that watches of a kind send are counted by.
pub(super) struct Events {
    count: Counter,
    sizes: Histogram,
}

impl Events {
    /// One of so many bytes.
    pub fn sent(&self, bytes: usize) {
        self.count.inc();
        self.sizes.observe(bytes as f64);
    }
}

impl Metrics {
    pub fn new(store: Arc<dyn Store>) -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            access: access::Access::new(&mut registry),
            own_requests: Requests::new(IN_PROCESS, &mut registry),
            sorts: Sorts::new(&mut registry),
            registry: Mutex::new(registry),
            resources: Mutex::default(),
            deprecated: Family::default(),
            terminations: Family::default(),
            certificates: Histogram::new(LIFETIMES),
            watch_events: Family::default(),
            burst: Arc::default(),
            watch_sizes: Family::new_with_constructor(|| Histogram::new(exponential_buckets(1024.0, 2.0, 8))),
        };
        metrics.add(|registry| {
            let help = "How long the certificates were still good that clients showed, in seconds";
            registry.register("apiserver_client_certificate_expiration_seconds", help, metrics.certificates.clone());
            registry.register("apiserver_watch_events", "Events sent to watchers", metrics.watch_events.clone());
            let help = "Bytes of events sent to watchers";
            registry.register("apiserver_watch_events_sizes", help, metrics.watch_sizes.clone());
            let help = "Requests that were refused or given up so that others could be answered";
            registry.register("apiserver_request_terminations", help, metrics.terminations.clone());
            let help = "Deprecated kinds that were asked for, which are 1";
            registry.register("apiserver_requested_deprecated_apis", help, metrics.deprecated.clone());
            registry.register_collector(Box::new(process::Process));
            registry.register_collector(Box::new(process::Objects(store)));
        });
        metrics
    }

    /// Lets another part of the process show what it counts.
    pub fn add(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock());
    }

    /// The same for `/metrics/resources`.
    pub fn add_resources(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.resources.lock());
    }

    /// Tells when much was asked, and no more is.
    pub fn burst(&self) -> Arc<Burst> {
        self.burst.clone()
    }

    /// What the events that watches of a kind send are counted by.
    pub(super) fn watch_events(&self, meta: &Meta) -> Events {
        let labels = Watched { group: meta.group, version: meta.version, resource: meta.plural };
        Events {
            count: self.watch_events.get_or_create_owned(&labels),
            sizes: self.watch_sizes.get_or_create_owned(&labels),
        }
    }

    /// How many watch a kind.
    pub(super) fn watchers(&self, meta: &Meta) -> usize {
        let open = Request::watches(meta).map(|request| self.sorts.lasting(&request));
        open.into_iter().filter_map(|count| usize::try_from(count).ok()).sum()
    }

    /// A request began.
    pub(super) fn begin(self: &Arc<Self>, request: Tried) -> Running {
        let sort = self.sorts.of(request);
        sort.gauge.inc();
        Running { metrics: self.clone(), sort, begun: Instant::now(), waited: AtomicU64::new(0) }
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

    /// Everything.
    pub(super) fn respond(&self, headers: &HeaderMap) -> Result<Response<Body>> {
        shown(&self.registry.lock(), headers)
    }

    /// What pods ask for and may use.
    pub(super) fn respond_resources(&self, headers: &HeaderMap) -> Result<Response<Body>> {
        shown(&self.resources.lock(), headers)
    }
}

/// A registry as the client reads it best: OpenMetrics or Prometheus' older text.
pub(super) fn shown(registry: &Registry, headers: &HeaderMap) -> Result<Response<Body>> {
    let mut out = String::new();
    prometheus_client::encoding::text::encode(&mut out, registry).map_err(Failure::internal)?;
    Ok(match text::wants_open_metrics(headers) {
        true => respond::typed(200, text::OPEN_METRICS, out),
        false => respond::typed(200, text::PLAIN, exposition::plain(&out)),
    })
}

/// A request that is being answered. It ends when this is dropped.
pub struct Running {
    metrics: Arc<Metrics>,
    sort: Arc<Sort>,
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
    /// It lasts as long as its client wants.
    pub(super) fn lasts(&self) -> bool {
        self.sort.tried.request.is_long_running()
    }

    /// What its writes are counted by, where it may write.
    pub(super) fn writes(&self) -> Option<&Writes> {
        self.sort.writes.as_ref()
    }

    /// There is an answer.
    pub(super) fn answered(&self, response: &Response<Body>) {
        let (metrics, sort, code) = (&self.metrics, &self.sort, response.status().as_u16());
        metrics.sorts.answered(sort, code);
        match response.extensions().get::<Told>() {
            Some(Told::Waited(waited)) => {
                self.waited.store(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
            Some(Told::Terminated) => {
                let request = sort.tried.request.clone();
                metrics.terminations.get_or_create(&Terminated { request, code }).inc();
            }
            None => {}
        }
        let bytes = response.body().size_hint().exact();
        metrics.burst.answered(bytes.unwrap_or_default());
        if let (Some(sizes), Some(bytes)) = (&sort.sizes, bytes) {
            sizes.observe(bytes as f64);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.sort.gauge.dec();
        let took = self.begun.elapsed();
        self.sort.durations.observe(took.as_secs_f64());
        if let Some(durations) = &self.sort.sli_durations {
            let own = took.saturating_sub(Duration::from_nanos(self.waited.load(Ordering::Relaxed)));
            durations.observe(own.as_secs_f64());
        }
    }
}
