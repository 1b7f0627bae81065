//! What an operator looks at: health checks, metrics, component statuses.

use std::sync::Arc;

use orch::server::http::health::{Hook, Scope};
use serde_json::json;

use crate::cluster::{CONFIG_MAPS, Cluster, config_map};

#[tokio::test]
async fn health_is_told_check_by_check() {
    let cluster = Cluster::new().await;
    let health = cluster.server.health();
    health.add("informer-sync", Scope::Ready, Arc::new(|| Ok(())));
    let hook = health.hook("start-system-namespaces-controller");
    let hooked = "poststarthook/start-system-namespaces-controller";
    let reply = cluster.get("/readyz").await;
    let lines = format!(
        "[+]ping ok\n[+]etcd ok\n[+]informer-sync ok\n[-]{hooked} failed: reason withheld\n[+]shutdown ok\nreadyz check failed\n"
    );
    assert_eq!((reply.code, reply.text), (500, lines));
    let reply = cluster.get(&format!("/livez/{hooked}")).await;
    assert_eq!((reply.code, reply.text.as_str()), (500, "internal server error: not finished\n"));
    let reply = cluster.get(&format!("/livez?verbose&exclude={hooked}&exclude=none")).await;
    let lines = format!(
        "[+]ping ok\n[+]etcd ok\n[+]{hooked} excluded: ok\n\
         warn: some health checks cannot be excluded: no matches for \"none\"\nlivez check passed\n"
    );
    assert_eq!((reply.code, reply.text), (200, lines));
    hook.done();
    for path in ["/readyz", "/healthz", "/livez", "/readyz/etcd", "/readyz/shutdown"] {
        let reply = cluster.get(path).await;
        assert_eq!((reply.code, reply.text.as_str()), (200, "ok"), "{path}");
    }
    assert_eq!(cluster.get("/livez/shutdown").await.code, 404);
}

#[tokio::test]
async fn a_stopping_server_is_alive_but_not_ready() {
    let cluster = Cluster::new().await;
    cluster.server.shutting_down();
    assert_eq!(cluster.get("/livez").await.code, 200);
    let reply = cluster.get("/readyz").await;
    assert_eq!((reply.code, reply.text.contains("[-]shutdown failed")), (500, true));
    assert_eq!(cluster.get("/metrics/resources").await.code, 200);
    let told = cluster.get("/metrics/slis").await.text;
    for line in [
        "# TYPE kubernetes_healthcheck gauge",
        "kubernetes_healthcheck{name=\"shutdown\",type=\"readyz\"} 0",
        "kubernetes_healthcheck{name=\"ping\",type=\"livez\"} 1",
        "kubernetes_healthchecks_total{name=\"shutdown\",type=\"readyz\",status=\"error\"} 1",
        "kubernetes_healthchecks_total{name=\"etcd\",type=\"livez\",status=\"success\"} 1",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} is not in\n{told}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_write_is_told() {
    let cluster = Cluster::new().await;
    cluster.server.pipeline().store().close().await;
    let reply = cluster.get("/healthz/etcd").await;
    assert_eq!((reply.code, reply.text.as_str()), (500, "internal server error: the store is closed\n"));
}

#[tokio::test]
async fn components_are_what_their_checks_say() {
    let cluster = Cluster::new().await;
    let health = cluster.server.health();
    let (controllers, scheduler) = (Hook::default(), Hook::default());
    health.add_component("scheduler", scheduler.check());
    health.add_component("controller-manager", controllers.check());
    controllers.done();
    let reply = cluster.get("/api/v1/componentstatuses").await;
    assert_eq!(reply.warnings(), ["299 - \"v1 ComponentStatus is deprecated in v1.19+\""]);
    let list = reply.ok();
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("ComponentStatusList"), 3));
    assert_eq!(list["items"][0]["metadata"]["name"], "controller-manager");
    let wanted = json!([{"type": "Healthy", "status": "True", "message": "ok"}]);
    assert_eq!(cluster.get("/api/v1/componentstatuses/etcd-0").await.ok()["conditions"], wanted);
    let wanted = json!([{"type": "Healthy", "status": "False", "error": "not finished"}]);
    assert_eq!(cluster.get("/api/v1/componentstatuses/scheduler").await.ok()["conditions"], wanted);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = cluster.get_as("/api/v1/componentstatuses", table).await.ok();
    assert_eq!(table["rows"][1]["cells"], json!(["etcd-0", "Healthy", "ok", ""]));
    assert_eq!(table["rows"][2]["cells"], json!(["scheduler", "Unhealthy", "", "not finished"]));
    assert_eq!(cluster.get("/api/v1/componentstatuses/none").await.code, 404);
    assert_eq!(cluster.get("/api/v1/componentstatuses?watch=1").await.code, 405);
}

#[tokio::test]
async fn requests_are_counted_by_what_they_ask_for() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    assert_eq!(cluster.post(CONFIG_MAPS, config_map("a")).await.code, 409);
    let mut lines = cluster.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    assert_eq!(lines.short().await, "ADDED a");
    let listed = cluster.get(CONFIG_MAPS).await.text.len();
    cluster.get("/api/v1/componentstatuses").await.ok();
    let of = |verb: &str, scope: &str| {
        format!(
            "{{verb=\"{verb}\",group=\"\",version=\"v1\",resource=\"configmaps\",subresource=\"\",scope=\"{scope}\",component=\"apiserver\""
        )
    };
    let reply = cluster.get("/metrics").await;
    assert_eq!(reply.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let (post, watch, list) = (of("POST", "resource"), of("WATCH", "namespace"), of("LIST", "namespace"));
    for line in [
        "# TYPE apiserver_request_total counter".to_owned(),
        format!("apiserver_request_total{post},dry_run=\"\",code=\"201\"}} 1"),
        format!("apiserver_request_total{post},dry_run=\"\",code=\"409\"}} 1"),
        format!("apiserver_request_duration_seconds_count{post},dry_run=\"\"}} 2"),
        // What lasts has no objective.
        format!("apiserver_request_sli_duration_seconds_count{post}}} 2"),
        format!("apiserver_response_sizes_sum{list}}} {listed}.0"),
        format!("apiserver_longrunning_requests{watch}}} 1"),
        "apiserver_requested_deprecated_apis{group=\"\",version=\"v1\",resource=\"componentstatuses\",subresource=\"\",removed_release=\"\"} 1".to_owned(),
        "apiserver_resource_objects{group=\"\",resource=\"configmaps\"} 1".to_owned(),
        "apiserver_resource_objects{group=\"apps\",resource=\"deployments\"} 0".to_owned(),
        "apiserver_admission_step_admission_duration_seconds_count{operation=\"CREATE\",rejected=\"false\",type=\"admit\"} 4".to_owned(),
        // The refused one asked the store, too.
        "etcd_requests_total{operation=\"create\",group=\"\",resource=\"configmaps\"} 2".to_owned(),
        "etcd_request_duration_seconds_count{operation=\"create\",group=\"\",resource=\"configmaps\"} 2".to_owned(),
        "authorization_attempts_total{result=\"no-opinion\"} 0".to_owned(),
        "authentication_attempts{result=\"success\"} 0".to_owned(),
        "apiserver_watch_events_total{group=\"\",version=\"v1\",resource=\"configmaps\"} 1".to_owned(),
        "apiserver_watch_events_sizes_count{group=\"\",version=\"v1\",resource=\"configmaps\"} 1".to_owned(),
        // This very request.
        "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1".to_owned(),
        "apiserver_storage_objects{resource=\"configmaps\"} 1".to_owned(),
        "apiserver_storage_objects{resource=\"deployments.apps\"} 0".to_owned(),
    ] {
        assert!(reply.text.lines().any(|found| found == line), "{line} is not in\n{}", reply.text);
    }
    for name in ["kubernetes_build_info{", "process_cpu_seconds_total ", "process_resident_memory_bytes "] {
        assert!(reply.text.lines().any(|line| line.starts_with(name)), "{name} is not in\n{}", reply.text);
    }
    drop(lines);
    let reply = cluster.get_as("/metrics", "application/openmetrics-text;version=1.0.0,*/*;q=0.1").await;
    assert!(reply.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert!(reply.text.contains(&format!("apiserver_longrunning_requests{watch}}} 0\n")), "{}", reply.text);
    assert!(reply.text.ends_with("# EOF\n"));
}
