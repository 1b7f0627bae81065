//! What carries SPDY's bytes: an upgraded connection, or the binary messages of a WebSocket, whose boundaries
//! mean nothing.

use std::io;

use bytes::{Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_tungstenite::tungstenite::Message;

use crate::agent::kubelet::server::channels::Socket;

type Plain = TokioIo<Upgraded>;

/// Both directions.
pub struct Wire {
    pub source: Source,
    pub sink: Sink,
}

pub enum Source {
    Plain(ReadHalf<Plain>),
    Socket(SplitStream<Socket>),
}

pub enum Sink {
    Plain(WriteHalf<Plain>),
    Socket(SplitSink<Socket, Message>),
}

const CHUNK: usize = 32 * 1024;

impl Wire {
    pub fn plain(stream: Plain) -> Self {
        let (source, sink) = tokio::io::split(stream);
        Self { source: Source::Plain(source), sink: Sink::Plain(sink) }
    }

    pub fn socket(socket: Socket) -> Self {
        let (sink, source) = socket.split();
        Self { source: Source::Socket(source), sink: Sink::Socket(sink) }
    }
}

impl Source {
    /// Appends what comes next; false at the end.
    pub async fn read(&mut self, buffer: &mut BytesMut) -> bool {
        match self {
            Self::Plain(stream) => {
                buffer.reserve(CHUNK);
                matches!(stream.read_buf(buffer).await, Ok(1..))
            }
            Self::Socket(stream) => loop {
                match stream.next().await {
                    Some(Ok(Message::Binary(data))) => {
                        buffer.extend_from_slice(&data);
                        return true;
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
                    Some(Ok(_)) => {}
                }
            },
        }
    }
}

impl Sink {
    pub async fn write(&mut self, data: Bytes) -> io::Result<()> {
        match self {
            Self::Plain(stream) => {
                stream.write_all(&data).await?;
                stream.flush().await
            }
            Self::Socket(stream) => stream.send(Message::Binary(data)).await.map_err(io::Error::other),
        }
    }

    pub async fn close(&mut self) {
        match self {
            Self::Plain(stream) => drop(stream.shutdown().await),
            Self::Socket(stream) => drop(stream.close().await),
        }
    }
}
