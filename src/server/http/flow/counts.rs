//! What priority and fairness counts, by level and schema, under upstream's names. A request finds what it is counted by
//! in one look.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

const WAITS: [f64; 13] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];

type Labels = Vec<(&'static str, String)>;
/// A level's name, and a schema of it.
type Known = (Arc<str>, Arc<Schema>);

pub struct Counts {
    dispatched: Family<Labels, Counter>,
    rejected: Family<Labels, Counter>,
    waits: Family<Labels, Histogram, fn() -> Histogram>,
    executing: Family<Labels, Gauge>,
    executing_seats: Family<Labels, Gauge>,
    waiting: Family<Labels, Gauge>,
    nominal: Family<Labels, Gauge>,
    /// By the schema's name.
    schemas: RwLock<HashMap<String, Known>>,
}

impl Default for Counts {
    fn default() -> Self {
        let (dispatched, rejected, executing, executing_seats, waiting, nominal, schemas) = Default::default();
        let waits = Family::new_with_constructor((|| Histogram::new(WAITS)) as fn() -> Histogram);
        Self { dispatched, rejected, waits, executing, executing_seats, waiting, nominal, schemas }
    }
}

/// What the requests of a schema are counted by.
pub struct Schema {
    dispatched: Counter,
    /// Of those that were refused, and of those that ran.
    waits: [Histogram; 2],
    executing: Gauge,
    executing_seats: Gauge,
    waiting: Gauge,
}

fn labels(level: &str, schema: &str) -> Labels {
    vec![("priority_level", level.to_owned()), ("flow_schema", schema.to_owned())]
}

fn number(seats: usize) -> i64 {
    i64::try_from(seats).unwrap_or(i64::MAX)
}

impl Counts {
    pub fn register(&self, registry: &mut Registry) {
        let name = |rest: &str| format!("apiserver_flowcontrol_{rest}");
        registry.register(name("dispatched_requests"), "Requests that got a seat", self.dispatched.clone());
        registry.register(name("rejected_requests"), "Requests that got none, by why", self.rejected.clone());
        let help = "How long requests waited for a seat";
        registry.register(name("request_wait_duration_seconds"), help, self.waits.clone());
        registry.register(name("current_executing_requests"), "Requests that have a seat", self.executing.clone());
        let help = "Seats that those requests have";
        registry.register(name("current_executing_seats"), help, self.executing_seats.clone());
        registry.register(name("current_inqueue_requests"), "Requests that wait for one", self.waiting.clone());
        registry.register(name("nominal_limit_seats"), "Seats that a level has by right", self.nominal.clone());
    }

    pub fn nominal(&self, level: &str, seats: usize) {
        self.nominal.get_or_create(&vec![("priority_level", level.to_owned())]).set(number(seats));
    }

    pub fn rejected(&self, level: &str, schema: &str, reason: &str) {
        let mut labels = labels(level, schema);
        labels.push(("reason", reason.to_owned()));
        self.rejected.get_or_create(&labels).inc();
    }

    pub fn of(&self, level: &Arc<str>, schema: &str) -> Arc<Schema> {
        if let Some((of, known)) = self.schemas.read().get(schema)
            && of == level
        {
            return known.clone();
        }
        let labels = labels(level, schema);
        let waits = ["false", "true"].map(|execute| {
            let mut labels = labels.clone();
            labels.push(("execute", execute.to_owned()));
            self.waits.get_or_create_owned(&labels)
        });
        let found = Arc::new(Schema {
            dispatched: self.dispatched.get_or_create_owned(&labels),
            waits,
            executing: self.executing.get_or_create_owned(&labels),
            executing_seats: self.executing_seats.get_or_create_owned(&labels),
            waiting: self.waiting.get_or_create_owned(&labels),
        });
        self.schemas.write().insert(schema.to_owned(), (level.clone(), found.clone()));
        found
    }
}

impl Schema {
    /// A request waits, until this is dropped.
    pub fn wait(&self) -> Waiting<'_> {
        self.waiting.inc();
        Waiting(self)
    }

    pub fn waited(&self, ran: bool, time: Duration) {
        self.waits[usize::from(ran)].observe(time.as_secs_f64());
    }

    /// A request runs, until this is dropped.
    pub fn dispatched(self: Arc<Self>, seats: usize) -> Held {
        self.dispatched.inc();
        self.executing.inc();
        self.executing_seats.inc_by(number(seats));
        Held { schema: self, seats }
    }
}

pub struct Waiting<'a>(&'a Schema);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.dec();
    }
}

pub struct Held {
    schema: Arc<Schema>,
    seats: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.schema.executing.dec();
        self.schema.executing_seats.dec_by(number(self.seats));
    }
}
