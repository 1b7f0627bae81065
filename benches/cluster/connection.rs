//! One HTTP/1.1 connection over TLS, with a client certificate, that costs its machine as little as it can.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use kube::Config;
use kube::client::ConfigExt as _;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    pub async fn open(config: &Config) -> Self {
        let host = config.cluster_url.host().expect("a host").to_owned();
        let port = config.cluster_url.port_u16().unwrap_or(443);
        let mut tls = config.rustls_client_config().expect("a TLS configuration");
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let socket = TcpStream::connect((host.as_str(), port)).await.expect("a connection");
        socket.set_nodelay(true).expect("an option");
        let name = ServerName::try_from(host.clone()).expect("a name");
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, socket).await.expect("TLS");
        let (sender, driver) = handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(driver);
        Self { sender, host }
    }

    /// Sends a request, reads the whole answer and gives its code.
    pub async fn call(&mut self, method: &str, path: &str, body: String) -> u16 {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.host);
        request = request.header("content-type", "application/json").header("accept", "application/json");
        let request = request.body(Full::from(body)).expect("a request");
        self.sender.ready().await.expect("an open connection");
        let answer = self.sender.send_request(request).await.expect("an answer");
        let code = answer.status().as_u16();
        answer.into_body().collect().await.expect("a body");
        code
    }
}
