//! API Priority and Fairness: each request belongs to a priority level, and of each level only so many run at once.
//!
//! The configuration is what is stored as FlowSchemas and PriorityLevelConfigurations, read anew when the store says that
//! they changed. Requests of this process, and those that last, are not held up, but watches are until they have begun.

mod config;
mod seats;
mod work;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response};
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use self::config::Config;
use self::config::Limit;
use self::seats::{Refused, Seat, Seats};
use self::work::{Stored, Work};
use super::authn::User;
use super::body::Body;
use super::metrics::{Metrics, Told};
use super::respond;
use super::route::RequestInfo;
use crate::server::catalog::catalog;
use crate::server::pipeline::Reader;
use crate::server::pipeline::query::Query;
use crate::store::{ListOptions, Store, Watch};

/// All objects of the group begin with this.
const PREFIX: &str = "/registry/flowcontrol.apiserver.k8s.io/";
const SCHEMA: &str = "x-kubernetes-pf-flowschema-uid";
const LEVEL: &str = "x-kubernetes-pf-prioritylevel-uid";
/// Of so many objects the average size is taken.
const SAMPLE: usize = 8;
const WAITS: [f64; 10] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 15.0];

type Labels = Vec<(&'static str, String)>;

/// What is counted, by level and schema.
struct Counts {
    dispatched: Family<Labels, Counter>,
    rejected: Family<Labels, Counter>,
    waits: Family<Labels, Histogram, fn() -> Histogram>,
    executing: Family<Labels, Gauge>,
    executing_seats: Family<Labels, Gauge>,
    waiting: Family<Labels, Gauge>,
    nominal: Family<Labels, Gauge>,
}

pub struct FlowControl {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    /// Requests of all limited levels together.
    seats_in_all: usize,
    config: RwLock<Arc<Config>>,
    /// Tells of changes; absent until the first request.
    changes: Mutex<Option<Watch>>,
    /// Held by the one who reads the configuration anew.
    reading: tokio::sync::Mutex<()>,
    seats: Seats,
    counts: Counts,
}

/// A request that may run.
pub struct Admitted {
    seat: Option<Seat>,
    waited: Duration,
    after: Duration,
    names: Option<Names>,
}

/// The UIDs that answers carry.
struct Names {
    schema: HeaderValue,
    level: HeaderValue,
}

impl Names {
    fn tell(self, response: &mut Response<Body>) {
        response.headers_mut().insert(SCHEMA, self.schema);
        response.headers_mut().insert(LEVEL, self.level);
    }
}

impl Admitted {
    /// Who is not held up.
    pub fn exempt() -> Self {
        Self { seat: None, waited: Duration::ZERO, after: Duration::ZERO, names: None }
    }

    /// The request has its answer.
    pub fn answered(self, response: &mut Response<Body>) {
        if let Some(names) = self.names {
            names.tell(response);
        }
        if !self.waited.is_zero() {
            response.extensions_mut().insert(Told::Waited(self.waited));
        }
        // Watchers are still being told of what was written.
        if let Some(seat) = self.seat.filter(|_| !self.after.is_zero()) {
            tokio::spawn(async move {
                tokio::time::sleep(self.after).await;
                drop(seat);
            });
        }
    }
}

impl FlowControl {
    pub fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>, seats_in_all: usize) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(WAITS);
        let counts = Counts {
            dispatched: Family::default(),
            rejected: Family::default(),
            waits: Family::new_with_constructor(histogram),
            executing: Family::default(),
            executing_seats: Family::default(),
            waiting: Family::default(),
            nominal: Family::default(),
        };
        let (config, changes, reading, seats) = Default::default();
        Self { store, metrics, seats_in_all, config, changes, reading, seats, counts }
    }

    pub fn register(&self, registry: &mut Registry) {
        let Counts { dispatched, rejected, waits, executing, executing_seats, waiting, nominal } = &self.counts;
        let name = |rest: &str| format!("apiserver_flowcontrol_{rest}");
        registry.register(name("dispatched_requests"), "Requests that got a seat", dispatched.clone());
        registry.register(name("rejected_requests"), "Requests that got none, by why", rejected.clone());
        registry.register(name("request_wait_duration_seconds"), "How long requests waited for a seat", waits.clone());
        registry.register(name("current_executing_requests"), "Requests that have a seat", executing.clone());
        let help = "Seats that those requests have";
        registry.register(name("current_executing_seats"), help, executing_seats.clone());
        registry.register(name("current_inqueue_requests"), "Requests that wait for one", waiting.clone());
        registry.register(name("nominal_limit_seats"), "Seats that a level has by right", nominal.clone());
    }

    /// The configuration as stored, read anew where it changed.
    async fn config(&self) -> Arc<Config> {
        if !self.is_stale() {
            return self.config.read().clone();
        }
        // One reads; who comes meanwhile waits for what it finds.
        let _reading = self.reading.lock().await;
        if !self.is_stale() {
            return self.config.read().clone();
        }
        // The watch begins before the lists, so that no change is missed.
        let watch = self.store.watch(PREFIX, self.store.revision()).await.ok();
        let reader = Reader::new(self.store.as_ref());
        let (schemas, levels) =
            (reader.list::<FlowSchema>("").await, reader.list::<PriorityLevelConfiguration>("").await);
        if let (Ok(schemas), Ok(levels)) = (schemas, levels) {
            let config = Config::new(schemas, &levels, self.seats_in_all);
            self.seats.configure(config.levels());
            for level in config.levels() {
                let seats = level.limit.map_or(0, |limit| limit.seats);
                let gauge = self.counts.nominal.get_or_create_owned(&vec![("priority_level", level.name.to_string())]);
                gauge.set(i64::try_from(seats).unwrap_or(i64::MAX));
            }
            *self.config.write() = Arc::new(config);
        }
        *self.changes.lock() = watch;
        self.config.read().clone()
    }

    /// Whether anything happened since the configuration was read.
    fn is_stale(&self) -> bool {
        let mut changes = self.changes.lock();
        match changes.as_mut().map(|watch| watch.events.try_recv()) {
            Some(Err(tokio::sync::mpsc::error::TryRecvError::Empty)) => false,
            // The next one lists and watches anew.
            _ => {
                *changes = None;
                true
            }
        }
    }

    /// Waits until the request may run.
    ///
    /// # Errors
    /// The 429 to answer with.
    pub async fn admit(
        &self,
        user: &User,
        request: &RequestInfo,
        query: &Query,
    ) -> Result<Admitted, Box<Response<Body>>> {
        let config = self.config().await;
        let Some(class) = config.classify(user, request) else { return Ok(Admitted::exempt()) };
        let header = |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        let names = Names { schema: header(class.schema_uid), level: header(&class.level.uid) };
        let labels =
            || vec![("priority_level", class.level.name.to_string()), ("flow_schema", class.schema.to_owned())];
        let Some(limit) = class.level.limit else {
            self.counts.dispatched.get_or_create(&labels()).inc();
            return Ok(Admitted { names: Some(names), ..Admitted::exempt() });
        };
        let work = self.work(request, query, limit).await;
        let begun = Instant::now();
        match self.seats.take(&class.level.name, class.flow, work.seats).await {
            Ok(seat) => {
                self.counts.dispatched.get_or_create(&labels()).inc();
                let waited = begun.elapsed();
                self.counts.waits.get_or_create(&labels()).observe(waited.as_secs_f64());
                Ok(Admitted { seat: Some(seat), waited, after: work.after, names: Some(names) })
            }
            Err(refused) => {
                let mut labels = labels();
                labels.push(("reason", refused.as_str().to_owned()));
                self.counts.rejected.get_or_create(&labels).inc();
                Err(Box::new(too_many(names, refused)))
            }
        }
    }

    async fn work(&self, request: &RequestInfo, query: &Query, limit: Limit) -> Work {
        let Some(kind) = catalog().find(&request.group, &request.version, &request.resource) else {
            return Work::LEAST;
        };
        match request.verb.as_str() {
            _ if work::is_list(request, query) => {
                work::of_list(request, query, self.stored(&kind.meta().prefix()).await, limit)
            }
            "create" | "update" | "patch" | "delete" => {
                work::of_write(request, self.metrics.watchers(kind.meta()), limit)
            }
            _ => Work::LEAST,
        }
    }

    async fn stored(&self, prefix: &str) -> Stored {
        let sample = ListOptions { limit: SAMPLE, ..ListOptions::default() };
        let Ok(page) = self.store.list(prefix, sample).await else { return Stored::default() };
        let bytes: usize = page.items.iter().map(|item| item.value.len()).sum();
        let objects = (page.items.len() + page.remaining) as u64;
        Stored { objects, bytes: (bytes / page.items.len().max(1)) as u64 }
    }

    /// Brings the gauges up to date, for whoever reads them.
    pub fn observe(&self) {
        for level in self.config.read().levels() {
            let load = self.seats.load(&level.name);
            let labels = vec![("priority_level", level.name.to_string())];
            let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
            self.counts.executing.get_or_create(&labels).set(number(load.requests));
            self.counts.executing_seats.get_or_create(&labels).set(number(load.seats));
            self.counts.waiting.get_or_create(&labels).set(number(load.waiting));
        }
    }
}

/// Upstream's answer is a text, not a Status.
fn too_many(names: Names, refused: Refused) -> Response<Body> {
    tracing::debug!(reason = refused.as_str(), "too many requests");
    let mut response = respond::text(429, "Too many requests, please try again later.\n");
    response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    names.tell(&mut response);
    response.extensions_mut().insert(Told::Terminated);
    response
}
