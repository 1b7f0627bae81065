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

#[tokio::test]
async fn kubes_client_works_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let options = PkiOptions {
        sans: Vec::new(),
        node_name: "n1".into(),
        node_ips: Vec::new(),
        service_ip: "10.43.0.1".parse().unwrap(),
        cluster_domain: "cluster.local".into(),
    };
    let pki = Pki::load_or_create(dir.path(), &options).unwrap();
    let config = ApiServerConfig {
        authenticator: Authenticator::new(vec![Arc::new(StaticToken::admin("secret"))]),
        ..Default::default()
    };
    let server = ApiServer::new(config, MemoryStore::new());
    let tls = TlsSource::new(Arc::new(pki.server_tls().unwrap()));
    let mut listener = Listener::new(server.clone(), "127.0.0.1:0".parse().unwrap(), tls.clone());
    listener.start().await.unwrap();
    let address = listener.local_address().unwrap();

    let kubeconfig = orch::server::pki::kubeconfig::render(&format!("https://{address}"), &pki.ca_pem, &pki.admin);
    use_client(client::from_kubeconfig(&kubeconfig).await.unwrap()).await;

    // The port is taken: one line that says how to mend it.
    let mut second = Listener::new(server, address, tls);
    let error = second.start().await.unwrap_err().to_string();
    assert!(error.contains("is in use") && error.contains("--https-listen-port"), "{error}");
    second.stop().await;
    listener.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
