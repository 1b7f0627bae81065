//! The client of an exec or attach: its channels over a WebSocket, or as streams of a SPDY connection.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::mpsc;

use super::Wanted;
use crate::agent::kubelet::server::answer::{Answer, Failure};
use crate::agent::kubelet::server::channels::{self, ERROR, Input, REMOTE_COMMAND, RESIZE, STDERR, STDIN, STDOUT};
use crate::agent::kubelet::server::spdy;

/// SPDY's protocols. The newest tells the end as a Status; the one before learned of terminals' sizes.
const OVER_SPDY: [&str; 4] = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
/// Upstream's time for a client to open all streams that it announced.
const OPENING: Duration = Duration::from_secs(30);

/// Accepts the upgrade that the client asks for and runs `serve` with its channels.
pub fn upgrade<F, S>(request: Request<Incoming>, wanted: Wanted, serve: F) -> Result<Answer, Failure>
where
    F: FnOnce(Outputs, Inputs) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    if spdy::is_asked(&request) {
        return spdy::upgrade(request, &OVER_SPDY, move |connection, protocol| async move {
            match tokio::time::timeout(OPENING, open(connection, wanted, protocol)).await {
                Ok(Some((outputs, inputs))) => serve(outputs, inputs).await,
                Ok(None) => {}
                Err(_) => tracing::debug!("timed out waiting for client to create streams"),
            }
        });
    }
    channels::upgrade(request, &REMOTE_COMMAND, move |socket, protocol| {
        let (outputs, inputs) = channels::split(socket, protocol);
        serve(Outputs::Socket(outputs, protocol.tells_status), Inputs::Socket(inputs))
    })
}

/// Our side.
pub enum Outputs {
    Socket(channels::Outputs, bool),
    Spdy { sender: spdy::Sender, ids: [Option<u32>; 4], tells_status: bool },
}

/// The client has left.
#[derive(Debug)]
pub struct Gone;

impl Outputs {
    /// On a WebSocket, tells the client that the process' streams stand.
    pub async fn greet(&mut self, wanted: Wanted) -> Result<(), Gone> {
        let Self::Socket(outputs, _) = self else { return Ok(()) };
        let first = match wanted {
            Wanted { stdout: true, .. } => STDOUT,
            Wanted { stderr: true, .. } => STDERR,
            _ => ERROR,
        };
        outputs.send(first, b"").await.map_err(|_| Gone)
    }

    pub async fn send(&mut self, channel: u8, data: &[u8]) -> Result<(), Gone> {
        match self {
            Self::Socket(outputs, _) => outputs.send(channel, data).await.map_err(|_| Gone),
            Self::Spdy { sender, ids, .. } => match ids.get(usize::from(channel)).copied().flatten() {
                Some(id) => sender.data(id, Bytes::copy_from_slice(data)).await.map_err(|_| Gone),
                None => Ok(()),
            },
        }
    }

    /// Tells how it ended, and closes.
    pub async fn end(mut self, status: &Value) {
        let (Self::Socket(_, tells_status) | Self::Spdy { tells_status, .. }) = &self;
        let text = last_word(status, *tells_status);
        if !text.is_empty() && self.send(ERROR, text.as_bytes()).await.is_err() {
            return;
        }
        match self {
            Self::Socket(mut outputs, _) => outputs.close().await,
            Self::Spdy { sender, ids, .. } => {
                for id in ids.into_iter().flatten() {
                    let _ = sender.finish(id).await;
                }
            }
        }
    }
}

/// How the end is told: by a Status, or by what went wrong, if anything did.
fn last_word(status: &Value, tells_status: bool) -> String {
    match tells_status {
        true => status.to_string(),
        false if status["status"] == "Success" => String::new(),
        false => status["message"].as_str().unwrap_or_default().to_owned(),
    }
}

type Channel = Option<mpsc::Receiver<spdy::Input>>;

/// The client's side.
pub enum Inputs {
    Socket(channels::Inputs),
    Spdy { connection: spdy::Connection, stdin: Channel, resize: Channel },
}

impl Inputs {
    /// `None` when the client has left.
    pub async fn next(&mut self) -> Option<Input> {
        match self {
            Self::Socket(inputs) => inputs.next().await,
            Self::Spdy { connection, stdin, resize } => loop {
                tokio::select! {
                    input = receive(stdin) => match input {
                        Some(spdy::Input::Data(data)) => return Some(Input::Data(STDIN, data)),
                        Some(spdy::Input::Finished) | None => {
                            *stdin = None;
                            return Some(Input::Finished(STDIN));
                        }
                    },
                    input = receive(resize) => match input {
                        Some(spdy::Input::Data(data)) => return Some(Input::Data(RESIZE, data)),
                        Some(spdy::Input::Finished) | None => *resize = None,
                    },
                    more = connection.next() => match more {
                        Some(stream) => drop(connection.sender().refuse(stream.id).await),
                        None => return None,
                    },
                }
            },
        }
    }
}

async fn receive(channel: &mut Channel) -> Option<spdy::Input> {
    match channel {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for the streams that belong to the request.
async fn open(mut connection: spdy::Connection, wanted: Wanted, protocol: &str) -> Option<(Outputs, Inputs)> {
    let age = OVER_SPDY.iter().position(|known| *known == protocol).unwrap_or_default();
    let (tells_status, resizes) = (age == 0, age < 2);
    let sender = connection.sender();
    let mut ids = [None; 4];
    let (mut stdin, mut resize) = (None, None);
    let mut missing =
        1 + [wanted.stdin, wanted.stdout, wanted.stderr, wanted.tty && resizes].into_iter().filter(|it| *it).count();
    while missing > 0 {
        let stream = connection.next().await?;
        let kind = stream.headers.get("streamtype").unwrap_or_default();
        match kind {
            "error" => ids[usize::from(ERROR)] = Some(stream.id),
            "stdout" => ids[usize::from(STDOUT)] = Some(stream.id),
            "stderr" => ids[usize::from(STDERR)] = Some(stream.id),
            "stdin" => {
                ids[usize::from(STDIN)] = Some(stream.id);
                stdin = Some(stream.input);
            }
            "resize" if resizes => resize = Some(stream.input),
            _ => {
                sender.refuse(stream.id).await.ok()?;
                continue;
            }
        }
        sender.accept(stream.id).await.ok()?;
        missing -= 1;
    }
    Some((Outputs::Spdy { sender, ids, tells_status }, Inputs::Spdy { connection, stdin, resize }))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::body::Body;
    use hyper::header::{CONNECTION, UPGRADE};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use serde_json::json;

    use super::*;

    /// Gives back what comes, tells of new sizes, and ends with the input.
    async fn echo(mut outputs: Outputs, mut inputs: Inputs, status: Value) {
        loop {
            match inputs.next().await {
                Some(Input::Data(STDIN, data)) => outputs.send(STDOUT, &data).await.unwrap(),
                Some(Input::Data(RESIZE, size)) => {
                    assert_eq!(&size[..], SIZE.as_bytes());
                    outputs.send(STDOUT, b"resized").await.unwrap();
                }
                Some(Input::Finished(STDIN)) => return outputs.end(&status).await,
                other => panic!("{other:?}"),
            }
        }
    }

    const SIZE: &str = r#"{"Width":80,"Height":25}"#;

    /// A client that speaks one protocol only, through the upgrade of a real connection.
    async fn client(protocol: &'static str, status: Value) -> spdy::client::Client {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let wanted = Wanted { stdin: true, stdout: true, stderr: false, tty: true };
        let service = service_fn(move |request| {
            let status = status.clone();
            let answer = upgrade(request, wanted, move |outputs, inputs| echo(outputs, inputs, status));
            async move { Ok::<_, Infallible>(answer.expect("an upgrade")) }
        });
        let server = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(theirs), service);
        tokio::spawn(server.with_upgrades());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let request = Request::post("/exec").header(CONNECTION, "Upgrade").header(UPGRADE, "SPDY/3.1");
        let request = request.header("x-stream-protocol-version", protocol).body(String::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-stream-protocol-version"]),
            (101, &protocol.parse().unwrap())
        );
        assert!(answer.body().is_end_stream());
        spdy::client::Client::new(hyper::upgrade::on(answer).await.unwrap())
    }

    #[tokio::test]
    async fn every_protocol_has_its_streams_and_its_last_word() {
        let failed = json!({"status": "Failure", "message": "exit status 3"});
        let status = failed.to_string();
        for (protocol, resizes, last_word) in [
            ("channel.k8s.io", false, "exit status 3"),
            ("v2.channel.k8s.io", false, "exit status 3"),
            ("v3.channel.k8s.io", true, "exit status 3"),
            ("v4.channel.k8s.io", true, status.as_str()),
        ] {
            let mut client = client(protocol, failed.clone()).await;
            let error = client.open("error").await.unwrap();
            let resize = client.open("resize").await;
            assert_eq!((resize.is_some(), client.open("made-up").await), (resizes, None), "{protocol}");
            let (stdin, stdout) = (client.open("stdin").await.unwrap(), client.open("stdout").await.unwrap());
            if let Some(resize) = resize {
                client.send(resize, SIZE, false).await;
                assert_eq!(client.data().await.unwrap(), (stdout, "resized".to_owned()));
            }
            client.send(stdin, "hello", true).await;
            let mut told = Vec::new();
            while let Some(data) = client.data().await {
                told.push(data);
            }
            assert_eq!(told, [(stdout, "hello".to_owned()), (error, last_word.to_owned())], "{protocol}");
        }
    }

    #[test]
    fn older_clients_are_told_of_failures_only() {
        let failed = json!({"status": "Failure", "message": "exit status 3"});
        assert_eq!(last_word(&failed, true), failed.to_string());
        assert_eq!(last_word(&failed, false), "exit status 3");
        assert_eq!(last_word(&json!({"status": "Success"}), false), "");
        assert_eq!(last_word(&json!({"status": "Success"}), true), "{\"status\":\"Success\"}");
    }
}
