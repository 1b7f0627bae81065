//! `orch whoami`: the demo's HTTP server. Tells who answered; `/healthz` says ok. It runs inside the
//! built-in image and never talks to the cluster.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::Args;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[derive(Args)]
pub struct WhoamiArgs {
    /// The TCP port to listen on.
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// The pod's name; the hostname unless set.
    #[arg(long, env = "POD_NAME")]
    pod_name: Option<String>,
    /// The pod's address; the connection's own unless set.
    #[arg(long, env = "POD_IP")]
    pod_ip: Option<IpAddr>,
    /// The node's name.
    #[arg(long, env = "NODE_NAME")]
    node_name: Option<String>,
    /// Go on answering for so many seconds after SIGTERM, until every proxy has heard that this pod is going.
    #[arg(long, env = "DRAIN_SECONDS", default_value_t = 1)]
    drain_seconds: u64,
}

pub fn run(args: &WhoamiArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &WhoamiArgs) -> anyhow::Result<()> {
    let pod = args.pod_name.clone().unwrap_or_else(super::node_address::hostname);
    let node = args.node_name.clone().unwrap_or_else(|| "unknown".to_owned());
    let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], args.port))).await?;
    let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut end = None;
    loop {
        let drained = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = stop.recv(), if end.is_none() => {
                end = Some(tokio::time::Instant::now() + Duration::from_secs(args.drain_seconds));
                continue;
            }
            () = drained => return Ok(()),
        };
        let address = args.pod_ip.or_else(|| stream.local_addr().ok().map(|a| a.ip()));
        let answer = format!(
            "Hello from pod {pod} ({}) on node {node}\n",
            address.map_or_else(|| "no address".to_owned(), |a| a.to_string())
        );
        let answer = Bytes::from(answer);
        tokio::spawn(async move {
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let body = if request.uri().path() == "/healthz" { Bytes::from_static(b"ok") } else { answer.clone() };
                async move { Ok::<_, Infallible>(hyper::Response::new(Full::new(body))) }
            });
            // A client that goes away is its own affair.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
