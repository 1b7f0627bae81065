//! One HTTP GET as the kubelet's probes and hooks make it: a new connection each time, no certificate
//! verification, success from 200 to 399, redirects not followed to other hosts.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::handler::Outcome;
use crate::api::transport::{dial_error, unverified_tls};

/// Where to and with what.
#[derive(Clone, Debug)]
pub struct Get {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    pub path: String,
    pub headers: Vec<(String, String)>,
}

/// The most of a body that is read, for the failure's text.
const BODY: usize = 10 * 1024;

impl Get {
    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        format!("{scheme}://{}{slash}{}", self.authority(), self.path)
    }
}

pub async fn get(get: &Get, timeout: Duration) -> Outcome {
    let url = get.url();
    match tokio::time::timeout(timeout, exchange(get)).await {
        Ok(Ok((status, _))) if (200..400).contains(&status) => Outcome::Success,
        Ok(Ok((status, _))) => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
        Ok(Err(why)) => Outcome::Failure(format!("Get \"{url}\": {why}")),
        Err(_) => Outcome::Failure(format!(
            "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )),
    }
}

async fn exchange(get: &Get) -> Result<(u16, Bytes), String> {
    let address = get.authority();
    let stream = TcpStream::connect(&address).await.map_err(|e| format!("dial tcp {address}: {}", dial_error(&e)))?;
    if !get.tls {
        return request(get, stream).await;
    }
    let name = ServerName::try_from(get.host.clone()).map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(unverified_tls());
    let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    request(get, stream).await
}

async fn request<S>(get: &Get, stream: S) -> Result<(u16, Bytes), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let task = tokio::spawn(connection);
    let result = send(get, &mut sender).await;
    task.abort();
    result
}

async fn send(get: &Get, sender: &mut http1::SendRequest<Empty<Bytes>>) -> Result<(u16, Bytes), String> {
    let uri: Uri = get.url().parse().map_err(|error| format!("{error}"))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut builder = Request::get(path);
    let given = |name: &str| get.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    for (name, value) in &get.headers {
        builder = builder.header(name, value);
    }
    for (name, value) in [("Host", get.authority().as_str()), ("User-Agent", "kube-probe/1.36"), ("Accept", "*/*")] {
        if !given(name) {
            builder = builder.header(name, value);
        }
    }
    let request = builder.header("Connection", "close").body(Empty::new()).map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), BODY).collect().await;
    Ok((status, body.map(|body| body.to_bytes()).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn answering(status: &'static str) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).await.unwrap();
            let asked = String::from_utf8_lossy(&buffer[..read]).to_lowercase();
            assert!(asked.starts_with("get /healthz?x=1 http/1.1\r\n") && asked.contains("user-agent: kube-probe"));
            stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
        });
        port
    }

    fn to(port: u16) -> Get {
        Get { tls: false, host: "127.0.0.1".into(), port, path: "/healthz?x=1".into(), headers: vec![] }
    }

    #[tokio::test]
    async fn the_status_decides() {
        let second = Duration::from_secs(5);
        assert_eq!(get(&to(answering("302 Found").await), second).await, Outcome::Success);
        let failed = get(&to(answering("500 Oops").await), second).await;
        assert_eq!(failed, Outcome::Failure("HTTP probe failed with statuscode: 500".into()));
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let refused = get(&to(closed), second).await;
        let words = format!(
            "Get \"http://127.0.0.1:{closed}/healthz?x=1\": dial tcp 127.0.0.1:{closed}: connect: connection refused"
        );
        assert_eq!(refused, Outcome::Failure(words));
    }
}
