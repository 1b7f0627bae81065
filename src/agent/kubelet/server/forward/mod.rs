//! `/portForward`: connections into a pod's network namespace, for clients that speak SPDY (by itself or inside of a
//! WebSocket, as kubectl does) or channels on a WebSocket.

mod channelled;
mod paired;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;
use tokio::net::TcpStream;

use super::Server;
use super::answer::{Answer, Failure};
use super::channels::{self, PORT_FORWARD};
use super::locate;
use super::query::Query;
use super::spdy::{self, Connection, Wire};
use crate::agent::kubelet::host::Host;
use crate::net::netns;

/// SPDY's name for the streams, and the subprotocol of a WebSocket that carries SPDY.
const OVER_SPDY: &str = "portforward.k8s.io";
const TUNNELED: &str = "SPDY/3.1+portforward.k8s.io";

pub fn forward(
    server: &Arc<Server>,
    namespace: &str,
    name: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let (pod, _) = locate::pod(server, namespace, name)?;
    let ports = Ports::of(&server.host, &pod)?;
    if spdy::is_asked(&request) {
        return spdy::upgrade(request, &[OVER_SPDY], move |connection, _| paired::serve(connection, ports));
    }
    if channels::asked(&request).contains(&TUNNELED) {
        return channels::accept(request, TUNNELED, move |socket| {
            paired::serve(Connection::start(Wire::socket(socket)), ports)
        });
    }
    let wanted = channelled::ports(query)?;
    channels::upgrade(request, &PORT_FORWARD, move |socket, protocol| {
        let (outputs, inputs) = channels::split(socket, protocol);
        channelled::serve(outputs, inputs, ports, wanted)
    })
}

/// Where the ports of a pod are, and whose they are.
#[derive(Clone)]
struct Ports {
    netns: Option<PathBuf>,
    pod: String,
    uid: String,
}

impl Ports {
    fn of(host: &Host, pod: &Pod) -> Result<Self, Failure> {
        let namespaces = host.sandboxes.namespaces(pod);
        let netns = match (namespaces.net, namespaces.host_net) {
            (Some(netns), _) => Some(netns),
            (None, true) => None,
            (None, false) => return Err(Failure::internal("unable to do port forwarding: the pod has no sandbox")),
        };
        let name = pod.metadata.name.clone().unwrap_or_default();
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        Ok(Self { netns, pod: format!("{name}_{namespace}"), uid })
    }

    /// A connection to the pod's own loopback: what listens on every address listens there too.
    async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let connect = move || {
            let (v4, v6) = ((Ipv4Addr::LOCALHOST, port), (Ipv6Addr::LOCALHOST, port));
            std::net::TcpStream::connect(v4).or_else(|error| std::net::TcpStream::connect(v6).map_err(|_| error))
        };
        let stream = match &self.netns {
            Some(netns) => netns::run_in(netns, connect).await?,
            None => tokio::task::spawn_blocking(connect).await.map_err(io::Error::other)??,
        };
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    }

    /// What the client is told of a port that cannot be reached, or of a connection that broke.
    fn failure(&self, port: u16, error: &io::Error) -> String {
        let why = match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                format!(
                    "failed to connect to localhost:{port} inside namespace of the pod, IPv4: dial tcp4 127.0.0.1:{port}: connect: connection refused"
                )
            }
            _ => error.to_string(),
        };
        format!("error forwarding port {port} to pod {}, uid {}: {why}", self.pod, self.uid)
    }
}
