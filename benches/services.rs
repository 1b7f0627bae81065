//! What Services cost a node: their latency, a change among many, the first sync, and memory. Prints figures, asserts
//! nothing. Needs root: it makes network namespaces of its own, with the helpers of `tests/net`.

#[path = "../tests/net/api.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod api;
#[path = "../tests/net/many.rs"]
mod many;
#[path = "measure/mod.rs"]
mod measure;
#[path = "../tests/net/support.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use orch::agent::proxy::ServiceProxy;
use orch::agent::services::Services;
use orch::lifecycle::Component as _;
use orch::net::netns;

use api::Api;
use measure::{quantile, resident, row};
use support::{Pod, eventually, on_host};

const ROUND_TRIPS: usize = 20_000;
const CONNECTIONS: usize = 2_000;
/// Odd, so that the last one answers again.
const CHANGES: usize = 51;
/// A connection that is not answered at once met a full queue, not the rules.
const ATTEMPT: Duration = Duration::from_millis(20);

fn main() {
    for count in [1_000, 10_000] {
        on_host(move |host| async move {
            orch::net::masquerade::allow_forwarding().expect("root");
            host.ip("addr add 192.0.2.1/32 dev lo");
            let client = host.pod("client", [10, 42, 0, 2]).await;
            let server = host.pod("server", [10, 42, 0, 3]).await;
            echo(&server).await;
            // It refuses. Not the client itself: what it sends to itself may be lost while its own endpoint comes or goes.
            host.pod("closed", [10, 42, 0, 4]).await;
            let node = Node { api: Api::default(), client, server, count };
            node.measure().await;
        });
    }
}

/// A server that sends back every byte, one connection after the other.
async fn echo(pod: &Pod) {
    let listener = netns::run_in(&pod.netns, || TcpListener::bind("0.0.0.0:8080")).await.expect("a free port");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.set_nodelay(true);
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
        }
    });
}

struct Node {
    api: Api,
    client: Pod,
    server: Pod,
    count: u32,
}

impl Node {
    async fn measure(&self) {
        let count = self.count;
        many::fill(&self.api, count, 3);
        let before = resident("self");
        let services = Services::watch(self.api.client(), None);
        services.wait_ready().await;
        let known = resident("self");
        let begun = Instant::now();
        let mut proxy = ServiceProxy::new(many::proxy_config(&self.api, &services));
        proxy.start().await.expect("the proxy starts");
        eventually(async || self.connects().await, |connects| *connects).await;
        row(&format!("first sync of {count} Services"), "3 s", &format!("{:.0?}", begun.elapsed()));
        let all = resident("self").saturating_sub(before);
        let measured = format!("{} MiB, of these {} MiB lists", all >> 10, known.saturating_sub(before) >> 10);
        row(&format!("agent's memory for {count} Services"), "", &measured);
        self.one_change().await;
        self.latency().await;
        proxy.stop().await;
        services.stop().await;
    }

    /// From a slice's change until packets go elsewhere.
    async fn one_change(&self) {
        let mut took = Vec::new();
        for round in 0..=CHANGES {
            let answers = round % 2 == 1;
            let endpoints = many::endpoints(self.count - 1, self.count, if answers { 3 } else { 4 });
            let begun = Instant::now();
            self.api.endpoints(&format!("s{}", self.count - 1), many::port(), endpoints);
            while self.answers().await != Some(answers) {
                tokio::task::yield_now().await;
            }
            // The first waits for the rest of the first sync, too: the kernel tells its listeners of each element.
            if round > 0 {
                took.push(begun.elapsed());
            }
        }
        let measured = format!("p50 {:.1?}, p99 {:.1?}", quantile(&mut took, 0.5), quantile(&mut took, 0.99));
        row(&format!("one Service changed among {}", self.count), "15 ms", &measured);
    }

    async fn connects(&self) -> bool {
        self.answers().await == Some(true)
    }

    /// Whether somebody takes the connection or refuses it; neither, where a queue was full.
    async fn answers(&self) -> Option<bool> {
        let to = SocketAddr::from(many::last(self.count));
        match netns::run_in(&self.client.netns, move || TcpStream::connect_timeout(&to, ATTEMPT)).await {
            Ok(_) => Some(true),
            Err(error) => (error.kind() == ErrorKind::ConnectionRefused).then_some(false),
        }
    }

    async fn latency(&self) {
        let direct = SocketAddr::from((self.server.address, 8080));
        let service = SocketAddr::from(many::last(self.count));
        for (what, measure) in [("round trip", round_trips as fn(SocketAddr) -> Duration), ("connection", connections)]
        {
            // The first is for caches to be warm.
            let all = move || Ok([direct, direct, service].map(measure));
            let [_, plain, through] = netns::run_in(&self.client.netns, all).await.expect("measured");
            let added = through.as_secs_f64() - plain.as_secs_f64();
            let measured = format!("{:.1} µs to {plain:.1?}", added * 1e6);
            row(&format!("a Service adds to each {what} ({})", self.count), "", &measured);
        }
    }
}

fn round_trips(to: SocketAddr) -> Duration {
    let mut stream = TcpStream::connect(to).expect("a connection");
    stream.set_nodelay(true).expect("an option");
    let mut took: Vec<_> = (0..ROUND_TRIPS).map(|_| round_trip(&mut stream)).collect();
    quantile(&mut took, 0.5)
}

fn connections(to: SocketAddr) -> Duration {
    let connect = |_| {
        let begun = Instant::now();
        // Where nobody answered from a port, the kernel takes the next connection from there to the same place for ten
        // seconds.
        round_trip(&mut TcpStream::connect(to).ok()?);
        Some(begun.elapsed())
    };
    let mut took: Vec<_> = (0..CONNECTIONS).filter_map(connect).collect();
    quantile(&mut took, 0.5)
}

fn round_trip(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    let mut byte = [7];
    stream.write_all(&byte).expect("sent");
    stream.read_exact(&mut byte).expect("an answer");
    begun.elapsed()
}
