//! The clients' end of a SPDY connection, for tests: opens streams, sends and reads.

use bytes::{Bytes, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::frame::Frame;
use super::headers;

pub struct Client {
    wire: TokioIo<Upgraded>,
    arrived: BytesMut,
    headers: headers::Writer,
    next_id: u32,
}

impl Client {
    pub fn new(upgraded: Upgraded) -> Self {
        let (wire, headers) = (TokioIo::new(upgraded), headers::Writer::new());
        Self { wire, arrived: BytesMut::new(), headers, next_id: 1 }
    }

    /// Opens a stream of a type; `None` where it is refused.
    pub async fn open(&mut self, kind: &str) -> Option<u32> {
        let id = self.next_id;
        self.next_id += 2;
        let block = self.headers.write(&[("streamtype", kind)]);
        self.put(&Frame::SynStream { id, fin: false, block }).await;
        match self.read().await {
            Some(Frame::SynReply { id: accepted, .. }) if accepted == id => Some(id),
            Some(Frame::Reset { id: refused, .. }) if refused == id => None,
            other => panic!("{kind}: {other:?}"),
        }
    }

    pub async fn send(&mut self, id: u32, data: &'static str, fin: bool) {
        self.put(&Frame::Data { id, fin, data: Bytes::from_static(data.as_bytes()) }).await;
    }

    /// The next data that comes, and on which stream; `None` once the other side has left.
    pub async fn data(&mut self) -> Option<(u32, String)> {
        loop {
            match self.read().await? {
                Frame::Data { data, .. } if data.is_empty() => {}
                Frame::Data { id, data, .. } => return Some((id, String::from_utf8_lossy(&data).into_owned())),
                other => panic!("{other:?}"),
            }
        }
    }

    async fn put(&mut self, frame: &Frame) {
        let mut bytes = BytesMut::new();
        frame.put(&mut bytes);
        self.wire.write_all(&bytes).await.unwrap();
    }

    async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.arrived).unwrap() {
                return Some(frame);
            }
            if self.wire.read_buf(&mut self.arrived).await.unwrap() == 0 {
                return None;
            }
        }
    }
}
