//! One Service changed live, as the packets of all nodes see it: from the request to the API until a connection from each
//! node's own network goes elsewhere. Prints figures, asserts nothing.
//!
//! `cargo bench --bench nodes -- KUBECONFIG ADDRESS AGENT-PID…`; the first agent's machine has the address, which all
//! reach. `scripts/bench.sh` makes the machines.

#[path = "cluster/connection.rs"]
mod connection;
#[path = "measure/mod.rs"]
mod measure;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Service;
use kube::Config;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use orch::net::netns;
use serde_json::{Value, json};

use connection::Connection;
use measure::{quantile, resident, row};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const WRITERS: usize = 32;
const CHANGES: u32 = 50;
/// Somebody answers at the one, nobody at the other.
const PORTS: [u16; 2] = [7981, 7982];
/// A connection that is not answered at once met a full queue, not the rules.
const ATTEMPT: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let [kubeconfig, address, pids @ ..] = arguments.as_slice() else {
        eprintln!("usage: nodes KUBECONFIG ADDRESS AGENT-PID...; scripts/bench.sh runs this");
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let file = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig");
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options).await.expect("a configuration");
        let address = address.parse().expect("an address");
        let bench = Bench { config, address, pids: pids.to_vec() };
        let listener = netns::run_in(&network(&bench.pids[0]), || TcpListener::bind(("0.0.0.0", PORTS[0]))).await;
        let listener = listener.expect("a free port");
        std::thread::spawn(move || listener.incoming().for_each(drop));
        let mut from = 0;
        for to in [1_000, 10_000] {
            bench.fill(from, to).await;
            bench.change(to).await;
            from = to;
        }
        bench.clean().await;
    });
}

struct Bench {
    config: Config,
    address: IpAddr,
    pids: Vec<String>,
}

fn network(pid: &str) -> PathBuf {
    format!("/proc/{pid}/ns/net").into()
}

impl Bench {
    /// Services with three endpoints each.
    async fn fill(&self, from: usize, to: usize) {
        let writers = (0..WRITERS).map(async |writer| {
            let mut connection = Connection::open(&self.config).await;
            for n in (from + writer..to).step_by(WRITERS) {
                let spec = json!({"ports": [{"name": "http", "port": 80}]});
                let service = json!({"metadata": {"name": format!("s{n}")}, "spec": spec});
                assert_eq!(connection.call("POST", SERVICES, service.to_string()).await, 201, "a Service");
                let there = |third: usize| format!("10.42.{third}.{}", n % 250 + 1);
                let endpoints = [there(100 + n / 250), there(150 + n / 250), there(200)];
                let slice = slice(n, PORTS[0], &endpoints.map(|address| json!({"addresses": [address]})));
                assert_eq!(connection.call("POST", SLICES, slice.to_string()).await, 201, "an EndpointSlice");
            }
            Ok::<_, ()>(())
        });
        try_join_all(writers).await.expect("all are written");
    }

    async fn change(&self, count: usize) {
        let services: Api<Service> = Api::default_namespaced(self.config.clone().try_into().expect("a client"));
        let service = services.get(&format!("s{}", count - 1)).await.expect("the Service");
        let ip = service.spec.and_then(|spec| spec.cluster_ip).expect("an address");
        let service = SocketAddr::new(ip.parse().expect("an address"), 80);
        let mut connection = Connection::open(&self.config).await;
        let path = format!("{SLICES}/s{}", count - 1);
        let here = [json!({"addresses": [self.address]})];
        let mut took = Vec::new();
        for round in 0..=CHANGES {
            let answers = round % 2 == 0;
            let slice = slice(count - 1, PORTS[usize::from(!answers)], &here);
            let begun = Instant::now();
            assert_eq!(connection.call("PUT", &path, slice.to_string()).await, 200, "a change");
            let nodes =
                self.pids.iter().map(async |pid| netns::run_in(&network(pid), move || until(service, answers)).await);
            try_join_all(nodes).await.expect("the change arrives");
            // The first waits for all that was filled in before it, too.
            if round > 0 {
                took.push(begun.elapsed());
            }
        }
        let measured = format!("p50 {:.1?}, p99 {:.1?}", quantile(&mut took, 0.5), quantile(&mut took, 0.99));
        row(&format!("one Service of {count} changed on {} nodes", self.pids.len()), "15 ms", &measured);
        let agent = self.pids.last().map(|pid| resident(pid) >> 10).unwrap_or_default();
        row(&format!("  an agent's resident memory with {count}"), "", &format!("{agent} MiB"));
    }

    async fn clean(&self) {
        let client: kube::Client = self.config.clone().try_into().expect("a client");
        let gone = ListParams::default().fields("metadata.name!=kubernetes");
        let services: Api<Service> = Api::default_namespaced(client.clone());
        services.delete_collection(&Default::default(), &gone).await.expect("the Services are deleted");
        let slices: Api<k8s_openapi::api::discovery::v1::EndpointSlice> = Api::default_namespaced(client);
        slices.delete_collection(&Default::default(), &gone).await.expect("the EndpointSlices are deleted");
    }
}

fn slice(n: usize, port: u16, endpoints: &[Value]) -> Value {
    json!({
        "metadata": {"name": format!("s{n}"), "labels": {"kubernetes.io/service-name": format!("s{n}")}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": port}], "endpoints": endpoints,
    })
}

/// Tries until somebody takes the connection, or refuses it.
fn until(service: SocketAddr, answers: bool) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        let now = match TcpStream::connect_timeout(&service, ATTEMPT) {
            Ok(_) => Some(true),
            Err(error) => (error.kind() == ErrorKind::ConnectionRefused).then_some(false),
        };
        if now == Some(answers) {
            return Ok(());
        }
        if begun.elapsed() > DEADLINE {
            return Err(ErrorKind::TimedOut.into());
        }
        std::thread::yield_now();
    }
}
