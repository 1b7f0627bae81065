//! The API server's way to addresses that lie behind nodes: kubelets and pods. Today the server reaches them itself;
//! a node behind a translator will be reached through its agent's tunnel, which is another [`Dialer`].

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::api::transport::dial_error;

/// A connection, however it is carried.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

#[async_trait]
pub trait Dialer: Send + Sync + 'static {
    /// Connects to an address that the node named `node` can reach; empty where no node is known.
    async fn dial(&self, node: &str, address: &str, port: u16) -> io::Result<Box<dyn Wire>>;
}

/// Upstream's timeout.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects by this machine's own routes.
pub struct Direct;

#[async_trait]
impl Dialer for Direct {
    async fn dial(&self, _node: &str, address: &str, port: u16) -> io::Result<Box<dyn Wire>> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "i/o timeout");
        let stream = tokio::time::timeout(PATIENCE, TcpStream::connect((address, port))).await.map_err(|_| late())?;
        let stream = stream.map_err(|error| io::Error::new(error.kind(), dial_error(&error)))?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}
