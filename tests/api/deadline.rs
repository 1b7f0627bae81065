//! `?timeout=`: who does not want to wait for ever does not.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use orch::api::status::Result;
use orch::server::http::endpoint::{Endpoint, Endpoints};
use orch::server::http::{ApiServer, ApiServerConfig};
use orch::store::memory::MemoryStore;
use serde_json::{Value, json};

use crate::cluster::{CONFIG_MAPS, Cluster, config_map};

/// A handler that never answers.
struct Never;

#[async_trait]
impl Endpoint for Never {
    async fn serve(&self, _: &http::Method, _: Bytes) -> Result<Value> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_at_its_deadline() {
    let endpoints: Endpoints = [("/orch/never", Arc::new(Never) as Arc<dyn Endpoint>)].into();
    let config = ApiServerConfig { endpoints, ..ApiServerConfig::default() };
    let cluster = Cluster::over(ApiServer::new(config, MemoryStore::new())).await;
    for (query, seconds) in [("?timeout=7s", 7), ("", 60), ("?timeout=2h", 60), ("?timeout=0s", 60)] {
        let begun = tokio::time::Instant::now();
        let reply = cluster.get(&format!("/orch/never{query}")).await;
        assert_eq!((reply.code, begun.elapsed().as_secs()), (504, seconds), "{query}");
        assert_eq!(
            reply.json(),
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "Timeout: request did not complete within the allotted timeout",
                "reason": "Timeout", "details": {}, "code": 504}),
        );
    }
    // A watch takes as long as it takes.
    let mut lines = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&timeout=1s")).await;
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    cluster.post(&format!("{CONFIG_MAPS}?timeout=5s"), config_map("a")).await.ok();
    assert_eq!(lines.short().await, "ADDED a");
    let reply = cluster.get(&format!("{CONFIG_MAPS}?timeout=soon")).await;
    let why = "invalid timeout specified in the request URL - time: invalid duration \"soon\"";
    assert_eq!((reply.code, reply.said()), (400, format!("BadRequest: {why}")));
}
