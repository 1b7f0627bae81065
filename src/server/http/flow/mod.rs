//! API Priority and Fairness: each request belongs to a priority level, and of each level only so many run at once.
//!
//! The configuration is what is stored as FlowSchemas and PriorityLevelConfigurations, read anew when the store says that
//! they changed. Requests of this process, and those that last, are not held up, but watches are until they have begun.

mod config;
mod counts;
mod seats;
mod work;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response};
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use self::config::Config;
use self::config::Limit;
use self::counts::{Counts, Held};
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
    held: Option<Held>,
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
        Self { seat: None, waited: Duration::ZERO, after: Duration::ZERO, names: None, held: None }
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
                drop((seat, self.held));
            });
        }
    }
}

impl FlowControl {
    pub fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>, seats_in_all: usize) -> Self {
        let (config, changes, reading, seats, counts) = Default::default();
        Self { store, metrics, seats_in_all, config, changes, reading, seats, counts }
    }

    pub fn register(&self, registry: &mut Registry) {
        self.counts.register(registry);
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
                self.counts.nominal(&level.name, level.limit.map_or(0, |limit| limit.seats));
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
        let counts = self.counts.of(&class.level.name, class.schema);
        let Some(limit) = class.level.limit else {
            return Ok(Admitted { names: Some(names), held: Some(counts.dispatched(1)), ..Admitted::exempt() });
        };
        let work = self.work(request, query, limit).await;
        let begun = Instant::now();
        let place = counts.wait();
        let outcome = self.seats.take(&class.level.name, class.flow, work.seats).await;
        drop(place);
        let waited = begun.elapsed();
        counts.waited(outcome.is_ok(), waited);
        match outcome {
            Ok(seat) => {
                let held = Some(counts.dispatched(work.seats));
                Ok(Admitted { seat: Some(seat), waited, after: work.after, names: Some(names), held })
            }
            Err(refused) => {
                self.counts.rejected(&class.level.name, class.schema, refused.as_str());
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
