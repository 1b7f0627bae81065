//! The machines of a test: network namespaces, alone or on a wire that they share, some of them behind a translator.
//! Nothing that a test sends leaves them. Guards remove what they made, also when a test fails.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use super::run;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A name that no other test has.
fn unique(what: &str) -> String {
    format!("orch-{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A network namespace that is removed with its guard.
struct Namespace(String);

impl Namespace {
    fn new(name: String) -> Self {
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self(name);
        namespace.ip("link set lo up");
        namespace
    }

    /// ip(8) in it.
    fn ip(&self, arguments: &str) -> String {
        run(Command::new("ip").args(["-n", &self.0]).args(arguments.split_whitespace()))
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.0)).arg("--").arg(program);
        command
    }

    /// Gives `link` an address of the wire, and the way to everywhere else by `gateway`.
    fn address(&self, link: &str, address: &str, gateway: &str) {
        self.ip(&format!("addr add {address}/24 dev {link}"));
        self.ip(&format!("link set {link} up"));
        self.ip(&format!("route add default via {gateway}"));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).output();
    }
}

/// Where the default routes of hosts lead: there is nobody.
const NOWHERE: &str = "10.99.0.254";

/// A wire that hosts share, 10.99.0.0/24: a bridge in a namespace of its own.
pub struct Lan(Namespace);

impl Lan {
    pub fn new() -> Self {
        let lan = Self(Namespace::new(unique("lan")));
        lan.0.ip("link add bridge type bridge");
        lan.0.ip("link set bridge up");
        lan
    }

    /// A cable from the bridge to a link of that name.
    fn connect(&self, to: &Namespace, link: &str, number: u8) -> Port {
        let port = Port { lan: self.0.0.clone(), name: format!("port{number}") };
        to.ip(&format!("link add {link} type veth peer name {} netns {}", port.name, port.lan));
        self.0.ip(&format!("link set {} master bridge", port.name));
        port.set("up");
        to.address(link, &format!("10.99.0.{number}"), NOWHERE);
        port
    }
}

/// The bridge's end of a host's cable.
struct Port {
    lan: String,
    name: String,
}

impl Port {
    fn set(&self, state: &str) {
        run(Command::new("ip").args(["-n", &self.lan, "link", "set", &self.name, state]));
    }
}

/// A machine of its own: a network namespace with an address, and folders that are removed with it.
pub struct Host {
    pub name: String,
    pub dir: PathBuf,
    pub ip: String,
    namespace: Namespace,
    port: Option<Port>,
    router: Option<Namespace>,
}

impl Host {
    fn named(namespace: Namespace, ip: String) -> Self {
        let name = namespace.0.clone();
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&dir).expect("a folder for the test");
        Self { name, dir, ip, namespace, port: None, router: None }
    }

    /// A host that has nobody beside it.
    pub fn new() -> Self {
        let host = Self::named(Namespace::new(unique("e2e")), "10.99.0.1".to_owned());
        host.ip("link add uplink type veth peer name outside");
        host.ip("link set outside up");
        host.namespace.address("uplink", &host.ip, NOWHERE);
        host
    }

    /// The host 10.99.0.`number` on a wire.
    pub fn on(lan: &Lan, number: u8) -> Self {
        let mut host = Self::named(Namespace::new(unique("e2e")), format!("10.99.0.{number}"));
        host.port = Some(lan.connect(&host.namespace, "uplink", number));
        host
    }

    /// A host whose only way to the wire is a router that hides it behind its own address, 10.99.0.`number`.
    pub fn behind_nat(lan: &Lan, number: u8) -> Self {
        let router = Namespace::new(unique("nat"));
        let port = lan.connect(&router, "uplink", number);
        let mut host = Self::named(Namespace::new(unique("e2e")), format!("192.168.{number}.1"));
        let gateway = format!("192.168.{number}.254");
        router.ip(&format!("link add inside type veth peer name uplink netns {}", host.name));
        router.ip(&format!("addr add {gateway}/24 dev inside"));
        router.ip("link set inside up");
        host.namespace.address("uplink", &host.ip, &gateway);
        run(router.command("sysctl").args(["-qw", "net.ipv4.ip_forward=1"]));
        let hide =
            "table ip nat { chain out { type nat hook postrouting priority srcnat; oifname uplink masquerade; }; }";
        run(router.command("nft").arg(hide));
        host.port = Some(port);
        host.router = Some(router);
        host
    }

    /// Pulls its cable out of the wire.
    pub fn unplug(&self) {
        self.port.as_ref().expect("a host on a wire").set("down");
    }

    pub fn plug(&self) {
        self.port.as_ref().expect("a host on a wire").set("up");
    }

    /// Its link goes down and comes back, with what takes care of the host's own routes.
    pub fn flap(&self) {
        self.ip("link set uplink down");
        self.ip("link set uplink up");
        self.ip(&format!("route add default via {NOWHERE}"));
    }

    /// ip(8) on this host.
    pub fn ip(&self, arguments: &str) -> String {
        self.namespace.ip(arguments)
    }

    /// A command on this host: in its network, but with the mounts of the machine that lends it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.namespace.command(program)
    }

    /// A shell's script on this host.
    pub fn sh(&self, script: &str) -> Output {
        self.command("sh").args(["-c", script]).output().expect("a shell")
    }

    /// The body of an HTTP answer; `None` where there is none in time.
    pub fn http(&self, url: &str) -> Option<String> {
        let output = self.command("curl").args(["-s", "-f", "-m", "2", url]).output().expect("curl runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until nobody answers any more, at most for [`PATIENCE`](super::PATIENCE): curl itself asks again, once a
    /// second.
    pub fn refused_soon(&self, url: &str) {
        let until = "for n in $(seq 60); do curl -s -f -m 2 -o /dev/null \"$1\" || exit 0; sleep 1; done; exit 1";
        let output = self.command("sh").args(["-c", until, "sh", url]).output().expect("a shell");
        assert!(output.status.success(), "{url} still answers");
    }

    /// Tries an HTTP request until it succeeds, at most for [`PATIENCE`](super::PATIENCE): curl itself waits and tries
    /// again.
    pub fn http_soon(&self, url: &str) -> String {
        let retry =
            ["-s", "-f", "--retry", "600", "--retry-delay", "1", "--retry-all-errors", "--retry-max-time", "60"];
        run(self.command("curl").args(retry).args(["--connect-timeout", "1", url]))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
