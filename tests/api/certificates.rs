//! Certificates: requests for them and who may say what about them, and those of the server itself.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use orch::keys::Pair;
use orch::lifecycle::Component;
use orch::server::http::authn::User;
use orch::server::http::listener::{Listener, TlsSource};
use orch::server::http::{ApiServer, ApiServerConfig};
use orch::server::pki::rotation::{Hooks, Rotation};
use orch::server::pki::{Pki, PkiOptions, inspect};
use orch::store::memory::MemoryStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Reply};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

fn request(name: &str, common_name: &str, organization: &str, signer: &str) -> Value {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
    let pem = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let request = k8s_openapi::ByteString(pem.into_bytes());
    let spec = json!({"request": request, "signerName": signer, "usages": ["client auth"], "username": "forged"});
    json!({"metadata": {"name": name}, "spec": spec})
}

async fn create_as(cluster: &Cluster, user: User, object: &Value) -> Reply {
    let request = Request::builder().method(Method::POST).uri(REQUESTS).header("content-type", "application/json");
    cluster.send_as(user, request.body(orch::server::http::body::full(object.to_string())).unwrap()).await
}

fn with(mut object: Value, conditions: Value) -> Value {
    object["status"]["conditions"] = conditions;
    object
}

#[tokio::test]
async fn requests_name_who_asks_and_verdicts_stand() {
    let cluster = Cluster::new().await;
    cluster.grant("create certificatesigningrequests in certificates.k8s.io", "User", "jane").await;
    let jane = User { uid: "7".to_owned(), ..User::new("jane", &["dev"]) };
    let made = create_as(&cluster, jane, &request("a", "jane", "dev", "example.com/mine")).await.ok();
    let spec = &made["spec"];
    assert_eq!((&spec["username"], &spec["uid"]), (&json!("jane"), &json!("7")));
    assert_eq!(spec["groups"], json!(["dev", "system:authenticated"]));

    let path = format!("{REQUESTS}/a");
    let approved = json!([{"type": "Approved", "status": "True", "reason": "x", "message": "fine"}]);
    let refused = cluster.put(&format!("{path}/status"), with(made.clone(), approved.clone())).await;
    assert_eq!(refused.code, 422);
    assert!(
        refused.said().ends_with("status.conditions: Forbidden: updates may not add a condition of type \"Approved\""),
        "{}",
        refused.said()
    );
    let mut approving = with(made, approved);
    approving["metadata"]["annotations"] = json!({"by": "the test"});
    approving["spec"]["username"] = json!("somebody else");
    let done = cluster.put(&format!("{path}/approval"), approving).await.ok();
    assert_eq!(
        (&done["metadata"]["annotations"]["by"], &done["spec"]["username"]),
        (&json!("the test"), &json!("jane"))
    );
    assert!(done["status"]["conditions"][0]["lastTransitionTime"].is_string());
    let denied =
        json!([done["status"]["conditions"][0], {"type": "Denied", "status": "True", "reason": "x", "message": ""}]);
    let both = cluster.put(&format!("{path}/approval"), with(done.clone(), denied)).await;
    assert!(both.said().contains("Approved and Denied conditions are mutually exclusive"), "{}", both.said());
    let taken_back = cluster.put(&format!("{path}/approval"), with(done.clone(), json!([]))).await;
    assert!(taken_back.said().contains("updates may not remove a condition of type \"Approved\""));

    let pem = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert.pem();
    let mut issued = done;
    issued["status"]["certificate"] = json!(k8s_openapi::ByteString(pem.into_bytes()));
    let issued = cluster.put(&format!("{path}/status"), issued).await.ok();
    let mut changed = issued.clone();
    changed["status"].as_object_mut().unwrap().remove("certificate");
    let changed = cluster.put(&format!("{path}/status"), changed).await;
    assert!(changed.said().contains("updates may not modify existing certificate content"));
    assert_eq!(cluster.get(&path).await.ok()["status"], issued["status"]);
}

fn options() -> PkiOptions {
    PkiOptions {
        sans: Vec::new(),
        node_name: "n1".into(),
        node_ips: Vec::new(),
        service_ip: "10.43.0.1".parse().unwrap(),
        cluster_domain: "cluster.local".into(),
    }
}

/// A server on a socket, with its certificates in a folder.
struct Serving {
    dir: tempfile::TempDir,
    pki: Pki,
    listener: Listener,
    address: SocketAddr,
}

impl Serving {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::load_or_create(dir.path(), &options()).unwrap();
        let server = ApiServer::new(ApiServerConfig::default(), MemoryStore::new());
        let tls = TlsSource::new(Arc::new(pki.server_tls().unwrap()));
        let mut listener = Listener::new(server, "127.0.0.1:0".parse().unwrap(), tls);
        listener.start().await.unwrap();
        let address = listener.local_address().unwrap();
        Self { dir, pki, listener, address }
    }

    /// A connection by which requests can be sent, and the certificate that the server showed.
    async fn connect(&self, identity: Option<&Pair>) -> std::io::Result<(SendRequest<Empty<Bytes>>, Vec<u8>)> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pki.ca_pem.as_bytes()).unwrap()).unwrap();
        let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
        let tls = match identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = vec![CertificateDer::from_pem_slice(pair.cert_pem.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let socket = tokio::net::TcpStream::connect(self.address).await?;
        let name = "localhost".try_into().unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, socket).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok((sender, shown))
    }
}

/// The answer's code to a request for pods.
async fn pods(sender: &mut SendRequest<Empty<Bytes>>) -> Result<u16, hyper::Error> {
    let request = Request::get("/api/v1/pods").header("host", "localhost").body(Empty::new()).unwrap();
    let response = sender.send_request(request).await?;
    let code = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(code)
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() {
    let mut serving = Serving::new().await;
    let (mut nobody, _) = serving.connect(None).await.unwrap();
    assert_eq!(pods(&mut nobody).await.unwrap(), 403);
    let (mut admin, _) = serving.connect(Some(&serving.pki.admin)).await.unwrap();
    assert_eq!(pods(&mut admin).await.unwrap(), 200);
    let other = tempfile::tempdir().unwrap();
    let foreign = Pki::load_or_create(other.path(), &options()).unwrap().admin;
    // TLS 1.3 tells the client only after its own part is done.
    let refused = match serving.connect(Some(&foreign)).await {
        Err(_) => true,
        Ok((mut sender, _)) => pods(&mut sender).await.is_err(),
    };
    assert!(refused);
    let long_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * 400);
    let elsewhere = tempfile::tempdir().unwrap();
    for file in ["ca.crt", "ca.key"] {
        std::fs::copy(serving.dir.path().join(file), elsewhere.path().join(file)).unwrap();
    }
    let expired = Pki::load_at(elsewhere.path(), &options(), long_ago).unwrap().admin;
    let refused = match serving.connect(Some(&expired)).await {
        Err(_) => true,
        Ok((mut sender, _)) => pods(&mut sender).await.is_err(),
    };
    assert!(refused, "an expired one of our own");
    serving.listener.stop().await;
}

#[tokio::test]
async fn certificates_are_replaced_while_connections_are_open() {
    let mut serving = Serving::new().await;
    let (renewed, mut renewals) = tokio::sync::mpsc::unbounded_channel();
    let hooks = Hooks {
        now: Box::new(jiff::Timestamp::now),
        renewed: Box::new(move |pki| renewed.send(pki.admin.clone()).unwrap()),
        ca_ends: Box::new(|_| {}),
    };
    let mut rotation = Rotation::new(serving.dir.path().to_owned(), Box::new(options), &serving.pki, hooks);
    rotation.start().await.unwrap();
    let (mut open, before) = serving.connect(Some(&serving.pki.admin)).await.unwrap();
    assert_eq!(pods(&mut open).await.unwrap(), 200);
    let rotated = inspect::rotate(serving.dir.path()).unwrap();
    assert_eq!(rotated.len(), 5);
    rotation.wake().notify_one();
    let admin = renewals.recv().await.unwrap();
    assert_eq!(pods(&mut open).await.unwrap(), 200, "the open connection goes on");
    let (mut new, after) = serving.connect(Some(&admin)).await.unwrap();
    assert_ne!(before, after);
    assert_eq!(pods(&mut new).await.unwrap(), 200);
    rotation.stop().await;
    serving.listener.stop().await;
}

#[tokio::test]
async fn signers_are_for_those_who_may() {
    let cluster = Cluster::new().await;
    let rules = json!([
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests", "certificatesigningrequests/approval", "certificatesigningrequests/status"], "verbs": ["*"]},
        {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["example.com/*"], "verbs": ["approve"]},
    ]);
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    cluster.post(roles, json!({"metadata": {"name": "approver"}, "rules": rules})).await.ok();
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "approver"});
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"});
    let binding = json!({"metadata": {"name": "approver"}, "roleRef": role, "subjects": [subject]});
    cluster.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await.ok();

    let jane = || User::new("jane", &[]);
    let put = async |path: String, object: Value| {
        let request = Request::put(path).header("content-type", "application/json");
        cluster.send_as(jane(), request.body(orch::server::http::body::full(object.to_string())).unwrap()).await
    };
    let condition = |kind: &str| json!([{"type": kind, "status": "True", "reason": "x", "message": ""}]);
    let mine = create_as(&cluster, jane(), &request("mine", "jane", "dev", "example.com/mine")).await.ok();
    let theirs = create_as(&cluster, jane(), &request("theirs", "jane", "dev", "example.org/theirs")).await.ok();
    let refused = put(format!("{REQUESTS}/theirs/approval"), with(theirs, condition("Approved"))).await;
    assert_eq!(
        refused.said(),
        "Forbidden: certificatesigningrequests.certificates.k8s.io \"theirs\" is forbidden: user not permitted to approve requests with signerName \"example.org/theirs\""
    );
    let approved = put(format!("{REQUESTS}/mine/approval"), with(mine, condition("Approved"))).await.ok();
    let mut failed = approved;
    failed["status"]["conditions"].as_array_mut().unwrap().push(condition("Failed")[0].clone());
    let refused = put(format!("{REQUESTS}/mine/status"), failed).await;
    assert!(
        refused.said().ends_with("user not permitted to sign requests with signerName \"example.com/mine\""),
        "{}",
        refused.said()
    );

    let masters = request("masters", "jane", "system:masters", "kubernetes.io/kube-apiserver-client");
    assert_eq!(
        create_as(&cluster, User::admin(), &masters).await.said(),
        "Forbidden: certificatesigningrequests.certificates.k8s.io \"masters\" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
    );
}
