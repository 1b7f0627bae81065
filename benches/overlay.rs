//! What the overlay carries, beside a bare VXLAN link and the bare wire under both: one TCP stream between two network
//! namespaces. Prints figures, asserts nothing. Needs root: the namespaces are its own, made by the helpers of `tests/net`.

#[path = "measure/mod.rs"]
mod measure;
#[path = "../tests/net/support.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod support;
#[path = "../tests/net/two_nodes.rs"]
mod two_nodes;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use orch::net::netns;

use measure::row;
use support::{Pod, on_host, run};
use two_nodes::{HERE, THERE};

const LASTS: Duration = Duration::from_secs(2);
/// Each way is measured so often, in turns, and the best counts: others use the machine too.
const ROUNDS: usize = 3;
const PORT: u16 = 5201;
/// A VXLAN link as ip(8) makes it, with nothing of ours.
const BARE: [&str; 2] = ["198.51.100.1", "198.51.100.7"];

fn main() {
    on_host(|host| async move {
        let there = host.neighbour("there", HERE.ip, THERE.ip).await;
        HERE.reach(THERE).expect("root");
        netns::run_in(&there.netns, || THERE.reach(HERE)).await.expect("root");
        let bare = |own: Ipv4Addr, peer: Ipv4Addr, dev: &str, address: &str| {
            let link = format!("link add bare type vxlan id 77 local {own} remote {peer} dstport 4789 dev {dev}");
            [link, format!("addr add {address}/24 dev bare"), "link set bare up".to_owned()]
        };
        let (own, peer) = (Ipv4Addr::from(HERE.ip), Ipv4Addr::from(THERE.ip));
        bare(own, peer, "wire", BARE[0]).iter().for_each(|command| drop(host.ip(command)));
        for command in bare(peer, own, "far", BARE[1]) {
            run("nsenter", &format!("--net={} ip {command}", there.netns.display()));
        }
        sink(&there).await;
        let ways: [IpAddr; 3] = [peer.into(), BARE[1].parse().expect("an address"), [10, 42, 1, 0].into()];
        let mut best = [0.0_f64; 3];
        for _ in 0..ROUNDS {
            for (way, best) in ways.iter().zip(&mut best) {
                *best = best.max(rate(*way));
            }
        }
        let [wire, vxlan, ours] = best;
        row("one TCP stream over the overlay", "", &format!("{ours:.1} Gbit/s"));
        row("  of a bare VXLAN link", "", &format!("{:.2} of {vxlan:.1} Gbit/s", ours / vxlan));
        row("  of the wire, a veth pair", "", &format!("{:.2} of {wire:.1} Gbit/s", ours / wire));
    });
}

/// Reads whatever comes.
async fn sink(pod: &Pod) {
    let listener = pod.listen(PORT).await;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 18];
                while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
            });
        }
    });
}

/// Gigabits a second that go out.
fn rate(to: IpAddr) -> f64 {
    let mut stream = TcpStream::connect((to, PORT)).expect("a connection");
    let buffer = vec![7; 1 << 18];
    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < LASTS {
        sent += stream.write(&buffer).expect("a way");
    }
    sent as f64 * 8.0 / begun.elapsed().as_secs_f64() / 1e9
}
