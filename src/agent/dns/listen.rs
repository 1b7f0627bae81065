//! The sockets. Several tasks read one UDP socket and answer what is known at once on the spot; what must be asked of
//! others waits in tasks of its own, so many and no more. TCP for what does not fit and for those who like it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::message::{self, Request};
use super::metrics::Transport;
use super::respond::{Responder, Zoned};

/// Datagrams whose answer waits for others; who comes then hears nothing and tries again.
const WAITING: usize = 2048;
const CONNECTIONS: usize = 128;
/// After a question without another one, and for a client that does not read.
const IDLE: Duration = Duration::from_secs(10);

pub struct Sockets {
    pub datagrams: UdpSocket,
    pub streams: TcpListener,
}

impl Sockets {
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { datagrams: UdpSocket::bind(address).await?, streams: TcpListener::bind(address).await? })
    }

    /// Serves until stopped.
    pub fn serve(self, responder: &Arc<Responder>, stop: &CancellationToken, tasks: &TaskTracker) {
        let readers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let (socket, waiting) = (Arc::new(self.datagrams), Arc::new(Semaphore::new(WAITING)));
        for _ in 0..readers {
            let reader = Reader {
                socket: socket.clone(),
                responder: responder.clone(),
                waiting: waiting.clone(),
                stop: stop.clone(),
                tasks: tasks.clone(),
            };
            tasks.spawn(stop.clone().run_until_cancelled_owned(reader.run()));
        }
        let accept = streams(self.streams, responder.clone(), stop.clone(), tasks.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(accept));
    }
}

/// One of the tasks that read the UDP socket.
struct Reader {
    socket: Arc<UdpSocket>,
    responder: Arc<Responder>,
    waiting: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Reader {
    async fn run(self) {
        let mut buffer = vec![0; 4096];
        loop {
            match self.socket.recv_from(&mut buffer).await {
                Ok((length, peer)) => self.take(&buffer[..length], peer).await,
                Err(error) => tracing::debug!(%error, "receiving DNS questions"),
            }
        }
    }

    async fn take(&self, question: &[u8], peer: SocketAddr) {
        let begun = Instant::now();
        let request = match message::read(question) {
            Ok(request) => request,
            Err(answer) => return send(&self.socket, answer.as_deref(), peer).await,
        };
        let from = (Transport::Udp, peer);
        if let Some(zoned) = self.responder.at_once(&request) {
            let answer = finish(&self.responder, &request, &zoned, from, begun);
            return send(&self.socket, Some(&answer), peer).await;
        }
        let Ok(permit) = self.waiting.clone().try_acquire_owned() else { return };
        let (socket, responder) = (self.socket.clone(), self.responder.clone());
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(async move {
            let zoned = responder.later(&request).await;
            let answer = finish(&responder, &request, &zoned, from, begun);
            send(&socket, Some(&answer), peer).await;
            drop(permit);
        }));
    }
}

async fn send(socket: &UdpSocket, answer: Option<&[u8]>, peer: SocketAddr) {
    if let Some(answer) = answer
        && let Err(error) = socket.send_to(answer, peer).await
    {
        tracing::debug!(%error, %peer, "sending a DNS answer");
    }
}

/// The answer's bytes, counted.
fn finish(
    responder: &Responder,
    request: &Request,
    (reply, zone): &Zoned,
    from: (Transport, SocketAddr),
    begun: Instant,
) -> Vec<u8> {
    let limit = if from.0 == Transport::Udp { request.datagram() } else { u16::MAX };
    let answer = request.answer(reply, limit);
    responder.metrics.answered(zone, from, request.query.query_type, reply.code, begun);
    answer
}

async fn streams(listener: TcpListener, responder: Arc<Responder>, stop: CancellationToken, tasks: TaskTracker) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accepting DNS connections");
                // Out of descriptors, most likely; whoever holds them lets go in a while.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let responder = responder.clone();
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            if let Err(error) = converse(stream, peer, &responder).await {
                tracing::debug!(%error, %peer, "a DNS connection");
            }
            drop(permit);
        }));
    }
}

/// One question after the other, until the client has no more.
async fn converse(mut stream: TcpStream, peer: SocketAddr, responder: &Responder) -> io::Result<()> {
    while let Ok(question) = tokio::time::timeout(IDLE, receive(&mut stream)).await {
        let Some(question) = question? else { return Ok(()) };
        let begun = Instant::now();
        let answer = match message::read(&question) {
            Ok(request) => {
                let zoned = match responder.at_once(&request) {
                    Some(zoned) => zoned,
                    None => responder.later(&request).await,
                };
                finish(responder, &request, &zoned, (Transport::Tcp, peer), begun)
            }
            Err(Some(answer)) => answer,
            Err(None) => return Ok(()),
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        tokio::time::timeout(IDLE, stream.write_all(&framed)).await??;
    }
    Ok(())
}

/// The next question; `None` when the client is done.
async fn receive(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        length => length?,
    };
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}
