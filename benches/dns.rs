//! How fast DNS answers, over loopback, with ten thousand Services. Asserts nothing. Needs root and a network namespace of
//! its own: it makes the link that holds the cluster's DNS address. `scripts/bench.sh` runs it.

#[path = "measure/mod.rs"]
mod measure;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use http::{Request, Response};
use kube::client::Body;
use orch::agent::dns::{Dns, DnsConfig};
use orch::agent::services::{Key, Services};
use orch::lifecycle::Component as _;
use serde_json::json;
use tokio::net::UdpSocket;

use measure::{resident, row};

const SERVICES: usize = 10_000;
const QUERIES: usize = 400_000;
const CLIENTS: usize = 16;
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 10);

fn main() {
    let before = resident("self");
    let services = services();
    let known = resident("self");
    // The server has a thread of its own, so that its processor time is known.
    let (ready, started) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut dns = Dns::new(config(services));
            dns.start().await.expect("DNS starts; as root, in a network namespace");
            ready.send(()).expect("the bench waits");
            let _ = stopped.await;
            dns.stop().await;
        });
        processor_time()
    });
    if started.recv().is_err() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // The first answer comes after everything was indexed.
    runtime.block_on(ask(1));
    let indexed = resident("self");
    let (took, whole) = runtime.block_on(ask(QUERIES / CLIENTS));
    let _ = stop.send(());
    let busy = server.join().expect("the server ends");
    let rate = QUERIES as f64 / busy.as_secs_f64();
    let (half, slowest) = (took[QUERIES / 2], took[QUERIES * 99 / 100]);
    row(
        "DNS, cluster names, one core's worth",
        "20000/s, p99 < 1ms",
        &format!("{rate:.0}/s, p50 {half:.1?}, p99 {slowest:.1?}"),
    );
    row("  as its clients on the other core see it", "", &format!("{:.0}/s", QUERIES as f64 / whole.as_secs_f64()));
    let memory = format!("{} MiB, with the Services {} MiB", (indexed - known) / 1024, (indexed - before) / 1024);
    row("  memory at 10000 Services with 2 endpoints", "", &memory);
}

/// Of the calling thread, as the kernel counts it in nanoseconds.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(1))
}

fn services() -> Services {
    let services = Services::default();
    for number in 0..SERVICES {
        let name = format!("service-{number}");
        let (high, low) = (number / 250, number % 250);
        let ports = json!([{"name": "http", "port": 80}]);
        let service = json!({"spec": {"clusterIP": format!("10.43.{}.{low}", high + 1), "ports": ports}});
        services.put_service(Key::new("bench", &name), Some(&serde_json::from_value(service).expect("a Service")));
        let endpoints = [0, 1].map(|which| json!({"addresses": [format!("10.42.{}.{low}", high * 2 + which)]}));
        let slice = json!({
            "metadata": {"labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        });
        services.put_slice(Key::new("bench", &name), Some(&serde_json::from_value(slice).expect("a slice")));
    }
    services
}

fn config(services: Services) -> DnsConfig {
    // A server that is away.
    let away = tower::service_fn(async |_: Request<Body>| {
        std::future::pending::<()>().await;
        Ok::<_, std::convert::Infallible>(Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
    });
    DnsConfig {
        client: kube::Client::new(away, "default"),
        node_name: "bench".to_owned(),
        services,
        cluster_dns: ADDRESS,
        cluster_domain: "cluster.local".to_owned(),
        cluster_ranges: Vec::new(),
        resolv_conf: "/dev/null".into(),
        link_prefix: "bench".to_owned(),
        metrics: Arc::default(),
        memory: None,
    }
}

/// Clients that each ask for `each` names, one after the other; how long each answer took, sorted, and all of it.
async fn ask(each: usize) -> (Vec<Duration>, Duration) {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for client in 0..CLIENTS {
        tasks.push(tokio::spawn(async move {
            let socket = UdpSocket::bind("0.0.0.0:0").await.expect("a socket");
            socket.connect(SocketAddr::from((ADDRESS, 53))).await.expect("a route");
            let mut took = Vec::with_capacity(each);
            let mut buffer = [0; 1500];
            for number in 0..each {
                let question = question((number * CLIENTS + client) % SERVICES);
                let begun = Instant::now();
                socket.send(&question).await.expect("a question");
                let length = socket.recv(&mut buffer).await.expect("an answer");
                took.push(begun.elapsed());
                assert!(length > question.len(), "an answer with a record");
            }
            took
        }));
    }
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.expect("a client"));
    }
    let whole = begun.elapsed();
    took.sort();
    (took, whole)
}

fn question(number: usize) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(format!("service-{number}.bench.svc.cluster.local.")).expect("a name");
    message.add_query(Query::query(name, RecordType::A));
    message.to_vec().expect("a message")
}
