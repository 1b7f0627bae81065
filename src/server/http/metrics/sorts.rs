//! What requests of one sort are counted by: found once for a request, by its labels, instead of once for each number.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::{Answered, Inflight, Request, Stored, Tried};
use crate::api::requests::Codes;
use crate::server::pipeline::context::Writes;

/// Upstream's, of requests and of its store.
const BUCKETS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
/// The same, but for the shortest.
const SLI_BUCKETS: [f64; 21] =
    [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];
const SIZES: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

pub(super) struct Sort {
    pub tried: Tried,
    codes: Codes,
    pub durations: Histogram,
    /// Without the time that requests waited for a seat; not of what lasts.
    pub sli_durations: Option<Histogram>,
    /// Of answers to reads.
    pub sizes: Option<Histogram>,
    /// How many are being answered.
    pub gauge: Gauge,
    pub writes: Option<Writes>,
}

pub(super) struct Sorts {
    known: RwLock<HashMap<Tried, Arc<Sort>>>,
    requests: Family<Answered, Counter>,
    durations: Histograms<Tried>,
    sli_durations: Histograms<Request>,
    sizes: Histograms<Request>,
    long_running: Family<Request, Gauge>,
    /// Reads, then writes.
    inflight: [Gauge; 2],
    writes: Family<Stored, Counter>,
    write_durations: Histograms<Stored>,
}

impl Sorts {
    pub fn new(registry: &mut Registry) -> Self {
        let inflight = Family::<Inflight, Gauge>::default();
        let kinds =
            ["readOnly", "mutating"].map(|request_kind| inflight.get_or_create_owned(&Inflight { request_kind }));
        registry.register("apiserver_current_inflight_requests", "Requests being answered, by kind", inflight);
        let sorts = Self {
            known: RwLock::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            sli_durations: Family::new_with_constructor(|| Histogram::new(SLI_BUCKETS)),
            sizes: Family::new_with_constructor(|| Histogram::new(SIZES)),
            long_running: Family::default(),
            inflight: kinds,
            writes: Family::default(),
            write_durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        };
        let help = "Requests, by what they asked for and the code of the answer";
        registry.register("apiserver_request", help, sorts.requests.clone());
        let help = "How long requests took, in seconds, by what they asked for";
        registry.register("apiserver_request_duration_seconds", help, sorts.durations.clone());
        let help = "The same without the time spent waiting for a turn, for what does not last";
        registry.register("apiserver_request_sli_duration_seconds", help, sorts.sli_durations.clone());
        let help = "Bytes of answers to GET and LIST";
        registry.register("apiserver_response_sizes", help, sorts.sizes.clone());
        let help = "Open watches, logs, and sessions in containers";
        registry.register("apiserver_longrunning_requests", help, sorts.long_running.clone());
        registry.register("etcd_requests", "Writes to the store, whichever it is", sorts.writes.clone());
        let help = "How long those took, in seconds";
        registry.register("etcd_request_duration_seconds", help, sorts.write_durations.clone());
        sorts
    }

    pub fn of(&self, tried: Tried) -> Arc<Sort> {
        if let Some(known) = self.known.read().get(&tried) {
            return known.clone();
        }
        let request = &tried.request;
        let lasts = request.is_long_running();
        let sort = Sort {
            codes: Codes::default(),
            durations: self.durations.get_or_create_owned(&tried),
            sli_durations: (!lasts).then(|| self.sli_durations.get_or_create_owned(request)),
            sizes: request.is_read().then(|| self.sizes.get_or_create_owned(request)),
            gauge: match lasts {
                true => self.long_running.get_or_create_owned(request),
                false => self.inflight[usize::from(request.is_mutating())].clone(),
            },
            writes: request.stored().map(|labels| Writes {
                count: self.writes.get_or_create_owned(&labels),
                durations: self.write_durations.get_or_create_owned(&labels),
            }),
            tried: tried.clone(),
        };
        self.known.write().entry(tried).or_insert_with(|| Arc::new(sort)).clone()
    }

    pub fn answered(&self, sort: &Sort, code: u16) {
        let labels = || Answered { tried: sort.tried.clone(), code };
        sort.codes.inc(code, || self.requests.get_or_create_owned(&labels()));
    }

    /// How many requests that last there are of a sort.
    pub fn lasting(&self, request: &Request) -> i64 {
        self.long_running.get(request).map_or(0, |gauge| gauge.get())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::route::request_info;
    use super::*;
    use crate::server::pipeline::query::Query;

    #[test]
    fn a_sort_is_found_again_and_counts_by_code() {
        let sorts = Sorts::new(&mut Registry::default());
        let of = |method: &str, path: &str| {
            let query = Query::parse(None);
            let info = request_info(&method.parse().unwrap(), path, &query);
            sorts.of(Tried::of(&info, &query, &http::HeaderMap::new()))
        };
        let (one, again) = (of("GET", "/api/v1/pods"), of("GET", "/api/v1/pods"));
        assert!(Arc::ptr_eq(&one, &again) && !Arc::ptr_eq(&one, &of("GET", "/api/v1/nodes")));
        [200, 200, 404].into_iter().for_each(|code| sorts.answered(&one, code));
        let count = |code| sorts.requests.get(&Answered { tried: one.tried.clone(), code }).unwrap().get();
        assert_eq!((count(200), count(404)), (2, 1));
        for (method, path, writes) in [
            ("GET", "/api/v1/namespaces/a/pods/p", false),
            ("POST", "/api/v1/namespaces/a/pods", true),
            ("PUT", "/api/v1/namespaces/a/pods/p/status", true),
            ("GET", "/api/v1/namespaces/a/pods/p/log", false),
            ("POST", "/apis/made.up/v1/namespaces/a/things", false),
        ] {
            assert_eq!(of(method, path).writes.is_some(), writes, "{method} {path}");
        }
    }
}
