//! The whole way from a client's socket to those of other servers, which here are slow, dead, liars or ourselves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hosts::Hosts;
use super::listen::Sockets;
use super::metrics::Metrics;
use super::respond::{Responder, Route, Routes};
use super::zone::Zone;
use crate::agent::services::{Key, Services};

const PATIENCE: Duration = Duration::from_secs(60);

/// An upstream server: what it sends for each question it gets over UDP, and for each over TCP.
struct Upstream {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

type Behaviour = fn(&Message) -> Vec<Vec<u8>>;

impl Upstream {
    async fn start(udp: Behaviour, tcp: Behaviour) -> Self {
        let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = datagrams.local_addr().unwrap();
        let streams = TcpListener::bind(address).await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = datagrams.recv_from(&mut buffer).await {
                counter.fetch_add(1, Ordering::SeqCst);
                for answer in udp(&Message::from_vec(&buffer[..length]).unwrap()) {
                    datagrams.send_to(&answer, peer).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = streams.accept().await {
                let question = framed(&mut stream).await;
                for answer in tcp(&question) {
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&length[..], &answer].concat()).await.unwrap();
                }
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn framed(stream: &mut TcpStream) -> Message {
    let mut bytes = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut bytes).await.unwrap();
    Message::from_vec(&bytes).unwrap()
}

fn answer(question: &Message, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.queries = question.queries.clone();
    change(&mut answer);
    answer.to_vec().unwrap()
}

fn addresses(answer: &mut Message, ttl: u32, count: u8) {
    // Lower case, as from a server that does not care.
    let name = answer.queries[0].name.to_lowercase();
    let record = |last| Record::from_rdata(name.clone(), ttl, RData::A(A([192, 0, 2, last].into())));
    answer.answers = (1..=count).map(record).collect();
}

fn good(question: &Message) -> Vec<Vec<u8>> {
    vec![answer(question, |it| addresses(it, 300, 1))]
}

fn short_lived(question: &Message) -> Vec<Vec<u8>> {
    vec![answer(question, |it| addresses(it, 1, 1))]
}

fn silent(_: &Message) -> Vec<Vec<u8>> {
    Vec::new()
}

fn failing(question: &Message) -> Vec<Vec<u8>> {
    vec![answer(question, |it| it.metadata.response_code = ResponseCode::ServFail)]
}

fn nothing_there(question: &Message) -> Vec<Vec<u8>> {
    vec![answer(question, |it| {
        it.metadata.response_code = ResponseCode::NXDomain;
        let name = Name::from_ascii("org.").unwrap();
        let soa = SOA::new(name.clone(), name.clone(), 1, 1, 1, 1, 60);
        it.authorities = vec![Record::from_rdata(name, 900, RData::SOA(soa))];
    })]
}

/// A wrong number, a wrong question, rubbish; then the truth.
fn lying(question: &Message) -> Vec<Vec<u8>> {
    let wrong = |id: u16, name: &str| {
        answer(question, |it| {
            it.metadata.id = id;
            it.queries[0].set_name(Name::from_ascii(name).unwrap());
            addresses(it, 300, 9);
        })
    };
    let id = question.metadata.id;
    let mut all = vec![wrong(!id, "example.org."), wrong(id, "evil.org."), vec![1, 2, 3]];
    all.extend(good(question));
    all
}

fn truncated(question: &Message) -> Vec<Vec<u8>> {
    vec![answer(question, |it| it.metadata.truncation = true)]
}

fn many(question: &Message) -> Vec<Vec<u8>> {
    vec![answer(question, |it| addresses(it, 300, 100))]
}

/// From before EDNS.
fn old(question: &Message) -> Vec<Vec<u8>> {
    if question.edns.is_none() {
        return good(question);
    }
    vec![answer(question, |it| it.metadata.response_code = ResponseCode::FormErr)]
}

/// DNS as an agent runs it, on a port of loopback.
struct Host {
    udp: SocketAddr,
    tcp: SocketAddr,
    responder: Arc<Responder>,
    stop: CancellationToken,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn routes(world: &[SocketAddr], stub: Option<(&str, SocketAddr)>) -> Routes {
    let named = |name: &str| LowerName::new(&Name::from_ascii(name).unwrap());
    let stubs = stub.into_iter().map(|(domain, server)| Route::new(named(domain), [server])).collect();
    let hosts = Hosts::parse("192.0.2.200 nas.lan\n192.0.2.201 web.shop.svc.cluster.local").unwrap();
    Routes { hosts, stubs, world: Route::new(named("."), world.iter().copied()) }
}

async fn host(world: &[SocketAddr], stub: Option<(&str, SocketAddr)>) -> Host {
    let services = Services::default();
    let put = |name: &str, external: &str| {
        let spec = serde_json::json!({"type": "ExternalName", "externalName": external});
        let service = serde_json::from_value(serde_json::json!({"spec": spec})).unwrap();
        services.put_service(Key::new("shop", name), Some(&service));
    };
    put("away", "example.org");
    put("near", "away.shop.svc.cluster.local");
    put("circle", "circle.shop.svc.cluster.local");
    put("nas", "nas.lan");
    put("broken", "no.shop.svc.cluster.local");
    let zone = Zone::new("cluster.local", [10, 43, 0, 10].into(), &[], services).unwrap();
    let responder = Arc::new(Responder::new(Arc::new(zone), Arc::new(Metrics::default()), routes(world, stub)));
    let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (udp, tcp) = (sockets.datagrams.local_addr().unwrap(), sockets.streams.local_addr().unwrap());
    let stop = CancellationToken::new();
    sockets.serve(&responder, &stop, &TaskTracker::new());
    Host { udp, tcp, responder, stop }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

impl Host {
    async fn ask(&self, name: &str) -> Message {
        self.over_udp(&question(name, RecordType::A)).await
    }

    async fn over_udp(&self, question: &Message) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&question.to_vec().unwrap(), self.udp).await.unwrap();
        let mut buffer = [0; 65_535];
        let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("an answer").unwrap();
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(answer.metadata.id, question.metadata.id);
        answer
    }

    async fn over_tcp(&self, questions: &[Message]) -> Vec<Message> {
        let mut stream = TcpStream::connect(self.tcp).await.unwrap();
        let mut answers = Vec::new();
        for question in questions {
            let bytes = question.to_vec().unwrap();
            stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            answers.push(framed(&mut stream).await);
        }
        answers
    }
}

/// The answer's data, or its code.
fn said(message: &Message) -> String {
    if message.answers.is_empty() {
        return format!("{:?}", message.metadata.response_code);
    }
    message.answers.iter().map(|record| record.data.to_string()).collect::<Vec<_>>().join(" ")
}

/// An address at which nobody listens.
async fn dead() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn an_answer_is_asked_for_once_and_keeps_the_clients_letters() {
    let upstream = Upstream::start(good, silent).await;
    let host = host(&[upstream.address], None).await;
    for name in ["ExAmple.org.", "example.ORG."] {
        let answer = host.ask(name).await;
        assert_eq!(said(&answer), "192.0.2.1");
        assert!(!answer.metadata.authoritative && answer.metadata.recursion_available);
        assert_eq!((answer.queries[0].name.to_ascii(), answer.answers[0].name.to_ascii()), (name.into(), name.into()));
    }
    assert_eq!(upstream.asked(), 1);
    let metrics = host.responder.metrics.render();
    for line in
        ["coredns_cache_hits_total{server=\"dns://:53\"} 1", "coredns_cache_misses_total{server=\"dns://:53\"} 1"]
    {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_fails() {
    let (good, failing, silent) = (
        Upstream::start(good, silent).await,
        Upstream::start(failing, silent).await,
        Upstream::start(silent, silent).await,
    );
    let dead = dead().await;
    let host = host(&[dead, failing.address, silent.address, good.address], None).await;
    assert_eq!(said(&host.ask("one.org.").await), "192.0.2.1");
    let before = (failing.asked(), silent.asked());
    assert_eq!(before, (1, 1));
    // Those that failed come last from now on.
    let begun = Instant::now();
    assert_eq!(said(&host.ask("two.org.").await), "192.0.2.1");
    assert_eq!((failing.asked(), silent.asked()), before, "after {:?}", begun.elapsed());
}

#[tokio::test]
async fn when_nobody_answers_that_is_said() {
    let failing = Upstream::start(failing, silent).await;
    let nobody = host(&[], None).await;
    // A clock that stands moves only when somebody waits for it.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert_eq!(said(&nobody.ask("example.org.").await), "ServFail");
    assert!(begun.elapsed().is_zero(), "and at once");
    tokio::time::resume();
    assert_eq!(said(&host(&[dead().await], None).await.ask("example.org.").await), "ServFail");
    assert_eq!(said(&host(&[failing.address], None).await.ask("example.org.").await), "ServFail");
    assert_eq!(failing.asked(), 2, "once more, in case a datagram was lost");
}

#[tokio::test]
async fn lies_are_not_heard() {
    let upstream = Upstream::start(lying, silent).await;
    assert_eq!(said(&host(&[upstream.address], None).await.ask("example.org.").await), "192.0.2.1");
}

#[tokio::test]
async fn a_server_from_before_edns_is_asked_in_its_own_words() {
    let upstream = Upstream::start(old, silent).await;
    assert_eq!(said(&host(&[upstream.address], None).await.ask("example.org.").await), "192.0.2.1");
}

#[tokio::test]
async fn what_does_not_fit_is_fetched_and_given_over_tcp() {
    let upstream = Upstream::start(truncated, many).await;
    let host = host(&[upstream.address], None).await;
    let answer = host.ask("example.org.").await;
    assert!(answer.metadata.truncation && (20..32).contains(&answer.answers.len()), "{}", answer.answers.len());
    let mut edns = question("example.org.", RecordType::A);
    let mut options = Edns::new();
    options.set_max_payload(4096);
    edns.set_edns(options);
    let answer = host.over_udp(&edns).await;
    assert!(answer.metadata.truncation && (60..80).contains(&answer.answers.len()), "{}", answer.answers.len());
    // Several questions on one connection.
    let answers = host
        .over_tcp(&[question("example.org.", RecordType::A), question("dns-version.cluster.local.", RecordType::TXT)])
        .await;
    assert_eq!((answers[0].answers.len(), answers[0].metadata.truncation), (100, false));
    assert_eq!(said(&answers[1]), "1.1.0");
    assert_eq!(upstream.asked(), 1);
}

#[tokio::test]
async fn the_same_question_travels_once_for_all() {
    // Not to be remembered: who asks after the answer came asks anew.
    fn fleeting(question: &Message) -> Vec<Vec<u8>> {
        vec![answer(question, |it| addresses(it, 0, 1))]
    }
    let upstream = Upstream::start(fleeting, silent).await;
    let host = host(&[upstream.address], None).await;
    let answers = futures::future::join_all((0..50).map(|_| host.ask("example.org."))).await;
    assert!(answers.iter().all(|answer| said(answer) == "192.0.2.1"));
    assert_eq!(upstream.asked(), 1);
}

#[tokio::test]
async fn that_there_is_nothing_is_remembered_too() {
    let upstream = Upstream::start(nothing_there, silent).await;
    let host = host(&[upstream.address], None).await;
    for _ in 0..2 {
        let answer = host.ask("no.org.").await;
        assert_eq!((said(&answer), answer.authorities.len()), ("NXDomain".to_owned(), 1));
    }
    assert_eq!(upstream.asked(), 1);
    assert_eq!(said(&host.ask("away.shop.svc.cluster.local.").await), "example.org.");
    let answer = host.ask("away.shop.svc.cluster.local.").await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "what is said of the last name");
}

#[tokio::test]
async fn an_old_answer_is_better_than_none() {
    let upstream = Upstream::start(short_lived, silent).await;
    let host = host(&[upstream.address], None).await;
    assert_eq!(said(&host.ask("example.org.").await), "192.0.2.1");
    // The world is gone, and the answer's second passes.
    host.responder.reroute(routes(&[], None), false);
    let stale = async {
        loop {
            let answer = host.ask("example.org.").await;
            assert_eq!(said(&answer), "192.0.2.1");
            if answer.answers[0].ttl == 30 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, stale).await.expect("it grows old");
    assert_eq!(said(&host.ask("other.org.").await), "ServFail");
    // It is back.
    host.responder.reroute(routes(&[upstream.address], None), false);
    assert_eq!(host.ask("example.org.").await.answers[0].ttl, 1);
    // The administrator points elsewhere: what the others said does not count any more.
    host.responder.reroute(routes(&[], None), true);
    assert_eq!(said(&host.ask("example.org.").await), "ServFail");
}

#[tokio::test]
async fn each_name_goes_its_way() {
    let (world, corp) = (Upstream::start(good, silent).await, Upstream::start(many, silent).await);
    let host = host(&[world.address], Some(("corp.", corp.address))).await;
    assert_eq!(said(&host.ask("example.org.").await), "192.0.2.1");
    assert_eq!(corp.asked(), 0);
    assert!(host.ask("db.Corp.").await.metadata.truncation);
    assert_eq!((world.asked(), corp.asked()), (1, 1));
    assert_eq!(said(&host.ask("nas.lan.").await), "192.0.2.200");
    assert_eq!(said(&host.ask("web.shop.svc.cluster.local.").await), "192.0.2.201", "the administrator's word counts");
    // Aliases are followed within the cluster, beyond it, and not for ever.
    assert_eq!(said(&host.ask("away.shop.svc.cluster.local.").await), "example.org. 192.0.2.1");
    assert_eq!(
        said(&host.ask("near.shop.svc.cluster.local.").await),
        "away.shop.svc.cluster.local. example.org. 192.0.2.1"
    );
    assert_eq!(said(&host.ask("nas.shop.svc.cluster.local.").await), "nas.lan. 192.0.2.200");
    assert_eq!(said(&host.ask("circle.shop.svc.cluster.local.").await), "ServFail");
    let broken = host.ask("broken.shop.svc.cluster.local.").await;
    assert_eq!(broken.metadata.response_code, ResponseCode::NXDomain);
    let cname = host.over_udp(&question("away.shop.svc.cluster.local.", RecordType::CNAME)).await;
    assert_eq!(said(&cname), "example.org.");
    assert_eq!((world.asked(), corp.asked()), (1, 1), "the rest was known");
}

#[tokio::test]
async fn who_wants_everything_gets_little_and_asks_nobody() {
    let upstream = Upstream::start(good, silent).await;
    let host = host(&[upstream.address], None).await;
    for name in ["example.org.", "away.shop.svc.cluster.local."] {
        let answer = host.over_udp(&question(name, RecordType::ANY)).await;
        assert_eq!((answer.answers.len(), answer.answers[0].record_type()), (1, RecordType::HINFO));
    }
    assert_eq!(upstream.asked(), 0);
}

/// A server that asks us what we ask it.
async fn mirror(back: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = asked.clone();
    tokio::spawn(async move {
        let socket = Arc::new(socket);
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            counter.fetch_add(1, Ordering::SeqCst);
            let (socket, question) = (socket.clone(), buffer[..length].to_vec());
            tokio::spawn(async move {
                let onward = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                onward.send_to(&question, back).await.unwrap();
                let mut answer = [0; 4096];
                let length = onward.recv(&mut answer).await.unwrap();
                socket.send_to(&answer[..length], peer).await.unwrap();
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_server_that_asks_us_is_not_asked_again() {
    let upstream = Upstream::start(good, silent).await;
    let host = host(&[], None).await;
    let (mirror, asked) = mirror(host.udp).await;
    host.responder.reroute(routes(&[mirror, upstream.address], None), false);
    host.responder.probe().await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(said(&host.ask("example.org.").await), "192.0.2.1");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "only the probe went there");
    assert_eq!(upstream.asked(), 2, "the probe and the question");
    // Even before it is found out, a question does not go round and round.
    host.responder.reroute(routes(&[mirror], None), false);
    assert_eq!(said(&host.ask("round.org.").await), "ServFail");
    assert!(asked.load(Ordering::SeqCst) <= 3, "{asked:?}");
}
