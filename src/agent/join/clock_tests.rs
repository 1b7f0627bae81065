//! A machine whose clock is behind the server's certificate, as after a boot without a battery: it says nothing to the
//! server, waits, and joins when its time has come.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use http_body_util::Full;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{JoinConfig, JoinError, join};
use crate::api::hex::hex;

/// A server's TLS with a certificate from that second on, and the hash of its CA.
fn tls(begins: i64) -> (rustls::ServerConfig, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![Ipv4Addr::LOCALHOST.to_string()]).unwrap();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(begins.unsigned_abs());
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let (chain, key) = (vec![leaf.der().clone(), ca.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()));
    let mut tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    (tls, hex(&Sha256::digest(ca.der())))
}

/// A server that refuses whatever it is asked, and counts.
async fn refusing(listener: TcpListener, tls: rustls::ServerConfig, asked: Arc<AtomicUsize>) {
    let tls = TlsAcceptor::from(Arc::new(tls));
    loop {
        let stream = listener.accept().await.unwrap().0;
        let Ok(stream) = tls.accept(stream).await else { continue };
        let asked = asked.clone();
        let service = service_fn(move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
                "reason": "Forbidden", "message": "no"});
            let response = Response::builder().status(403).body(Full::<bytes::Bytes>::from(status.to_string()));
            std::future::ready(Ok::<_, Infallible>(response.unwrap()))
        });
        tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
    }
}

#[tokio::test]
async fn a_machine_that_lives_in_the_past_waits_for_the_servers_time() {
    let begins = Timestamp::now().as_second() + 2;
    let (tls, ca_sha256) = tls(begins);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let serving = tokio::spawn(refusing(listener, tls, asked.clone()));
    let dir = tempfile::tempdir().unwrap();
    let config = JoinConfig {
        server,
        token: Some(format!("K10{ca_sha256}::abcdef.0123456789abcdef").parse().unwrap()),
        node_name: "n".to_owned(),
        dir: dir.path().to_owned(),
        paths: Default::default(),
    };
    let joined = tokio::time::timeout(Duration::from_secs(60), join(&config)).await.expect("an end");
    let Err(JoinError::Refused(why)) = joined else { panic!("{:?}", joined.err()) };
    assert_eq!((why.as_str(), asked.load(Ordering::Relaxed)), ("no", 1), "it asked once");
    assert!(Timestamp::now().as_second() >= begins, "not before it was time");
    serving.abort();
}
