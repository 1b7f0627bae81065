//! A client whose requests are counted, for processes that show it.

use std::sync::Arc;
use std::time::Instant;

use http::Request;
use kube::Client;
use kube::client::Body;
use prometheus_client::registry::Registry;

use crate::api::exposition;
use crate::api::requests::Requests;

pub struct Counts {
    registry: Registry,
    requests: Requests,
}

impl Counts {
    /// Of requests to a server by the name of its host.
    pub fn new(host: &str) -> Self {
        let mut registry = Registry::default();
        let requests = Requests::new(host, &mut registry);
        Self { registry, requests }
    }

    /// In Prometheus' text format.
    pub fn render(&self) -> String {
        let mut open = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut open, &self.registry);
        exposition::plain(&open)
    }
}

/// The same client, counted.
pub fn counted(client: Client, counts: &Arc<Counts>) -> Client {
    let counts = counts.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, counts) = (client.clone(), counts.clone());
        async move {
            let (method, begun) = (request.method().clone(), Instant::now());
            let result = client.send(request).await;
            let code = result.as_ref().ok().map(|response| response.status().as_u16());
            counts.requests.answered(&method, code, begun.elapsed());
            result
        }
    });
    Client::new(service, "default")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Response;

    use super::*;

    #[tokio::test]
    async fn requests_and_failures_are_counted() {
        let counts = Arc::new(Counts::new("a:6443"));
        let answers = tower::service_fn(|request: Request<Body>| async move {
            let code = if request.uri().path() == "/there" { 200 } else { 404 };
            Ok::<_, Infallible>(Response::builder().status(code).body(Body::empty()).unwrap())
        });
        let silent = tower::service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("nobody is there") });
        let client = counted(Client::new(answers, "default"), &counts);
        for path in ["/there", "/there", "/elsewhere"] {
            client.send(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        }
        let client = counted(Client::new(silent, "default"), &counts);
        let failure = client.send(Request::get("/there").body(Body::empty()).unwrap()).await.unwrap_err();
        assert_eq!(failure.to_string(), "ServiceError: nobody is there");
        let told = counts.render();
        for (code, count) in [("200", 2), ("404", 1), ("<error>", 1)] {
            let line = format!(r#"rest_client_requests_total{{code="{code}",host="a:6443",method="GET"}} {count}"#);
            assert!(told.lines().any(|told| told == line), "{line}\n{told}");
        }
    }
}
