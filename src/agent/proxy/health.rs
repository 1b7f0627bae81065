//! The health-check node ports: a load balancer asks every node whether it has endpoints of a Service whose
//! `externalTrafficPolicy` is `Local`, and sends only to those that say yes. One listener for each such Service,
//! following the Services. Never sees their traffic.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::answering::{self, listen};
use super::endpoints::ready_here;
use super::progress::Progress;
use crate::agent::services::{Key, Services, View};
use crate::reconcile::events::{EventType, Recorder};

/// After a port could not be opened.
const AGAIN: Duration = Duration::from_secs(10);

/// What the listeners share.
pub struct HealthPorts {
    node: String,
    proxy: watch::Receiver<Progress>,
    recorder: Recorder,
    open: HashMap<Key, Open>,
    failed: HashSet<Key>,
}

/// One open port; closed when dropped.
struct Open {
    port: u16,
    endpoints: Arc<AtomicUsize>,
    listener: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl HealthPorts {
    pub fn new(node: String, proxy: watch::Receiver<Progress>, recorder: Recorder) -> Self {
        Self { node, proxy, recorder, open: HashMap::new(), failed: HashSet::new() }
    }

    /// Follows the Services until dropped, and then closes the ports.
    pub async fn follow(mut self, services: Services) {
        services.wait_ready().await;
        let mut subscription = services.subscribe();
        loop {
            let changed = tokio::select! {
                changed = subscription.changed() => changed,
                () = tokio::time::sleep(AGAIN), if !self.failed.is_empty() => std::mem::take(&mut self.failed),
            };
            let mut wanted = Vec::new();
            for key in changed {
                let view = services.get(&key);
                self.failed.remove(&key);
                match port(&view) {
                    Some(port) => wanted.push((key, port, ready_here(&view, &self.node).len())),
                    None => self.close(&key).await,
                }
            }
            // A port may pass from one Service to another: what closes comes first.
            for (key, port, _) in &wanted {
                if self.open.get(key).is_some_and(|open| open.port != *port) {
                    self.close(key).await;
                }
            }
            for (key, port, count) in wanted {
                self.tell(key, port, count).await;
            }
        }
    }

    async fn close(&mut self, key: &Key) {
        if let Some(mut open) = self.open.remove(key) {
            open.listener.abort();
            // Aborting is what we asked for; afterwards the port is free.
            let _ = (&mut open.listener).await;
        }
    }

    async fn tell(&mut self, key: Key, port: u16, count: usize) {
        if let Some(open) = self.open.get(&key) {
            return open.endpoints.store(count, Ordering::Relaxed);
        }
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        match TcpListener::bind(address).await {
            Ok(listener) => {
                let endpoints = Arc::new(AtomicUsize::new(count));
                let answer = Answer { key: key.clone(), endpoints: endpoints.clone(), proxy: self.proxy.clone() };
                let listener = tokio::spawn(listen(listener, move |_| answer.give()));
                self.open.insert(key, Open { port, endpoints, listener });
            }
            Err(error) => self.complain(key, port, &error),
        }
    }

    fn complain(&mut self, key: Key, port: u16, error: &io::Error) {
        let name = format!("{}/{}", key.namespace, key.name);
        let message = format!("node {} failed to start healthcheck {name:?} on port {port}: {error}", self.node);
        tracing::error!(message);
        let about = ObjectReference {
            kind: Some("Service".to_owned()),
            namespace: Some(key.namespace.to_string()),
            name: Some(key.name.to_string()),
            uid: Some(name),
            ..ObjectReference::default()
        };
        self.recorder.event_at(about, EventType::Warning, "FailedToStartServiceHealthcheck", message);
        self.failed.insert(key);
    }
}

/// The port that the Service wants to be asked at.
fn port(view: &View) -> Option<u16> {
    view.service.as_deref().filter(|service| !service.headless && !service.other_proxy)?.health_port
}

/// What one port answers from.
#[derive(Clone)]
struct Answer {
    key: Key,
    endpoints: Arc<AtomicUsize>,
    proxy: watch::Receiver<Progress>,
}

impl Answer {
    fn give(&self) -> answering::Answer {
        answer(&self.key, self.endpoints.load(Ordering::Relaxed), self.proxy.borrow().is_healthy(Instant::now()))
    }
}

/// The same for every path, in upstream's words and layout.
fn answer(key: &Key, endpoints: usize, proxy: bool) -> answering::Answer {
    let status = if endpoints > 0 && proxy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": {:?},\n\t\t\"name\": {:?}\n\t}},\n\t\"localEndpoints\": {endpoints},\n\t\"serviceProxyHealthy\": {proxy}\n}}",
        key.namespace, key.name
    );
    let mut response = answering::json(status, body);
    response.headers_mut().insert("x-load-balancing-endpoint-weight", http::HeaderValue::from(endpoints));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn the_answer_says_how_many_endpoints_there_are_and_whether_to_come() {
        let cases = [(0, true, 503), (2, true, 200), (2, false, 503)];
        for (endpoints, proxy, status) in cases {
            let response = answer(&Key::new("shop", "web"), endpoints, proxy);
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()["x-load-balancing-endpoint-weight"], endpoints.to_string());
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let expected = serde_json::json!({
                "service": {"namespace": "shop", "name": "web"},
                "localEndpoints": endpoints, "serviceProxyHealthy": proxy,
            });
            assert_eq!(body, expected);
        }
    }
}
