//! A throw-away host: a network namespace for the test and pods that are cabled to it.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orch::net::netns::{self, NamespaceSpec};
use orch::net::pod_link::{self, PodLink};

pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long anything may take until it is as it should be, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// The namespaces of one test; removed when dropped.
pub struct Host {
    dir: tempfile::TempDir,
}

/// A pod's network namespace with its address.
#[derive(Clone)]
pub struct Pod {
    pub netns: PathBuf,
    pub address: Ipv4Addr,
}

/// Runs a test on a thread whose network namespace is new, as everything that the test starts.
pub fn on_host<F: Future<Output = ()>>(test: impl FnOnce(Host) -> F + Send + 'static) {
    let dir = tempfile::Builder::new().prefix("orch-net-").tempdir().unwrap();
    let host = Host { dir };
    let spec = NamespaceSpec { net: true, ..NamespaceSpec::default() };
    let pinned = netns::pin(&host.dir.path().join("netns/host"), &spec).expect("these tests need root");
    let namespace = std::fs::File::open(pinned.net.unwrap()).unwrap();
    std::thread::spawn(move || {
        rustix::thread::move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&namespace),
            Some(rustix::thread::LinkNameSpaceType::Network),
        )
        .unwrap();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test(host));
    })
    .join()
    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = netns::unpin_all(&self.dir.path().join("netns")) {
            eprintln!("namespaces were left behind: {error}");
        }
    }
}

impl Host {
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub async fn pod(&self, name: &str, address: [u8; 4]) -> Pod {
        let spec = NamespaceSpec { net: true, ..NamespaceSpec::default() };
        let netns = netns::pin(&self.dir.path().join("netns").join(name), &spec).unwrap().net.unwrap();
        let address = Ipv4Addr::from(address);
        let link = PodLink {
            netns: netns.clone(),
            host_name: format!("veth-{name}"),
            address,
            mtu: 1400,
            route_loopback: false,
        };
        pod_link::attach(&link).await.unwrap();
        Pod { netns, address }
    }

    /// A machine on the same wire as the host, which gets an address on it too.
    pub async fn neighbour(&self, name: &str, host: [u8; 4], address: [u8; 4]) -> Pod {
        let spec = NamespaceSpec { net: true, ..NamespaceSpec::default() };
        let dir = self.dir.path().join("netns").join(name);
        let netns = netns::pin(&dir, &spec).unwrap().net.unwrap();
        let (host, address) = (Ipv4Addr::from(host), Ipv4Addr::from(address));
        self.ip("link add wire type veth peer name far");
        run("ip", &format!("link set far netns {}", netns.display()));
        self.ip(&format!("addr add {host}/24 dev wire"));
        self.ip("link set wire up");
        let inside = format!("--net={} ip", netns.display());
        run("nsenter", &format!("{inside} addr add {address}/24 dev far"));
        run("nsenter", &format!("{inside} link set far up"));
        Pod { netns, address }
    }

    /// Runs ip(8) in the host's namespace.
    pub fn ip(&self, arguments: &str) -> String {
        run("ip", arguments)
    }
}

pub fn run(program: &str, arguments: &str) -> String {
    let output = std::process::Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

impl Pod {
    /// A server in the pod that answers every connection with its word and the client's address.
    pub async fn serve(&self, port: u16, word: &'static str) {
        serve(self.listen(port).await, word);
    }

    pub async fn listen(&self, port: u16) -> TcpListener {
        netns::run_in(&self.netns, move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).await.unwrap()
    }

    /// Connects from inside the pod and reads the answer.
    pub async fn ask(&self, to: impl Into<SocketAddr>) -> io::Result<String> {
        let to = to.into();
        netns::run_in(&self.netns, move || ask(to)).await
    }

    pub async fn run(&self, program: &'static str, arguments: &'static str) -> String {
        netns::run_in(&self.netns, move || Ok(run(program, arguments))).await.unwrap()
    }
}

/// Answers on a thread of its own until the test's process ends.
pub fn serve(listener: TcpListener, word: &'static str) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok(peer) = stream.peer_addr() else { continue };
            let _ = write!(stream, "{word} to {}", peer.ip());
        }
    });
}

/// Connects from the calling thread's namespace and reads the answer.
pub fn ask(to: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The whole of an HTTP answer, asked for from the calling thread's namespace.
pub fn get(from: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&from, PATIENCE)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Tries until the answer is as wanted: rules follow the API within moments, not at once.
pub async fn eventually<T: std::fmt::Debug>(mut attempt: impl AsyncFnMut() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let begun = Instant::now();
    loop {
        let result = attempt().await;
        if wanted(&result) {
            return result;
        }
        assert!(begun.elapsed() < DEADLINE, "still {result:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn refused(result: &io::Result<String>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
