//! The service proxy's own health, as kube-proxy shows it on port 10256: `/healthz` for load balancers, which should leave a
//! node that is about to go, and `/livez` for whoever restarts proxies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::answering::{self, Answer, listen};
use super::progress::Progress;
use crate::agent::nodes::Nodes;

/// Of the cluster autoscaler, on a node that it is about to remove.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";
/// Between attempts to open the port.
const AGAIN: Duration = Duration::from_secs(5);

/// Answers until dropped. A port that is taken is tried again.
pub async fn serve(address: SocketAddr, nodes: Nodes, progress: watch::Receiver<Progress>) {
    let mut told = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) if told => tracing::debug!(%address, %error, "no health check of the service proxy yet"),
            Err(error) => tracing::warn!(%address, %error, "failed to start proxy healthz; trying again"),
        }
        told = true;
        tokio::time::sleep(AGAIN).await;
    };
    let own = nodes.own();
    let answer = move |path: &str| {
        let (progress, now) = (*progress.borrow(), Timestamp::now());
        let healthy = progress.is_healthy(Instant::now());
        match path {
            "/healthz" => healthz(healthy, is_eligible(own.borrow().as_ref()), progress.updated, now),
            "/livez" => livez(healthy, progress.updated, now),
            _ => not_found(),
        }
    };
    listen(listener, move |request| answer(request.uri().path())).await;
}

/// A node that is not known yet is.
fn is_eligible(node: Option<&Arc<Node>>) -> bool {
    node.is_none_or(|node| {
        let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        node.metadata.deletion_timestamp.is_none() && !taints.any(|taint| taint.key == TO_BE_DELETED)
    })
}

/// In upstream's words and layout.
fn healthz(healthy: bool, eligible: bool, updated: Option<Timestamp>, now: Timestamp) -> Answer {
    let healthy = healthy && eligible;
    let times = times(healthy, updated, now);
    answering::json(status(healthy), format!("{{{times}, \"nodeEligible\": {eligible}}}"))
}

fn livez(healthy: bool, updated: Option<Timestamp>, now: Timestamp) -> Answer {
    answering::json(status(healthy), format!("{{{}}}", times(healthy, updated, now)))
}

fn not_found() -> Answer {
    let mut answer = Answer::new("404 page not found\n".into());
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}

fn status(healthy: bool) -> StatusCode {
    if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// A healthy proxy's rules are as new as the question.
fn times(healthy: bool, updated: Option<Timestamp>, now: Timestamp) -> String {
    let updated = if healthy { Some(now) } else { updated };
    let updated = updated.map_or_else(|| "0001-01-01 00:00:00 +0000 UTC".to_owned(), text);
    format!("\"lastUpdated\": \"{updated}\",\"currentTime\": \"{}\"", text(now))
}

/// As Go prints a time.
fn text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};

    use super::*;

    async fn told(answer: Answer) -> (u16, String) {
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&body).unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_node_that_goes_is_no_more_eligible_but_its_proxy_lives() {
        let now = Timestamp::from_millisecond(1_795_850_606_250).unwrap();
        let long_ago = Some(Timestamp::UNIX_EPOCH);
        let at = "2026-11-28 07:23:26.25 +0000 UTC";
        let epoch = "1970-01-01 00:00:00 +0000 UTC";
        for (healthy, eligible, status, updated) in
            [(true, true, 200, at), (true, false, 503, epoch), (false, true, 503, epoch)]
        {
            let (found, body) = told(healthz(healthy, eligible, long_ago, now)).await;
            assert_eq!(found, status);
            let expected =
                format!("{{\"lastUpdated\": \"{updated}\",\"currentTime\": \"{at}\", \"nodeEligible\": {eligible}}}");
            assert_eq!(body, expected);
        }
        let (status, body) = told(livez(true, long_ago, now)).await;
        assert_eq!((status, body), (200, format!("{{\"lastUpdated\": \"{at}\",\"currentTime\": \"{at}\"}}")));
        let (status, body) = told(livez(false, None, now)).await;
        assert_eq!(status, 503);
        assert!(body.contains("\"0001-01-01 00:00:00 +0000 UTC\""), "{body}");
    }

    #[test]
    fn who_is_eligible() {
        let node = |node: Value| Arc::new(serde_json::from_value::<Node>(node).unwrap());
        for (known, expected) in [
            (None, true),
            (Some(node(json!({"spec": {"taints": [{"key": "other", "effect": "NoSchedule"}]}}))), true),
            (Some(node(json!({"spec": {"taints": [{"key": TO_BE_DELETED, "effect": "NoSchedule"}]}}))), false),
            (Some(node(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}))), false),
        ] {
            assert_eq!(is_eligible(known.as_ref()), expected, "{known:?}");
        }
    }
}
