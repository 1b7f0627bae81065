//! Cluster DNS asked over the wire.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use orch::agent::dns::{Dns, DnsConfig};
use orch::agent::services::Services;
use orch::lifecycle::Component;
use orch::net::netns;
use serde_json::json;

use crate::api::Api;
use crate::support::{PATIENCE, Pod, eventually, on_host};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 10);

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 7;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

async fn over_udp(pod: &Pod, name: &str, kind: RecordType) -> Message {
    let question = query(name, kind);
    let answer = netns::run_in(&pod.netns, move || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(SocketAddr::from((ADDRESS, 53)))?;
        socket.send(&question)?;
        let mut buffer = vec![0; 65_536];
        let length = socket.recv(&mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    });
    Message::from_vec(&answer.await.unwrap()).unwrap()
}

async fn over_tcp(pod: &Pod, name: &str, kind: RecordType) -> Message {
    let question = query(name, kind);
    let answer = netns::run_in(&pod.netns, move || {
        let mut stream = TcpStream::connect_timeout(&(ADDRESS, 53).into(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&u16::try_from(question.len()).unwrap().to_be_bytes())?;
        stream.write_all(&question)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut buffer = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut buffer)?;
        Ok(buffer)
    });
    Message::from_vec(&answer.await.unwrap()).unwrap()
}

fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

/// A resolver outside the cluster that knows one name.
async fn resolver(pod: &Pod) {
    let socket = netns::run_in(&pod.netns, || UdpSocket::bind("0.0.0.0:53")).await.unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
            answer.add_queries(question.queries.iter().cloned());
            let name = question.queries[0].name().clone();
            if name.to_ascii().eq_ignore_ascii_case("example.org.") && question.queries[0].query_type() == RecordType::A
            {
                let data = hickory_proto::rr::RData::A(Ipv4Addr::new(198, 51, 100, 1).into());
                answer.add_answer(hickory_proto::rr::Record::from_rdata(name, 60, data));
            } else {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            let _ = socket.send_to(&answer.to_vec().unwrap(), peer);
        }
    });
}

#[test]
fn pods_ask_for_names_of_the_cluster_and_of_the_world_needs_root() {
    on_host(|host| async move {
        orch::net::masquerade::allow_forwarding().unwrap();
        let client = host.pod("client", [10, 42, 0, 4]).await;
        let outside = host.pod("resolver", [10, 42, 0, 5]).await;
        resolver(&outside).await;
        let api = Api::default();
        api.service("web", json!({"clusterIP": "10.43.0.5", "ports": [{"name": "http", "port": 80}]}));
        api.service("away", json!({"type": "ExternalName", "externalName": "example.org"}));
        let services = Services::watch(api.client(), None);
        let resolv_conf = host.path().join("resolv.conf");
        let mut dns = Dns::new(DnsConfig {
            client: api.client(),
            node_name: "node".to_owned(),
            services: services.clone(),
            cluster_dns: ADDRESS,
            cluster_domain: "cluster.local".to_owned(),
            cluster_ranges: vec!["10.42.0.0/16".parse().unwrap(), "10.43.0.0/16".parse().unwrap()],
            resolv_conf: resolv_conf.clone(),
            link_prefix: "orch".to_owned(),
            metrics: Default::default(),
            memory: None,
        });
        dns.start().await.unwrap();
        services.wait_ready().await;

        let answer = over_udp(&client, "web.n.svc.cluster.local.", RecordType::A).await;
        assert_eq!(data(&answer), ["10.43.0.5"]);
        assert_eq!((answer.metadata.id, answer.metadata.authoritative), (7, true));
        assert!(answer.metadata.recursion_available);
        let answer = over_tcp(&client, "_http._tcp.web.n.svc.cluster.local.", RecordType::SRV).await;
        assert_eq!(data(&answer), ["0 100 80 web.n.svc.cluster.local."]);
        let answer = over_udp(&client, "web.n.svc.cluster.local.", RecordType::AAAA).await;
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
        assert_eq!(answer.authorities[0].record_type(), RecordType::SOA, "so that clients remember that there is none");
        let answer = over_udp(&client, "no.n.svc.cluster.local.", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);

        let answer = over_udp(&client, "example.org.", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "there is no resolver");

        // The node joins a network with a resolver, and the kernel tells that the file changed.
        std::fs::write(&resolv_conf, format!("nameserver {ADDRESS}\nnameserver {}\n", outside.address)).unwrap();
        let ask = async || over_udp(&client, "example.org.", RecordType::A).await;
        let answer = eventually(ask, |answer| answer.metadata.response_code == ResponseCode::NoError).await;
        assert_eq!(data(&answer), ["198.51.100.1"]);
        let answer = over_udp(&client, "away.n.svc.cluster.local.", RecordType::A).await;
        assert_eq!(data(&answer), ["example.org.", "198.51.100.1"]);
        let answer = over_udp(&client, "no.example.org.", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);

        api.service("new", json!({"clusterIP": "10.43.0.6", "ports": [{"port": 80}]}));
        let ask = async || data(&over_udp(&client, "6.0.43.10.in-addr.arpa.", RecordType::PTR).await);
        eventually(ask, |answer| *answer == ["new.n.svc.cluster.local."]).await;

        // The administrator gives names by hand, and sends a domain to a server of its own.
        let stubs = json!({"nowhere.test": ["10.42.0.5:5353"], "org": [outside.address]}).to_string();
        api.config_map("kube-dns", json!({"stubDomains": stubs, "NodeHosts": "192.0.2.7 nas.lan"}));
        let nas = async || data(&over_udp(&client, "nas.lan.", RecordType::A).await);
        eventually(nas, |answer| *answer == ["192.0.2.7"]).await;
        std::fs::write(&resolv_conf, "").unwrap();
        let other = async || over_udp(&client, "other.test.", RecordType::A).await.metadata.response_code;
        eventually(other, |code| *code == ResponseCode::ServFail).await;
        assert_eq!(
            data(&over_udp(&client, "example.org.", RecordType::A).await),
            ["198.51.100.1"],
            "by its own server"
        );
        // What is wrong changes nothing, and is told.
        api.config_map("kube-dns", json!({"stubDomains": "{"}));
        eventually(
            async || api.events(),
            |events| events.iter().any(|it| it.starts_with("InvalidConfiguration: stubDomains: EOF")),
        )
        .await;
        assert_eq!(nas().await, ["192.0.2.7"]);
        api.delete("configmaps", "kube-dns");
        eventually(nas, |answer| answer.is_empty()).await;
        dns.stop().await;
        services.stop().await;
    });
}
