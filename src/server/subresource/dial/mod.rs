//! The API server's way to addresses that lie behind nodes: kubelets and pods. It goes there itself where it can, and by
//! the tunnel that the node's agent keeps open where it cannot. Knows nothing of what is said on the connection, and
//! keeps none.

mod race;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use self::race::{Failed, Way};
use crate::api::transport::{dial_error, joined};
use crate::api::tunnel::Destination;
use crate::server::tunnel::{Kind, Refused, Tunnels};

/// A connection, however it is carried.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Upstream's timeout.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub kind: Kind,
    /// Empty where no node is known.
    pub node: &'a str,
    pub host: &'a str,
    pub port: u16,
}

impl Target<'_> {
    /// What its node's agent is asked for; `None` for names, which mean nothing there.
    fn destination(&self) -> Option<Destination> {
        match self.kind {
            Kind::Kubelet => Some(Destination::Kubelet),
            Kind::Pods => Some(Destination::Pod(SocketAddr::new(self.host.parse().ok()?, self.port))),
        }
    }

    /// As Go words it.
    fn error(&self, error: &io::Error) -> io::Error {
        let text = format!("dial tcp {}: {error}", joined(self.host, self.port));
        io::Error::new(error.kind(), text)
    }
}

/// Connects. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    tunnels: Arc<Tunnels>,
    pods_are_near: bool,
}

impl Dialer {
    /// Of a machine that is in the pods' network.
    pub fn new(tunnels: Arc<Tunnels>) -> Self {
        Self { tunnels, pods_are_near: true }
    }

    /// The machine is not in the pods' network: what answers at a pod's address by its own routes is somebody else.
    #[must_use]
    pub fn outside_the_pod_network(mut self) -> Self {
        self.pods_are_near = false;
        self
    }

    /// Connects to the target and has the connection made fit for use by `secure`, which is part of the attempt: an
    /// address may be another machine's here, and TLS finds out.
    ///
    /// # Errors
    /// In upstream's words, of the way that says most.
    pub async fn connect<W, F>(&self, target: Target<'_>, secure: impl Fn(Box<dyn Wire>) -> F) -> io::Result<W>
    where
        F: Future<Output = io::Result<W>>,
    {
        let direct = async {
            let stream = direct(target.host, target.port).await.map_err(|error| target.error(&error))?;
            secure(Box::new(stream)).await
        };
        let mut direct = pin!(direct);
        let Some(destination) = target.destination() else { return direct.await };
        let (tunnel, first) = match self.tunnels.of(target.node) {
            Some(tunnel) => {
                let first = first(target.kind, tunnel.is_needed_for(target.kind), self.pods_are_near);
                (tunnel, first)
            }
            // One may be on its way, after a restart.
            None => tokio::select! {
                biased;
                done = direct.as_mut() => return done,
                tunnel = self.tunnels.arrival(target.node) => (tunnel, Way::Tunnel),
            },
        };
        let through = async {
            let refused = |refused| match refused {
                Refused::Destination(error) => Failed::ForGood(target.error(&error)),
                Refused::Tunnel(error) => Failed::ThisWay(error),
            };
            let stream = tunnel.connect(destination).await.map_err(refused)?;
            secure(Box::new(stream)).await.map_err(Failed::ThisWay)
        };
        let (wire, way) = race::reach(first, direct, through).await?;
        if way == Way::Tunnel && first == Way::Direct {
            tracing::debug!(?target, "reached by the tunnel only");
            tunnel.found_needed_for(target.kind);
        }
        Ok(wire)
    }
}

/// What is tried first where both ways are there.
fn first(kind: Kind, tunnel_is_needed: bool, pods_are_near: bool) -> Way {
    match kind {
        _ if tunnel_is_needed => Way::Tunnel,
        Kind::Pods if !pods_are_near => Way::Tunnel,
        _ => Way::Direct,
    }
}

/// Connects by this machine's own routes.
async fn direct(host: &str, port: u16) -> io::Result<TcpStream> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "i/o timeout");
    let stream = tokio::time::timeout(PATIENCE, TcpStream::connect((host, port))).await.map_err(late)?;
    let stream = stream.map_err(|error| io::Error::new(error.kind(), dial_error(&error)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tunnel_goes_first_where_nothing_else_can_work() {
        let cases = [
            (Kind::Kubelet, false, true, Way::Direct),
            (Kind::Kubelet, false, false, Way::Direct),
            (Kind::Kubelet, true, true, Way::Tunnel),
            (Kind::Pods, false, true, Way::Direct),
            (Kind::Pods, false, false, Way::Tunnel),
            (Kind::Pods, true, true, Way::Tunnel),
        ];
        for (kind, needed, near, way) in cases {
            assert_eq!(first(kind, needed, near), way, "{kind:?} {needed} {near}");
        }
    }

    #[test]
    fn agents_are_asked_for_addresses_only() {
        let of = |kind, host| Target { kind, node: "n", host, port: 80 }.destination().map(|found| found.to_string());
        assert_eq!(of(Kind::Kubelet, "n.example.com").as_deref(), Some("kubelet"));
        assert_eq!(of(Kind::Pods, "fd00::5").as_deref(), Some("[fd00::5]:80"));
        assert_eq!(of(Kind::Pods, "n.example.com"), None);
    }
}
