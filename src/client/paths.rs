//! The connections of this process to a server, which can be ended from outside. One whose own address the machine has lost
//! falls silent, and whoever waits for it would wait until the silence is noticed. Opens no connection and knows nothing of
//! addresses: the composition root tells which are gone.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

/// All of them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Paths(Arc<Known>);

#[derive(Default)]
struct Known {
    /// By the address at this end. A token is cancelled when its connection is to end, or has.
    open: Mutex<Vec<(IpAddr, CancellationToken)>>,
    ended: watch::Sender<()>,
}

impl Paths {
    /// Ends those that come from such an address at once, and every attempt that is still being made.
    pub fn end(&self, is_gone: impl Fn(IpAddr) -> bool) {
        for (_, end) in self.0.open.lock().extract_if(.., |(local, end)| end.is_cancelled() || is_gone(*local)) {
            end.cancel();
        }
        self.0.ended.send_replace(());
    }

    /// Waits for a new connection, as long as there is hope for it.
    pub async fn dial<E: From<io::Error>>(
        &self,
        dialling: impl Future<Output = Result<TcpStream, E>>,
    ) -> Result<Path, E> {
        let mut ended = self.0.ended.subscribe();
        tokio::select! {
            dialled = dialling => Ok(self.keep(dialled?)?),
            Ok(()) = ended.changed() => Err(gone().into()),
        }
    }

    fn keep(&self, wire: TcpStream) -> io::Result<Path> {
        let (local, end) = (wire.local_addr()?.ip(), CancellationToken::new());
        let mut open = self.0.open.lock();
        open.retain(|(_, end)| !end.is_cancelled());
        open.push((local, end.clone()));
        let ended = Box::pin(end.clone().cancelled_owned());
        Ok(Path { wire: TokioIo::new(wire), ended, _closed: end.drop_guard() })
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "this machine has lost the address of the connection")
}

/// A connection that ends when its path does: whoever reads is told.
pub struct Path {
    wire: TokioIo<TcpStream>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    _closed: DropGuard,
}

impl Path {
    fn wire(self: Pin<&mut Self>) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.get_mut().wire)
    }
}

impl Read for Path {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(gone()));
        }
        self.wire().poll_read(cx, buffer)
    }
}

impl Write for Path {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wire().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire().poll_write_vectored(cx, bytes)
    }
}

impl Connection for Path {
    fn connected(&self) -> Connected {
        self.wire.connected()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn only_what_comes_from_a_lost_address_ends() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let paths = Paths::default();
        let address = listener.local_addr().unwrap();
        let mut path = TokioIo::new(paths.dial(TcpStream::connect(address)).await.unwrap());
        let _far = listener.accept().await.unwrap();
        paths.end(|local| local != Ipv4Addr::LOCALHOST);
        assert_eq!(paths.0.open.lock().len(), 1);
        // It is ended while somebody waits for it.
        let (read, ()) = tokio::join!(path.read_u8(), async { paths.end(|local| local == Ipv4Addr::LOCALHOST) });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert!(paths.0.open.lock().is_empty());
        assert!(path.read_u8().await.is_err(), "and stays so");
    }

    #[tokio::test]
    async fn an_attempt_is_given_up_with_its_path() {
        let paths = Paths::default();
        let never = std::future::pending::<io::Result<TcpStream>>();
        let (dialled, ()) = tokio::join!(paths.dial(never), async { paths.end(|_| false) });
        assert!(dialled.is_err());
    }

    #[tokio::test]
    async fn what_was_closed_is_forgotten() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let paths = Paths::default();
        for _ in 0..3 {
            let dialled = paths.dial(TcpStream::connect(listener.local_addr().unwrap())).await.unwrap();
            assert_eq!(paths.0.open.lock().len(), 1);
            drop(dialled);
        }
    }
}
