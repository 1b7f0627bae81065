//! The budgets of the design beside what a running server does on this machine. Asserts nothing.
//!
//! `cargo bench --bench cluster -- KUBECONFIG SERVER-PID CONTAINERD-SOCKET`; `scripts/bench.sh` starts the server and
//! measures what only an outsider sees (start-up, idling).

mod connection;
#[path = "../measure/mod.rs"]
mod measure;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;

use connection::Connection;
use measure::{processor_time, quantile, resident, row};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CLIENTS: usize = 64;
const CREATES: usize = 20_000;
const LISTED: usize = 10_000;
const WATCHERS: [usize; 2] = [200, 1_000];
const PODS: usize = 100;
const APPLIES: usize = 5_000;
const HELD: usize = 50_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let [kubeconfig, pid] = arguments.as_slice() else {
        eprintln!("usage: cluster KUBECONFIG SERVER-PID; scripts/bench.sh runs this");
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let bench = Bench { kubeconfig: kubeconfig.clone(), pid: pid.clone() };
        bench.creates().await;
        bench.gets().await;
        bench.applies().await;
        bench.list_of_pods().await;
        for watchers in WATCHERS {
            bench.fan_out(watchers).await;
        }
        bench.pods().await;
        bench.held().await;
    });
}

struct Bench {
    kubeconfig: String,
    pid: String,
}

impl Bench {
    /// A connection of its own for each caller, as different programs have.
    async fn client(&self) -> Client {
        let file = Kubeconfig::read_from(&self.kubeconfig).expect("the kubeconfig");
        let config =
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a configuration");
        Client::try_from(config).expect("a client")
    }

    /// A connection without a client library, whose work would be measured too: it shares the server's cores.
    async fn connection(&self) -> Connection {
        let file = Kubeconfig::read_from(&self.kubeconfig).expect("the kubeconfig");
        let config =
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a configuration");
        Connection::open(&config).await
    }

    /// What the server itself had of the two cores since then: the clients, too, ran on them.
    fn own_time(&self, since: Duration, requests: usize) {
        let each = (processor_time(&self.pid) - since).as_secs_f64() / requests as f64;
        let measured = format!("{:.0} µs, so {:.0}/s on two", each * 1e6, 2.0 / each);
        row("  the server's own time of a core for each", "", &measured);
    }

    /// Durable creates by many clients, each with its own connection.
    async fn creates(&self) {
        let before = resident(&self.pid);
        let mut connections = Vec::new();
        for _ in 0..CLIENTS {
            connections.push(self.connection().await);
        }
        let mut tasks = Vec::new();
        let (begun, busy) = (Instant::now(), processor_time(&self.pid));
        for (number, mut connection) in connections.into_iter().enumerate() {
            tasks.push(tokio::spawn(async move {
                let mut took = Vec::new();
                for item in 0..CREATES / CLIENTS {
                    let object = json!({"metadata": {"name": format!("bench-{number}-{item}")}, "data": {"key": "x".repeat(200)}});
                    let begun = Instant::now();
                    let code = connection.call("POST", CONFIG_MAPS, object.to_string()).await;
                    assert_eq!(code, 201, "a create");
                    took.push(begun.elapsed());
                }
                took
            }));
        }
        let mut took = Vec::new();
        for task in tasks {
            took.extend(task.await.expect("a client"));
        }
        let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
        let (half, slowest) = (quantile(&mut took, 0.5), quantile(&mut took, 0.99));
        let measured = format!("{rate:.0}/s, p50 {half:.1?}, p99 {slowest:.1?}");
        row("durable creates, 64 clients, TLS", "10000/s, p99 < 30ms", &measured);
        self.own_time(busy, CREATES);
        let grown = resident(&self.pid).saturating_sub(before);
        let each = grown as f64 / took.len() as f64;
        row("memory for these objects", "", &format!("{grown} KiB, {each:.1} KiB each"));
    }

    async fn gets(&self) {
        const EACH: usize = 1_000;
        let mut connections = Vec::new();
        for _ in 0..CLIENTS {
            connections.push(self.connection().await);
        }
        let (begun, busy) = (Instant::now(), processor_time(&self.pid));
        let mut tasks = Vec::new();
        for (number, mut connection) in connections.into_iter().enumerate() {
            tasks.push(tokio::spawn(async move {
                for item in 0..EACH {
                    let path = format!("{CONFIG_MAPS}/bench-{number}-{}", item % (CREATES / CLIENTS));
                    assert_eq!(connection.call("GET", &path, String::new()).await, 200, "a get");
                }
            }));
        }
        for task in tasks {
            task.await.expect("a client");
        }
        let rate = (EACH * CLIENTS) as f64 / begun.elapsed().as_secs_f64();
        row("GET, 64 clients, TLS (clients on the same cores)", "40000/s", &format!("{rate:.0}/s"));
        self.own_time(busy, EACH * CLIENTS);
        let maps: Api<ConfigMap> = Api::namespaced(self.client().await, "default");
        let gone = maps.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
        gone.expect("the objects are deleted");
    }

    /// Server-side applies that each change a field.
    async fn applies(&self) {
        let begun = Instant::now();
        let mut tasks = Vec::new();
        for number in 0..CLIENTS {
            let maps: Api<ConfigMap> = Api::namespaced(self.client().await, "default");
            tasks.push(tokio::spawn(async move {
                let (name, params) = (format!("applied-{number}"), PatchParams::apply("bench"));
                for round in 0..APPLIES / CLIENTS {
                    let data = json!({"round": round.to_string(), "same": "x".repeat(200)});
                    let wanted = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data});
                    maps.patch(&name, &params, &Patch::Apply(&wanted)).await.expect("an apply");
                }
            }));
        }
        for task in tasks {
            task.await.expect("a client");
        }
        let rate = (APPLIES / CLIENTS * CLIENTS) as f64 / begun.elapsed().as_secs_f64();
        row("server-side applies, 64 clients, TLS", "", &format!("{rate:.0}/s"));
        let maps: Api<ConfigMap> = Api::namespaced(self.client().await, "default");
        let gone = maps.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
        gone.expect("the objects are deleted");
    }

    /// What the server holds for many objects of a usual size.
    async fn held(&self) {
        let before = resident(&self.pid);
        let mut tasks = Vec::new();
        for number in 0..CLIENTS {
            let maps: Api<ConfigMap> = Api::namespaced(self.client().await, "default");
            tasks.push(tokio::spawn(async move {
                for item in 0..HELD.div_ceil(CLIENTS) {
                    let labels = json!({"app": "bench", "tier": "held"});
                    let meta = json!({"name": format!("held-{number}-{item}"), "labels": labels});
                    let object = json!({"metadata": meta, "data": {"key": "x".repeat(1_000)}});
                    let object = serde_json::from_value(object).expect("a ConfigMap");
                    maps.create(&PostParams::default(), &object).await.expect("a create");
                }
            }));
        }
        for task in tasks {
            task.await.expect("a client");
        }
        let grown = resident(&self.pid).saturating_sub(before);
        let request = http::Request::get("/api/v1/namespaces/default/configmaps").body(Vec::new()).expect("a request");
        let json = self.client().await.request_text(request).await.expect("a list").len() / 1024;
        let measured = format!("{} MiB, {:.1} times", grown / 1024, grown as f64 / json as f64);
        row("memory for 50000 objects, as to their JSON", "3 times", &measured);
        let maps: Api<ConfigMap> = Api::namespaced(self.client().await, "default");
        let begun = Instant::now();
        let gone = maps.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
        gone.expect("the objects are deleted");
        row("deletecollection of these", "", &format!("{:.1?}", begun.elapsed()));
    }

    /// Pods that no scheduler looks at, listed whole.
    async fn list_of_pods(&self) {
        let mut tasks = Vec::new();
        for number in 0..CLIENTS {
            let pods: Api<Pod> = Api::namespaced(self.client().await, "default");
            tasks.push(tokio::spawn(async move {
                for item in 0..LISTED.div_ceil(CLIENTS) {
                    let spec = json!({"schedulerName": "nobody", "containers": [{"name": "main", "image": "none", "env": [{"name": "A", "value": "b"}]}]});
                    let object = json!({"metadata": {"name": format!("listed-{number}-{item}"), "labels": {"bench": "list"}}, "spec": spec});
                    let object = serde_json::from_value(object).expect("a Pod");
                    pods.create(&PostParams::default(), &object).await.expect("a create");
                }
            }));
        }
        for task in tasks {
            task.await.expect("a client");
        }
        let client = self.client().await;
        let pods = "/api/v1/namespaces/default/pods";
        let table = "application/json;as=Table;g=meta.k8s.io;v=v1";
        for (what, budget, query, accept) in [
            ("LIST of 10000 pods", "50ms", "", "application/json"),
            ("LIST of 10000 pods by label", "", "?labelSelector=bench%3Dlist", "application/json"),
            ("LIST of 10000 pods by field", "", "?fieldSelector=spec.nodeName%3Dthis-node", "application/json"),
            ("LIST of 500 of 10000 pods", "", "?limit=500", "application/json"),
            ("LIST of 10000 pods as a table", "", "", table),
        ] {
            let mut took = Vec::new();
            let mut size = 0;
            for _ in 0..5 {
                let request = http::Request::get(format!("{pods}{query}")).header("accept", accept);
                let request = request.body(Vec::new()).expect("a request");
                let begun = Instant::now();
                size = client.request_text(request).await.expect("a list").len();
                took.push(begun.elapsed());
            }
            row(what, budget, &format!("{:.0?} ({} MB)", quantile(&mut took, 0.5), size / 1_000_000));
        }
        let pods: Api<Pod> = Api::namespaced(client, "default");
        let zero = DeleteParams::default().grace_period(0);
        pods.delete_collection(&zero, &ListParams::default().labels("bench=list")).await.expect("the pods are deleted");
    }

    /// From one write to the last of many watchers that sees it.
    async fn fan_out(&self, count: usize) {
        let client = self.client().await;
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
        let object = serde_json::from_value(json!({"metadata": {"name": "fan-out"}, "data": {"at": "0"}}));
        maps.create(&PostParams::default(), &object.expect("a ConfigMap")).await.expect("a create");
        let mut watchers = Vec::new();
        for _ in 0..count {
            let maps = maps.clone();
            let stream =
                maps.watch(&WatchParams::default().fields("metadata.name=fan-out"), "0").await.expect("a watch");
            watchers.push(Box::pin(stream));
        }
        for watcher in &mut watchers {
            watcher.next().await;
        }
        let mut took = Vec::new();
        for round in 1..=20 {
            let begun = Instant::now();
            let patch = Patch::Merge(json!({"data": {"at": round.to_string()}}));
            maps.patch("fan-out", &PatchParams::default(), &patch).await.expect("a patch");
            for watcher in &mut watchers {
                while !matches!(watcher.next().await, Some(Ok(WatchEvent::Modified(_)))) {}
            }
            took.push(begun.elapsed());
        }
        row(&format!("one write seen by {count} watchers"), "", &format!("p50 {:.1?}", quantile(&mut took, 0.5)));
        maps.delete("fan-out", &DeleteParams::default()).await.expect("a delete");
    }

    /// Pods at once, from their creation until each has been seen Running.
    async fn pods(&self) {
        let pods: Api<Pod> = Api::namespaced(self.client().await, "default");
        let before = resident(&self.pid);
        let events = pods.watch(&WatchParams::default().labels("bench=start"), "0").await.expect("a watch");
        let mut events = Box::pin(events);
        let begun = Instant::now();
        for number in 0..PODS {
            let container = json!({"name": "main", "image": "orch.local/whoami:latest", "imagePullPolicy": "Never"});
            let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [container]});
            let object =
                json!({"metadata": {"name": format!("start-{number}"), "labels": {"bench": "start"}}, "spec": spec});
            pods.create(&PostParams::default(), &serde_json::from_value(object).expect("a Pod"))
                .await
                .expect("a create");
        }
        let mut running = std::collections::HashSet::new();
        while running.len() < PODS {
            if let Some(Ok(WatchEvent::Modified(pod))) = events.next().await
                && pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
            {
                running.insert(pod.metadata.name);
            }
        }
        let took = begun.elapsed();
        row(
            "100 pods created, all Running",
            "bare + 50ms each",
            &format!("{took:.1?}, {:.0?} each", took / PODS as u32),
        );
        let grown = resident(&self.pid).saturating_sub(before);
        row("our memory for each pod", "2048 KiB", &format!("{} KiB", grown / PODS as u64));
        pods.delete_collection(&DeleteParams::default(), &ListParams::default().labels("bench=start"))
            .await
            .expect("deleted");
    }
}
