//! Requests that parts of this process make to its own API server, as client-go counts them.

use std::time::Duration;

use http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::sorts::Codes;

const BUCKETS: [f64; 12] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];
/// Where the requests go, without a socket.
const HOST: &str = "in-process";
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Sent {
    code: u16,
    host: &'static str,
    method: &'static str,
}

type Verb = [(&'static str, &'static str); 2];

pub(in super::super) struct Clients {
    requests: Family<Sent, Counter>,
    methods: [(Codes, Histogram); METHODS.len()],
}

impl Clients {
    pub fn new(registry: &mut Registry) -> Self {
        let requests = Family::default();
        registry.register("rest_client_requests", "Requests to the API server, by the answer's code", requests.clone());
        let durations = Family::<Verb, Histogram, fn() -> Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let help = "How long those took, in seconds";
        registry.register("rest_client_request_duration_seconds", help, durations.clone());
        let methods =
            METHODS.map(|verb| (Codes::default(), durations.get_or_create_owned(&[("verb", verb), ("host", HOST)])));
        Self { requests, methods }
    }

    pub fn answered(&self, method: &Method, code: u16, took: Duration) {
        let Some(at) = METHODS.iter().position(|known| *known == method.as_str()) else { return };
        let (codes, durations) = &self.methods[at];
        let create = || self.requests.get_or_create_owned(&Sent { code, host: HOST, method: METHODS[at] });
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
        let clients = Clients::new(&mut registry);
        for (method, code) in [(Method::GET, 200), (Method::GET, 200), (Method::GET, 404), (Method::PATCH, 200)] {
            clients.answered(&method, code, Duration::from_millis(3));
        }
        clients.answered(&Method::TRACE, 405, Duration::ZERO);
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &registry).unwrap();
        let mut counted: Vec<_> = out.lines().filter(|line| line.starts_with("rest_client_requests_total")).collect();
        counted.sort_unstable();
        let wanted = [
            r#"rest_client_requests_total{code="200",host="in-process",method="GET"} 2"#,
            r#"rest_client_requests_total{code="200",host="in-process",method="PATCH"} 1"#,
            r#"rest_client_requests_total{code="404",host="in-process",method="GET"} 1"#,
        ];
        assert_eq!(counted, wanted);
        assert!(out.contains(r#"rest_client_request_duration_seconds_count{verb="GET",host="in-process"} 3"#), "{out}");
    }
}
