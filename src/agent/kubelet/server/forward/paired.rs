//! Port forwarding over SPDY: for each connection the client opens two streams, data and error, which their
//! `requestID` pairs.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Ports;
use crate::agent::kubelet::server::spdy::{Connection, Input, Sender, Stream};

/// Upstream's time for the second stream of a pair.
const PAIRING: Duration = Duration::from_secs(30);
/// Connections at the same time of one client.
const MOST: usize = 1024;
const CHUNK: usize = 32 * 1024;

/// A pair that may still lack a stream.
struct Half {
    port: u16,
    data: Option<Stream>,
    error: Option<Stream>,
    until: Instant,
}

/// Serves until the client leaves.
pub async fn serve(mut connection: Connection, ports: Ports) {
    let sender = connection.sender();
    let mut halves: HashMap<String, Half> = HashMap::new();
    let mut running = JoinSet::new();
    loop {
        let late = halves.values().map(|half| half.until).min();
        let expiry = async {
            match late {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            stream = connection.next() => {
                let Some(stream) = stream else { return };
                let full = running.len() + halves.len() >= MOST;
                match (purpose(&stream), full) {
                    (Some(purpose), false) => {
                        if sender.accept(stream.id).await.is_err() {
                            return;
                        }
                        if let Some((port, data, error)) = pair(&mut halves, purpose, stream) {
                            running.spawn(forward(sender.clone(), ports.clone(), port, data, error));
                        }
                    }
                    _ => if sender.refuse(stream.id).await.is_err() { return },
                }
            }
            Some(_) = running.join_next() => {}
            () = expiry => halves.retain(|_, half| half.until > Instant::now()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Error,
}

struct Purpose {
    kind: Kind,
    port: u16,
    request: String,
}

/// What a stream is for, as its headers tell; `None` where they do not.
fn purpose(stream: &Stream) -> Option<Purpose> {
    let port = stream.headers.get("port")?.parse().ok().filter(|port| *port > 0)?;
    let kind = match stream.headers.get("streamtype")? {
        "data" => Kind::Data,
        "error" => Kind::Error,
        _ => return None,
    };
    let request = match (stream.headers.get("requestid"), kind) {
        (Some(request), _) => request.to_owned(),
        // Old clients open the error stream first, and the data stream next.
        (None, Kind::Error) => stream.id.to_string(),
        (None, Kind::Data) => stream.id.saturating_sub(2).to_string(),
    };
    Some(Purpose { kind, port, request })
}

/// Keeps a stream until its pair is complete. The port is the data stream's.
fn pair(halves: &mut HashMap<String, Half>, purpose: Purpose, stream: Stream) -> Option<(u16, Stream, Stream)> {
    let Purpose { kind, port, request } = purpose;
    let until = Instant::now() + PAIRING;
    let half = halves.entry(request.clone()).or_insert(Half { port, data: None, error: None, until });
    match kind {
        Kind::Data => (half.port, half.data) = (port, Some(stream)),
        Kind::Error => half.error = Some(stream),
    }
    if half.data.is_none() || half.error.is_none() {
        return None;
    }
    let half = halves.remove(&request)?;
    Some((half.port, half.data?, half.error?))
}

/// What the error stream carries.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trouble {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    close_connection: bool,
    message: String,
}

async fn forward(sender: Sender, ports: Ports, port: u16, data: Stream, error: Stream) {
    let done = match ports.connect(port).await {
        Ok(stream) => copy(&sender, stream, data.id, data.input).await,
        Err(error) => Err(error),
    };
    if let Err(why) = done {
        // What the pod's process did to one connection does not end the others.
        let harmless = matches!(why.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        let trouble = Trouble { close_connection: !harmless, message: ports.failure(port, &why) };
        let text = serde_json::to_vec(&trouble).unwrap_or_default();
        let _ = sender.data(error.id, text.into()).await;
    }
    let _ = sender.finish(error.id).await;
    let _ = sender.finish(data.id).await;
}

/// Copies until the pod's side has ended, or the client has given up the stream.
async fn copy(sender: &Sender, stream: TcpStream, id: u32, input: mpsc::Receiver<Input>) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let outgoing = to_client(sender, reader, id);
    let incoming = to_pod(writer, input);
    tokio::pin!(outgoing);
    tokio::select! {
        done = &mut outgoing => done,
        more = incoming => match more {
            Ok(true) => outgoing.await,
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        },
    }
}

async fn to_client(sender: &Sender, mut reader: OwnedReadHalf, id: u32) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let size = reader.read(&mut buffer).await?;
        if size == 0 || sender.data(id, Bytes::copy_from_slice(&buffer[..size])).await.is_err() {
            return Ok(());
        }
    }
}

/// True when the client has sent everything, false when it wants no answer any more.
async fn to_pod(mut writer: OwnedWriteHalf, mut input: mpsc::Receiver<Input>) -> io::Result<bool> {
    while let Some(input) = input.recv().await {
        match input {
            Input::Data(data) => writer.write_all(&data).await?,
            Input::Finished => {
                writer.shutdown().await?;
                return Ok(true);
            }
        }
    }
    Ok(false)
}
