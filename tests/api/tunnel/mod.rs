//! Nodes that the server cannot reach: what is asked of them goes through their agents' tunnels.

mod site;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{ListParams, WatchParams};
use orch::api::tunnel::{Destination, PATH, PROTOCOL};
use orch::client::paths::Paths;
use orch::keys::Pair;
use orch::lifecycle::Component;
use orch::server::http::authn::User;
use orch::server::subresource::dial::{Dialer, Target};
use orch::server::tunnel::{Kind, Refused};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use site::{FakeKubelet, NOBODY, Site, until, within};

#[tokio::test]
async fn what_cannot_be_reached_is_reached_by_the_tunnel() {
    let site = Site::new().await;
    let kubelet = FakeKubelet::start("behind", &site.of("n1")).await;
    site.node("n1", NOBODY, kubelet.address.port()).await;
    let refused = format!(
        "InternalError: Internal error occurred: Get \"https://{NOBODY}:{port}/containerLogs/default/n1/a\": \
         dial tcp {NOBODY}:{port}: connect: connection refused",
        port = kubelet.address.port()
    );
    assert_eq!(site.logs("n1").await, refused, "there is no tunnel yet");
    let mut tunnel = site.open("n1", &kubelet).await;
    assert_eq!(site.logs("n1").await, "behind");
    assert!(site.tunnels.of("n1").unwrap().is_needed_for(Kind::Kubelet));
    assert_eq!(site.logs("n1").await, "behind");
    let metrics = site.cluster.get("/metrics").await.text;
    assert!(metrics.contains("\norch_tunnels_open 1\n"), "{metrics}");
    let lasting = format!(
        "apiserver_longrunning_requests{{verb=\"CONNECT\",group=\"\",version=\"\",resource=\"\",subresource=\"{PATH}\",scope=\"\",component=\"apiserver\"}} 1\n"
    );
    assert!(metrics.contains(&lasting), "{metrics}");
    tunnel.stop().await;
    until("the tunnel's end", || site.tunnels.of("n1").is_none()).await;
    assert_eq!(site.logs("n1").await, refused);
}

#[tokio::test]
async fn a_session_leaves_http_behind_in_the_tunnel_too() {
    let site = Site::new().await;
    let kubelet = FakeKubelet::start("behind", &site.of("n1")).await;
    site.node("n1", NOBODY, kubelet.address.port()).await;
    let mut tunnel = site.open("n1", &kubelet).await;
    let exec = Request::get("/api/v1/namespaces/default/pods/n1/exec?command=cat&stdin=1&stdout=1");
    let mut session = TokioIo::new(upgraded(&site, Some(&site.pki.admin), exec, "echo").await.unwrap());
    for word in ["one", "two"] {
        session.write_all(word.as_bytes()).await.unwrap();
        let mut heard = [0; 3];
        within("an echo", session.read_exact(&mut heard)).await.unwrap();
        assert_eq!(heard, word.as_bytes());
    }
    // The agent goes: the session ends, it does not hang.
    tunnel.stop().await;
    let mut rest = Vec::new();
    let _ = within("the session's end", session.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn what_can_be_reached_is_reached_directly() {
    let site = Site::new().await;
    let near = FakeKubelet::start("directly", &site.of("n1")).await;
    let behind = FakeKubelet::start("behind", &site.of("n1")).await;
    let mut tunnel = site.open("n1", &behind).await;
    site.node("n1", "127.0.0.1", near.address.port()).await;
    assert_eq!(site.logs("n1").await, "directly");
    assert!(!site.tunnels.of("n1").unwrap().is_needed_for(Kind::Kubelet));
    tunnel.stop().await;
}

#[tokio::test]
async fn an_address_may_be_another_machines() {
    let site = Site::new().await;
    let behind = FakeKubelet::start("behind", &site.of("n1")).await;
    let stranger = FakeKubelet::start("stranger", &Site::new().await.of("n1")).await;
    // Of the same cluster, and its certificate has the address.
    let neighbour = FakeKubelet::start("neighbour", &site.of("n2")).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (name, port) in [
        ("stranger", stranger.address.port()),
        ("neighbour", neighbour.address.port()),
        ("silent", silent.local_addr().unwrap().port()),
    ] {
        let own = FakeKubelet::start("behind", &site.of(name)).await;
        site.node(name, "127.0.0.1", port).await;
        if name == "neighbour" {
            let wrong =
                "invalid node serving cert common name; expected \"system:node:neighbour\", got \"system:node:n2\"";
            let said = site.logs(name).await;
            assert!(said.ends_with(wrong), "{said}");
        }
        let mut tunnel = site.open(name, &own).await;
        assert_eq!(site.logs(name).await, "behind", "{name}");
        assert!(site.tunnels.of(name).unwrap().is_needed_for(Kind::Kubelet), "{name}");
        tunnel.stop().await;
    }
    // What the agent connects to must be the node's, too.
    site.node("n3", NOBODY, 1).await;
    let mut tunnel = site.open("n3", &behind).await;
    let said = site.logs("n3").await;
    assert!(said.ends_with(&format!("dial tcp {NOBODY}:1: connect: connection refused")), "{said}");
    tunnel.stop().await;
}

#[tokio::test]
async fn a_tunnel_may_come_while_the_direct_way_is_tried() {
    let site = Site::new().await;
    let kubelet = FakeKubelet::start("behind", &site.of("n1")).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    site.node("n1", "127.0.0.1", silent.local_addr().unwrap().port()).await;
    let late = async {
        let _begun = within("the direct way", silent.accept()).await.unwrap();
        site.open("n1", &kubelet).await
    };
    let (said, mut tunnel) = tokio::join!(site.logs("n1"), late);
    assert_eq!(said, "behind");
    tunnel.stop().await;
}

#[tokio::test]
async fn the_newest_tunnel_is_the_nodes() {
    let site = Site::new().await;
    let kubelet = FakeKubelet::start("behind", &site.of("n1")).await;
    site.node("n1", NOBODY, kubelet.address.port()).await;
    // One that does not even answer.
    let certificate = site.of("n1").kubelet_client;
    let silent = upgraded(&site, Some(&certificate), Request::get(PATH), PROTOCOL).await.unwrap();
    let mut silent = TokioIo::new(silent);
    let first = within("a tunnel", site.tunnels.arrival("n1")).await;
    let mut tunnel = site.open("n1", &kubelet).await;
    until("another tunnel", || site.tunnels.of("n1").is_some_and(|now| !Arc::ptr_eq(&now, &first))).await;
    let mut heard = Vec::new();
    let _ = within("the first one's end", silent.read_to_end(&mut heard)).await;
    assert_eq!(site.logs("n1").await, "behind");
    assert!(site.cluster.get("/metrics").await.text.contains("\norch_tunnels_open 1\n"));
    tunnel.stop().await;
}

#[tokio::test]
async fn nobody_else_opens_a_nodes_tunnel() {
    let site = Site::new().await;
    site.register("n2").await;
    let node = site.of("n2").kubelet_client;
    let forbidden =
        |user: &str, why: &str| format!("403 Forbidden: forbidden: User \"{user}\" cannot get path \"{PATH}\"{why}");
    let only = ": only a node may open a tunnel, and only its own";
    let ask = async |shown: Option<&Pair>, protocol: &str| {
        upgraded(&site, shown, Request::get(PATH), protocol).await.map(drop).unwrap_err()
    };
    assert_eq!(ask(None, PROTOCOL).await, forbidden(User::ANONYMOUS, ""));
    assert_eq!(ask(Some(&site.pki.admin), PROTOCOL).await, forbidden("kubernetes-admin", only));
    assert_eq!(ask(Some(&node), "websocket").await, "400 BadRequest: Upgrade request required");
    let kim = User::new("system:node:n1", &["dev"]);
    let reply = site.cluster.ask(&kim, Method::GET, PATH, Value::Null).await;
    assert_eq!(format!("{} {}", reply.code, reply.said()), forbidden("system:node:n1", ""), "not of the nodes' group");
    let node_too = User::node("n1");
    let reply = site.cluster.ask(&node_too, Method::POST, PATH, Value::Null).await;
    assert_eq!(reply.code, 403, "{}", reply.text);
    // A node's certificate opens that node's, whatever it may wish.
    let stranger = Site::new().await.of("n1").kubelet_client;
    assert!(upgraded(&site, Some(&stranger), Request::get(PATH), PROTOCOL).await.is_err(), "another cluster's");
    let _open = upgraded(&site, Some(&node), Request::get(PATH), PROTOCOL).await.unwrap();
    within("a tunnel", site.tunnels.arrival("n2")).await;
    assert!(site.tunnels.of("n1").is_none());
}

#[tokio::test]
async fn a_tunnel_is_of_a_node_that_exists_and_of_the_key_that_has_its_name() {
    let site = Site::new().await;
    let kubelet = FakeKubelet::start("behind", &site.of("n1")).await;
    let (config, other) = (site.agent("n1", &kubelet), site.of("other").kubelet_client);
    let ask = async |shown: &Pair| upgraded(&site, Some(shown), Request::get(PATH), PROTOCOL).await.map(drop);
    let refused = |node: &str, why: &str| {
        let user = format!("system:node:{node}");
        format!("403 Forbidden: forbidden: User \"{user}\" cannot get path \"{PATH}\": {why}")
    };
    assert_eq!(ask(&other).await.unwrap_err(), refused("other", "there is no Node \"other\""));
    // Somebody else has the name.
    site.cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "kube-node-lease"}})).await.ok();
    let claim = json!({"metadata": {"name": "other"}, "data": {"public-key-sha256": "00"}});
    site.cluster.post("/api/v1/namespaces/kube-node-lease/configmaps", claim).await.ok();
    site.register("other").await;
    let taken = "node name \"other\" belongs to another machine's key";
    assert_eq!(ask(&other).await.unwrap_err(), refused("other", taken));
    let own = json!({"data": {"public-key-sha256": fingerprint(&other)}});
    let claim = "/api/v1/namespaces/kube-node-lease/configmaps/other";
    site.cluster.ask(&User::admin(), Method::PATCH, claim, own).await.ok();
    ask(&other).await.unwrap();
    // A deleted Node's ends, and it is back when the Node is.
    let mut tunnel = site.open_with("n1", config).await;
    site.cluster.ask(&User::admin(), Method::DELETE, "/api/v1/nodes/n1", Value::Null).await.ok();
    until("the tunnel's end", || site.tunnels.of("n1").is_none()).await;
    site.node("n1", NOBODY, kubelet.address.port()).await;
    within("a tunnel", site.tunnels.arrival("n1")).await;
    assert_eq!(site.logs("n1").await, "behind");
    tunnel.stop().await;
}

fn fingerprint(pair: &Pair) -> String {
    let key = rcgen::KeyPair::from_pem(&pair.key_pem).unwrap();
    orch::api::claim::fingerprint(&rcgen::PublicKeyData::subject_public_key_info(&key))
}

#[tokio::test]
async fn a_tunnel_ends_with_its_certificate() {
    let site = Site::new().await;
    // Good for a year, of which two seconds are left.
    let made = Timestamp::now() - SignedDuration::from_hours(365 * 24) + SignedDuration::from_secs(2);
    let certificates = site.of_age("n1", made);
    let kubelet = FakeKubelet::start("behind", &certificates).await;
    let mut tunnel = site.open_with("n1", site.agent_with(&certificates, &kubelet)).await;
    until("the tunnel's end", || site.tunnels.of("n1").is_none()).await;
    let shown = &certificates.kubelet_client;
    assert!(upgraded(&site, Some(shown), Request::get(PATH), PROTOCOL).await.is_err(), "it was time");
    tunnel.stop().await;
}

#[tokio::test]
async fn a_tunnel_whose_path_is_gone_is_opened_anew() {
    let site = Site::new().await;
    let kubelet = FakeKubelet::start("behind", &site.of("n1")).await;
    let config = site.agent("n1", &kubelet);
    let paths = config.server.paths.clone();
    let mut tunnel = site.open_with("n1", config).await;
    let first = site.tunnels.of("n1").unwrap();
    paths.end(|local| local.is_loopback());
    until("another tunnel", || site.tunnels.of("n1").is_some_and(|now| !Arc::ptr_eq(&now, &first))).await;
    tunnel.stop().await;
}

#[tokio::test]
async fn requests_whose_path_is_gone_end_at_once_and_the_next_take_another() {
    let site = Site::new().await;
    let paths = Paths::default();
    let server = format!("https://{}", site.address).parse().unwrap();
    let client = orch::client::remote(&server, site.client_tls(Some(&site.pki.admin)), None, &paths);
    let nodes: Api<Node> = Api::all(client);
    let mut watch = nodes.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    paths.end(|local| local.is_loopback());
    let broken = within("the watch's end", watch.next()).await;
    assert!(broken.is_none_or(|event| event.is_err()));
    within("another connection", nodes.list(&ListParams::default())).await.unwrap();
}

#[tokio::test]
async fn a_tunnel_that_breaks_ends_its_streams_and_comes_back() {
    let site = Site::new().await;
    let kubelet = FakeKubelet::start("behind", &site.of("n1")).await;
    site.node("n1", NOBODY, kubelet.address.port()).await;
    // Between agent and server: a wire that can be cut.
    let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = site.agent("n1", &kubelet);
    config.server.port = between.local_addr().unwrap().port();
    let server = site.address;
    #[expect(clippy::async_yields_async, reason = "the wire is cut by its task")]
    let wire = async || {
        let mut agent = between.accept().await.unwrap().0;
        tokio::spawn(async move {
            let mut server = TcpStream::connect(server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut agent, &mut server).await;
        })
    };
    let (mut tunnel, first_wire) = tokio::join!(site.open_with("n1", config), wire());
    let first = site.tunnels.of("n1").unwrap();
    let mut following = site.proxy("n1", "/follow", "").await.into_body();
    assert_eq!(within("a word", following.frame()).await.unwrap().unwrap().into_data().unwrap(), "behind");
    first_wire.abort();
    let broken = within("the stream's end", following.frame()).await;
    assert!(broken.is_none_or(|frame| frame.is_err()), "an end, not silence");
    let _second_wire = within("the agent's return", wire()).await;
    until("another tunnel", || site.tunnels.of("n1").is_some_and(|now| !Arc::ptr_eq(&now, &first))).await;
    assert_eq!(site.logs("n1").await, "behind");
    tunnel.stop().await;
}

#[tokio::test]
async fn tunnels_end_with_the_server() {
    let mut site = Site::new().await;
    let kubelet = FakeKubelet::start("behind", &site.of("n1")).await;
    site.node("n1", NOBODY, kubelet.address.port()).await;
    let mut tunnel = site.open("n1", &kubelet).await;
    let mut following = site.proxy("n1", "/follow", "").await.into_body();
    assert!(within("a word", following.frame()).await.unwrap().is_ok());
    let soon = Duration::from_secs(2);
    tokio::time::timeout(soon, site.listener.stop()).await.expect("nobody is waited for");
    until("the tunnel's end", || site.tunnels.of("n1").is_none()).await;
    let broken = within("the stream's end", following.frame()).await;
    assert!(broken.is_none_or(|frame| frame.is_err()));
    // Without its server the agent only waits, and stops at once.
    tokio::time::timeout(soon, tunnel.stop()).await.expect("it stops");
}

#[tokio::test]
async fn a_tunnel_leads_to_the_nodes_pods_and_nowhere_else() {
    let site = Site::new().await;
    let kubelet = FakeKubelet::start("behind", &site.of("n1")).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let mut tunnel = site
        .open_for_pods(
            "n1",
            &kubelet,
            Arc::new(move |address| {
                counted.fetch_add(1, Ordering::Relaxed);
                address.ip().to_string() == "127.0.0.1"
            }),
        )
        .await;
    let pod = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = pod.local_addr().unwrap();
    let dialer = Dialer::new(site.tunnels.clone()).outside_the_pod_network();
    let port = address.port();
    let target = Target { kind: Kind::Pods, node: "n1", host: "127.0.0.1", port };
    let plain = |wire| std::future::ready(Ok(wire));
    let mut wire = dialer.connect(target, plain).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1, "it went through the tunnel");
    let mut other = pod.accept().await.unwrap().0;
    wire.write_all(b"question").await.unwrap();
    wire.shutdown().await.unwrap();
    let mut heard = String::new();
    within("a question", other.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "question", "and its end");
    other.write_all(b"answer").await.unwrap();
    drop(other);
    heard.clear();
    within("an answer", wire.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "answer");

    drop(pod);
    let error = dialer.connect(target, plain).await.map(drop).unwrap_err();
    assert_eq!(error.to_string(), format!("dial tcp {address}: connect: connection refused"));
    let live = site.tunnels.of("n1").unwrap();
    let refused = live.connect(Destination::Pod(address)).await.unwrap_err();
    assert!(matches!(&refused, Refused::Destination(error) if error.to_string() == "connect: connection refused"));
    for outside in [format!("{NOBODY}:{port}"), "192.0.2.1:22".to_owned()] {
        let refused = live.connect(Destination::parse(&outside).unwrap()).await.unwrap_err();
        let told = format!("the node's tunnel: {outside} is no pod's of this node");
        assert!(matches!(&refused, Refused::Tunnel(error) if error.to_string() == told), "{refused:?}");
    }
    tunnel.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_streams_share_a_tunnel() {
    let site = Arc::new(Site::new().await);
    let kubelet = FakeKubelet::start("behind", &site.of("n1")).await;
    site.node("n1", NOBODY, kubelet.address.port()).await;
    let mut tunnel = site.open("n1", &kubelet).await;
    // Some whose reader has stalled, with more to say than any window.
    let mut stalled = Vec::new();
    for _ in 0..16 {
        stalled.push(site.proxy("n1", "/flood", "").await);
    }
    let asking = (0..300u32).map(|number| {
        let site = site.clone();
        tokio::spawn(async move {
            let said: Bytes = (0..16384).flat_map(|at: u32| (at.wrapping_mul(number + 1)).to_be_bytes()).collect();
            let answer = site.proxy("n1", "/echo", said.clone()).await;
            let heard = within("an echo", answer.into_body().collect()).await.unwrap().to_bytes();
            assert!(heard == said, "stream {number}");
        })
    });
    for done in futures::future::join_all(asking).await {
        done.unwrap();
    }
    // They go on where they stalled.
    let mut one = stalled.pop().unwrap().into_body();
    let mut heard = 0;
    while heard < 4 * 1024 * 1024 {
        heard += within("more", one.frame()).await.unwrap().unwrap().into_data().unwrap().len();
    }
    tunnel.stop().await;
}

/// A connection to the server that has left HTTP/1.1 behind, or what was said instead.
async fn upgraded(
    site: &Site,
    shown: Option<&Pair>,
    request: http::request::Builder,
    protocol: &str,
) -> Result<Upgraded, String> {
    let tls = TlsConnector::from(Arc::new(site.client_tls(shown)));
    let name = "127.0.0.1".try_into().unwrap();
    let stream = tls.connect(name, TcpStream::connect(site.address).await.unwrap()).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection.with_upgrades());
    let request = request.header("host", "server").header("connection", "Upgrade").header("upgrade", protocol);
    let asked = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await;
    let answer = asked.map_err(|error| error.to_string())?;
    if answer.status() == 101 {
        return Ok(hyper::upgrade::on(answer).await.unwrap());
    }
    let code = answer.status().as_u16();
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    let status: Value = serde_json::from_slice(&text).unwrap();
    Err(format!("{code} {}: {}", status["reason"].as_str().unwrap(), status["message"].as_str().unwrap()))
}
