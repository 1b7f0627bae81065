//! `/portForward`: connections into a pod's network namespace over the channels of a WebSocket. With
//! `v4.channel.k8s.io` each port of the query has two channels, data and error, which begin with the port's number.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;

use super::Server;
use super::answer::{Answer, Failure};
use super::channels::{Input, Socket, V4, split, upgrade};
use super::locate;
use super::query::Query;
use crate::agent::kubelet::host::Host;
use crate::net::netns;

/// Where the ports of a pod are.
#[derive(Clone)]
pub struct Ports {
    netns: Option<PathBuf>,
}

impl Ports {
    fn of(host: &Host, pod: &k8s_openapi::api::core::v1::Pod) -> Result<Self, Failure> {
        let namespaces = host.sandboxes.namespaces(pod);
        match (namespaces.net, namespaces.host_net) {
            (Some(netns), _) => Ok(Self { netns: Some(netns) }),
            (None, true) => Ok(Self { netns: None }),
            (None, false) => Err(Failure::internal("unable to do port forwarding: the pod has no sandbox")),
        }
    }

    /// A connection to the pod's own loopback: what listens on every address listens there too.
    pub async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let Some(netns) = &self.netns else { return TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await };
        let stream = netns::run_in(netns, move || {
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .or_else(|error| std::net::TcpStream::connect((std::net::Ipv6Addr::LOCALHOST, port)).map_err(|_| error))
        })
        .await?;
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    }
}

pub fn forward(
    server: &Arc<Server>,
    namespace: &str,
    name: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let (pod, _) = locate::pod(server, namespace, name)?;
    let ports = Ports::of(&server.host, &pod)?;
    let wanted: Result<Vec<u16>, _> =
        query.all("port").iter().chain(&query.all("ports")).flat_map(|list| list.split(',')).map(str::parse).collect();
    let wanted = wanted.map_err(|error| Failure::bad(format!("invalid port: {error}")))?;
    upgrade(request, &[V4], move |socket, _| serve(socket, ports, wanted))
}

/// A frame for the client: channel and data.
type Frame = (u8, Vec<u8>);
const WAITING: usize = 16;
const CHUNK: usize = 32 * 1024;

async fn serve(socket: Socket, ports: Ports, wanted: Vec<u16>) {
    let (mut outputs, mut inputs) = split(socket);
    let (frames, mut waiting) = mpsc::channel::<Frame>(WAITING);
    let mut writers = HashMap::new();
    let mut tasks = tokio::task::JoinSet::new();
    for (channel, port) in (0_u8..).step_by(2).zip(wanted) {
        for channel in [channel, channel + 1] {
            if outputs.send(channel, &port.to_le_bytes()).await.is_err() {
                return;
            }
        }
        match ports.connect(port).await {
            Ok(stream) => {
                let (mut reader, writer) = stream.into_split();
                writers.insert(channel, writer);
                let frames = frames.clone();
                tasks.spawn(async move {
                    let mut buffer = vec![0; CHUNK];
                    while let Ok(size @ 1..) = reader.read(&mut buffer).await {
                        if frames.send((channel, buffer[..size].to_vec())).await.is_err() {
                            return;
                        }
                    }
                });
            }
            Err(error) => {
                let words = refused(port, &error);
                let _ = outputs.send(channel + 1, words.as_bytes()).await;
            }
        }
    }
    drop(frames);
    loop {
        tokio::select! {
            frame = waiting.recv() => match frame {
                Some((channel, data)) => if outputs.send(channel, &data).await.is_err() { return },
                None => break,
            },
            input = inputs.next() => match input {
                Some(Input::Data(channel, data)) => give(&mut writers, channel, &data).await,
                Some(Input::Finished(_)) => {}
                None => return,
            },
        }
    }
    outputs.close().await;
}

async fn give(writers: &mut HashMap<u8, OwnedWriteHalf>, channel: u8, data: &[u8]) {
    if let Some(writer) = writers.get_mut(&channel)
        && writer.write_all(data).await.is_err()
    {
        writers.remove(&channel);
    }
}

/// What the error stream says of a port nobody listens on.
pub fn refused(port: u16, error: &io::Error) -> String {
    format!("an error occurred forwarding {port} -> {port}: {error}")
}
