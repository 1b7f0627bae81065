//! Requests to an API server, as client-go counts them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use parking_lot::RwLock;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

const BUCKETS: [f64; 12] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];
/// The host of requests that need no socket.
pub const IN_PROCESS: &str = "in-process";
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Of an answer; 0 where there was none.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Code(u16);

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self.0 {
            0 => "<error>".encode(encoder),
            code => code.encode(encoder),
        }
    }
}

/// Counters by code. There are few codes.
#[derive(Default)]
pub struct Codes(RwLock<Vec<(u16, Counter)>>);

impl Codes {
    pub fn inc(&self, code: u16, create: impl FnOnce() -> Counter) {
        let found = self.0.read().iter().find(|(known, _)| *known == code).map(|(_, counter)| counter.clone());
        let counter = found.unwrap_or_else(|| {
            let counter = create();
            self.0.write().push((code, counter.clone()));
            counter
        });
        counter.inc();
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Sent {
    code: Code,
    host: Arc<str>,
    method: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Took {
    verb: &'static str,
    host: Arc<str>,
}

pub struct Requests {
    host: Arc<str>,
    requests: Family<Sent, Counter>,
    methods: [(Codes, Histogram); METHODS.len()],
}

impl Requests {
    pub fn new(host: &str, registry: &mut Registry) -> Self {
        let host: Arc<str> = host.into();
        let requests = Family::default();
        registry.register("rest_client_requests", "Requests to the API server, by the answer's code", requests.clone());
        let durations = Family::<Took, Histogram, fn() -> Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let help = "How long those took, in seconds";
        registry.register("rest_client_request_duration_seconds", help, durations.clone());
        let methods =
            METHODS.map(|verb| (Codes::default(), durations.get_or_create_owned(&Took { verb, host: host.clone() })));
        Self { host, requests, methods }
    }

    /// There is an answer with this code, or none.
    pub fn answered(&self, method: &Method, code: Option<u16>, took: Duration) {
        let Some(at) = METHODS.iter().position(|known| *known == method.as_str()) else { return };
        let (codes, durations) = &self.methods[at];
        let code = code.unwrap_or_default();
        let labels = || Sent { code: Code(code), host: self.host.clone(), method: METHODS[at] };
        let create = || self.requests.get_or_create_owned(&labels());
        codes.inc(code, create);
        durations.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_method_and_code() {
        let mut registry = Registry::default();
        let requests = Requests::new("a:6443", &mut registry);
        for code in [Some(200), Some(200), Some(404), None] {
            requests.answered(&Method::GET, code, Duration::from_millis(3));
        }
        requests.answered(&Method::PATCH, Some(200), Duration::ZERO);
        requests.answered(&Method::TRACE, Some(405), Duration::ZERO);
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &registry).unwrap();
        let mut counted: Vec<_> = out.lines().filter(|line| line.starts_with("rest_client_requests_total")).collect();
        counted.sort_unstable();
        let wanted = [
            r#"rest_client_requests_total{code="200",host="a:6443",method="GET"} 2"#,
            r#"rest_client_requests_total{code="200",host="a:6443",method="PATCH"} 1"#,
            r#"rest_client_requests_total{code="404",host="a:6443",method="GET"} 1"#,
            r#"rest_client_requests_total{code="<error>",host="a:6443",method="GET"} 1"#,
        ];
        assert_eq!(counted, wanted);
        assert!(out.contains(r#"rest_client_request_duration_seconds_count{verb="GET",host="a:6443"} 4"#), "{out}");
    }
}
