//! One SPDY connection: the streams that its client opens, and a queue of what goes back. Two tasks, a reader and
//! a writer, which end with the wire or when nobody holds the connection any more.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::frame::{CANCEL, Frame, Malformed, PROTOCOL_ERROR, REFUSED_STREAM};
use super::headers::{self, Headers};
use super::wire::{Sink, Source, Wire};

/// Streams that one client may have open.
const MOST_STREAMS: usize = 2048;
/// Frames that wait for a stream's reader, and for the wire.
const WAITING: usize = 8;

/// What comes in on a stream. The stream's end without [`Input::Finished`] is a reset.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    Data(Bytes),
    /// The client has sent everything.
    Finished,
}

/// A stream that the client wants to open; it is accepted or refused by the holder.
pub struct Stream {
    pub id: u32,
    pub headers: Headers,
    pub input: mpsc::Receiver<Input>,
}

/// What is to be written.
enum Output {
    Reply(u32),
    Frame(Frame),
}

/// Our side of every stream of a connection.
#[derive(Clone)]
pub struct Sender(mpsc::Sender<Output>);

/// The wire is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl Sender {
    async fn put(&self, output: Output) -> Result<(), Gone> {
        self.0.send(output).await.map_err(|_| Gone)
    }

    pub async fn accept(&self, id: u32) -> Result<(), Gone> {
        self.put(Output::Reply(id)).await
    }

    pub async fn refuse(&self, id: u32) -> Result<(), Gone> {
        self.put(Output::Frame(Frame::Reset { id, status: CANCEL })).await
    }

    pub async fn data(&self, id: u32, data: Bytes) -> Result<(), Gone> {
        self.put(Output::Frame(Frame::Data { id, fin: false, data })).await
    }

    /// We shall send no more on this stream.
    pub async fn finish(&self, id: u32) -> Result<(), Gone> {
        self.put(Output::Frame(Frame::Data { id, fin: true, data: Bytes::new() })).await
    }
}

/// The server's end.
pub struct Connection {
    opened: mpsc::Receiver<Stream>,
    sender: Sender,
    _reading: DropGuard,
}

impl Connection {
    pub fn start(wire: Wire) -> Self {
        let (streams, opened) = mpsc::channel(WAITING);
        let (outputs, waiting) = mpsc::channel(WAITING);
        let sender = Sender(outputs);
        let stop = CancellationToken::new();
        let reader = Reader {
            streams,
            sender: sender.clone(),
            inputs: HashMap::new(),
            headers: headers::Reader::default(),
            last: 0,
        };
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = reader.run(wire.source) => {}
                () = stopped.cancelled() => {}
            }
        });
        tokio::spawn(write(wire.sink, waiting));
        Self { opened, sender, _reading: stop.drop_guard() }
    }

    /// The next stream, or `None` when the client has left.
    pub async fn next(&mut self) -> Option<Stream> {
        self.opened.recv().await
    }

    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }
}

/// Ends when every sender is gone, having written everything.
async fn write(mut sink: Sink, mut waiting: mpsc::Receiver<Output>) {
    let mut headers = headers::Writer::new();
    while let Some(output) = waiting.recv().await {
        let frame = match output {
            Output::Reply(id) => Frame::SynReply { id, block: headers.write(&[]) },
            Output::Frame(frame) => frame,
        };
        let mut bytes = BytesMut::new();
        frame.put(&mut bytes);
        if sink.write(bytes.freeze()).await.is_err() {
            return;
        }
    }
    sink.close().await;
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Frame(#[from] Malformed),
    #[error(transparent)]
    Headers(#[from] headers::Unreadable),
    #[error("nobody listens")]
    Alone,
}

struct Reader {
    streams: mpsc::Sender<Stream>,
    sender: Sender,
    inputs: HashMap<u32, mpsc::Sender<Input>>,
    headers: headers::Reader,
    /// The newest stream's id.
    last: u32,
}

impl Reader {
    async fn run(mut self, mut source: Source) {
        let mut buffer = BytesMut::new();
        while source.read(&mut buffer).await {
            loop {
                match Frame::take(&mut buffer) {
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        if let Err(error) = self.take(frame).await {
                            return tracing::debug!(%error, "SPDY connection ended");
                        }
                    }
                    Err(error) => return tracing::debug!(%error, "SPDY connection ended"),
                }
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Broken> {
        match frame {
            Frame::SynStream { id, fin, block } => self.open(id, fin, &block).await?,
            Frame::Data { id, fin, data } => {
                if !data.is_empty() {
                    self.give(id, Input::Data(data)).await;
                }
                if fin {
                    self.finish(id).await;
                }
            }
            Frame::Headers { id, fin, block } => {
                // Read for the compression's sake.
                self.headers.read(&block)?;
                if fin {
                    self.finish(id).await;
                }
            }
            Frame::SynReply { block, .. } => drop(self.headers.read(&block)?),
            Frame::Reset { id, .. } => drop(self.inputs.remove(&id)),
            // Ours would be even.
            Frame::Ping(id) if !id.is_multiple_of(2) => {
                self.sender.put(Output::Frame(Frame::Ping(id))).await.map_err(|Gone| Broken::Alone)?;
            }
            Frame::Ping(_) | Frame::GoAway { .. } | Frame::Other => {}
        }
        Ok(())
    }

    async fn open(&mut self, id: u32, fin: bool, block: &[u8]) -> Result<(), Broken> {
        let headers = self.headers.read(block)?;
        self.inputs.retain(|_, input| !input.is_closed());
        let refusal = match () {
            () if id.is_multiple_of(2) || id <= self.last => Some(PROTOCOL_ERROR),
            () if self.inputs.len() >= MOST_STREAMS => Some(REFUSED_STREAM),
            () => None,
        };
        if let Some(status) = refusal {
            let reset = Output::Frame(Frame::Reset { id, status });
            return self.sender.put(reset).await.map_err(|Gone| Broken::Alone);
        }
        self.last = id;
        let (sender, input) = mpsc::channel(WAITING);
        self.inputs.insert(id, sender);
        self.streams.send(Stream { id, headers, input }).await.map_err(|_| Broken::Alone)?;
        if fin {
            self.finish(id).await;
        }
        Ok(())
    }

    /// What nobody reads any more is dropped.
    async fn give(&mut self, id: u32, input: Input) {
        if let Some(sender) = self.inputs.get(&id)
            && sender.send(input).await.is_err()
        {
            self.inputs.remove(&id);
        }
    }

    async fn finish(&mut self, id: u32) {
        self.give(id, Input::Finished).await;
        self.inputs.remove(&id);
    }
}
