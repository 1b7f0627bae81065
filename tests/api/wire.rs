//! Over a real socket: TLS, certificates and tokens; and kube's client inside the process.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, PostParams};
use orch::client;
use orch::lifecycle::Component;
use orch::server::http::authn::{Authenticator, StaticToken, User};
use orch::server::http::listener::{Listener, TlsSource};
use orch::server::http::{ApiServer, ApiServerConfig};
use orch::server::pki::{Pki, PkiOptions};
use orch::store::memory::MemoryStore;
use serde_json::json;

use crate::cluster::Cluster;

async fn use_client(client: kube::Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "wire"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "wire");
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    assert_eq!(maps.list(&Default::default()).await.unwrap().items.len(), 1);
    let error = maps.get("none").await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 404), "{error}");
    let version = client.apiserver_version().await.unwrap();
    assert_eq!(version.git_version, "v1.36.0+orch");
    assert!(kube::discovery::Discovery::new(client.clone()).run_aggregated().await.unwrap().has_group("apps"));
    assert!(kube::discovery::Discovery::new(client).run().await.unwrap().has_group("apps"));
}

#[tokio::test]
async fn kubes_client_works_in_process() {
    let cluster = Cluster::new().await;
    use_client(client::in_process(cluster.server.as_user(User::admin()))).await;
}

fn pki_options() -> PkiOptions {
    PkiOptions {
        sans: Vec::new(),
        node_name: "n1".into(),
        node_ips: Vec::new(),
        service_ip: "10.43.0.1".parse().unwrap(),
        cluster_domain: "cluster.local".into(),
    }
}

/// An API server that listens, and the kubeconfig of its admin.
pub async fn listening() -> (tempfile::TempDir, ApiServer, Listener, String) {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::load_or_create(dir.path(), &pki_options()).unwrap();
    let config = ApiServerConfig {
        authenticator: Authenticator::new(vec![Arc::new(StaticToken::admin("secret"))]),
        ..Default::default()
    };
    let server = ApiServer::new(config, MemoryStore::new());
    let tls = TlsSource::new(Arc::new(pki.server_tls().unwrap()));
    let mut listener = Listener::new(server.clone(), "127.0.0.1:0".parse().unwrap(), tls);
    listener.start().await.unwrap();
    let url = format!("https://{}", listener.local_address().unwrap());
    let kubeconfig = orch::server::pki::kubeconfig::render(&url, &pki.ca_pem, &pki.admin);
    (dir, server, listener, kubeconfig)
}

#[tokio::test]
async fn kubes_client_works_over_tls() {
    let (dir, server, mut listener, kubeconfig) = listening().await;
    use_client(client::from_kubeconfig(&kubeconfig).await.unwrap()).await;

    // The port is taken: one line that says how to mend it.
    let address = listener.local_address().unwrap();
    let pki = Pki::load_or_create(dir.path(), &pki_options()).unwrap();
    let mut second = Listener::new(server, address, TlsSource::new(Arc::new(pki.server_tls().unwrap())));
    let error = second.start().await.unwrap_err().to_string();
    assert!(error.contains("is in use") && error.contains("--https-listen-port"), "{error}");
    second.stop().await;
    listener.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn sessions_end_with_their_listener() {
    use futures::StreamExt;
    use kube::api::{WatchEvent, WatchParams};
    let (_dir, server, mut listener, kubeconfig) = listening().await;
    let client = client::from_kubeconfig(&kubeconfig).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "wire"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let mut events = Box::pin(namespaces.watch(&WatchParams::default(), "0").await.unwrap());
    assert!(matches!(events.next().await, Some(Ok(WatchEvent::Added(_)))));
    // A client that never says a word, and one inside the process, whose watch is not the listener's.
    let _silent = tokio::net::TcpStream::connect(listener.local_address().unwrap()).await.unwrap();
    let cluster = Cluster { server };
    let mut inside = cluster.watch("/api/v1/namespaces?watch=1").await;
    assert_eq!(inside.short().await, "ADDED wire");
    assert!(cluster.get("/metrics").await.text.contains("apiserver_longrunning_requests{verb=\"WATCH\",group=\"\",version=\"v1\",resource=\"namespaces\",subresource=\"\",scope=\"cluster\",component=\"apiserver\"} 2\n"));
    let soon = std::time::Duration::from_secs(2);
    tokio::time::timeout(soon, listener.stop()).await.expect("nobody is waited for");
    // An end, not a connection that was cut.
    assert!(events.next().await.is_none());
    cluster.delete("/api/v1/namespaces/wire", serde_json::Value::Null).await.ok();
    assert_eq!(inside.short().await, "MODIFIED wire");
}

#[tokio::test]
async fn service_account_tokens_end_with_their_account() {
    use http::Request;
    use http::header::AUTHORIZATION;
    use orch::server::http::authn::Connection;
    use orch::server::http::body;
    use orch::server::pki::token::Issuer;
    use orch::server::service_accounts::ServiceAccountTokens;
    use orch::server::subresource::Subresources;

    let key = rcgen_key();
    let issuer = Arc::new(Issuer::new(&key, "https://kubernetes.default.svc.cluster.local").unwrap());
    let store = MemoryStore::new();
    let tokens = ServiceAccountTokens::new(issuer.clone(), store.clone());
    let config = ApiServerConfig {
        authenticator: Authenticator::new(vec![Arc::new(tokens)]),
        subresources: Subresources::standard(Some(issuer)),
        ..Default::default()
    };
    let cluster = Cluster::over(ApiServer::new(config, store)).await;
    cluster.grant("* * in *", "Group", "system:serviceaccounts").await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default";
    let request = json!({"spec": {"expirationSeconds": 600}});
    let answer = cluster.post(&format!("{path}/token"), request).await.ok();
    let token = answer["status"]["token"].as_str().unwrap().to_owned();
    let short = cluster.post(&format!("{path}/token"), json!({"spec": {"expirationSeconds": 1}})).await;
    assert_eq!(short.code, 422);
    let get = || Request::get("/api/v1/pods").header(AUTHORIZATION, format!("Bearer {token}"));
    let request = || get().body(body::empty()).unwrap();
    let connection = Connection::default();
    assert_eq!(cluster.server.serve(&connection, request()).await.status(), 200);
    let review = json!({"spec": {"token": token}});
    let review = cluster.post("/apis/authentication.k8s.io/v1/tokenreviews", review).await.ok();
    assert_eq!(review["status"]["user"]["username"], "system:serviceaccount:default:default");
    cluster.delete(path, serde_json::Value::Null).await.ok();
    assert_eq!(cluster.server.serve(&connection, request()).await.status(), 401);
}

/// A key as pki makes one.
fn rcgen_key() -> String {
    let dir = tempfile::tempdir().unwrap();
    Pki::load_or_create(dir.path(), &pki_options()).unwrap().service_account_key_pem
}

#[tokio::test]
async fn a_watch_may_be_a_web_socket() {
    use futures::{SinkExt, StreamExt};
    use hyper_util::rt::TokioIo;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;
    let (_dir, server, mut listener, kubeconfig) = listening().await;
    let cluster = Cluster::over(server).await;
    let client = client::from_kubeconfig(&kubeconfig).await.unwrap();
    let request = http::Request::get("/api/v1/namespaces?watch=1")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(kube::client::Body::empty())
        .unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let upgraded = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    let next = async |socket: &mut tokio_tungstenite::WebSocketStream<_>| {
        let message = tokio::time::timeout(std::time::Duration::from_secs(5), socket.next()).await;
        let text = message.expect("in time").expect("a message").unwrap().into_text().unwrap();
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        format!("{} {}", event["type"].as_str().unwrap(), event["object"]["metadata"]["name"].as_str().unwrap())
    };
    assert_eq!(next(&mut socket).await, "ADDED default");
    socket.send(Message::text("nobody listens")).await.unwrap();
    cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await.ok();
    assert_eq!(next(&mut socket).await, "ADDED other");
    listener.stop().await;
}
