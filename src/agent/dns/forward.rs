//! Names that others answer for, of the whole world or of a stub domain: asks the pool of servers it is given,
//! remembers what they say, asks once however many clients want to know, and falls back on what it remembers when
//! nobody answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use hickory_proto::op::ResponseCode;
use parking_lot::Mutex;

use super::cache::{Cache, Hit, Question, of_message};
use super::message::Reply;
use super::metrics::{Cached, Metrics};
use super::pool::Pool;

/// Different questions asked of others at the same time, as kubeadm configures CoreDNS.
const CONCURRENT: usize = 1000;
/// How long a client waits for a new answer when there is an old one (RFC 8767's client response timer).
const STALE_AFTER: Duration = Duration::from_millis(1800);

/// A question on its way, and all who wait for its answer.
type Flight = Shared<BoxFuture<'static, Arc<Reply>>>;

/// One for all pools. Cheap to clone.
#[derive(Clone)]
pub struct Forwarder(Arc<Inner>);

struct Inner {
    cache: Cache,
    metrics: Arc<Metrics>,
    flights: Mutex<HashMap<Question, Flight>>,
}

impl Forwarder {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner { cache: Cache::default(), metrics, flights: Mutex::default() }))
    }

    /// What was remembered may have come from servers that are not to be believed any more.
    pub fn forget(&self) {
        self.0.cache.clear();
    }

    pub async fn answer(&self, pool: &Arc<Pool>, question: Question) -> Reply {
        let metrics = &self.0.metrics;
        let stale = match self.0.cache.get(&question, Instant::now()) {
            Some(Hit::Fresh(reply)) => {
                metrics.cached(Cached::Hit, self.0.cache.len());
                return reply;
            }
            Some(Hit::Stale(reply)) => Some(reply),
            None => None,
        };
        metrics.cached(Cached::Miss, self.0.cache.len());
        let flight = self.board(pool, question);
        let Some(stale) = stale else { return Reply::clone(&*flight.await) };
        // Where nobody answered just now there is nothing to wait for; the question is on its way all the same.
        let patience = if pool.is_down() { Duration::ZERO } else { STALE_AFTER };
        match tokio::time::timeout(patience, flight).await {
            Ok(reply) if reply.code != ResponseCode::ServFail => Reply::clone(&*reply),
            _ => {
                metrics.cached(Cached::Stale, self.0.cache.len());
                stale
            }
        }
    }

    /// Joins those who wait for the same answer, or is the first to ask.
    fn board(&self, pool: &Arc<Pool>, question: Question) -> Flight {
        let mut flights = self.0.flights.lock();
        if let Some(flight) = flights.get(&question) {
            return flight.clone();
        }
        if flights.len() >= CONCURRENT {
            self.0.metrics.rejected();
            return futures::future::ready(Arc::new(Reply::code(ResponseCode::Refused))).boxed().shared();
        }
        // A task of its own: the first one to ask may go away, and others still want to know.
        let task = tokio::spawn(fly(self.clone(), pool.clone(), question.clone()));
        let failure = || Arc::new(Reply::code(ResponseCode::ServFail));
        let flight = task.map(move |reply| reply.unwrap_or_else(|_| failure())).boxed().shared();
        flights.insert(question, flight.clone());
        flight
    }
}

async fn fly(forwarder: Forwarder, pool: Arc<Pool>, question: Question) -> Arc<Reply> {
    let inner = &forwarder.0;
    let reply = match pool.ask(&question, &inner.metrics).await {
        Some(message) => of_message(message),
        None => Reply::code(ResponseCode::ServFail),
    };
    inner.cache.put(question.clone(), &reply, Instant::now());
    inner.flights.lock().remove(&question);
    Arc::new(reply)
}
