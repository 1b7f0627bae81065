//! Cluster DNS, answered by every node for its own pods: names of Services and pods from what the node knows anyway,
//! everything else from the host's resolvers. It listens on the cluster's DNS address, which the node holds on a link
//! of its own, so pods reach it without any translation. Never writes and never forwards names of the cluster.

mod upstream;
mod zone;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Edns, MessageType, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::{DNSClass, LowerName, Name, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use ipnet::Ipv4Net;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use crate::agent::services::Services;
use crate::lifecycle::{Component, StartError};
use crate::net::node_link;
use upstream::Upstream;
use zone::{Answer, Zone};

/// What DNS is told.
#[derive(Clone)]
pub struct DnsConfig {
    /// Shared with whoever else looks at Services on this node.
    pub services: Services,
    pub cluster_dns: Ipv4Addr,
    pub cluster_domain: String,
    /// Addresses of pods and Services: their reverse names are answered here and not asked elsewhere.
    pub cluster_ranges: Vec<Ipv4Net>,
    /// The host's own `resolv.conf`; read again when it changes.
    pub resolv_conf: PathBuf,
    /// The link that holds the address is called `<prefix>-dns`.
    pub link_prefix: String,
}

/// The component.
pub struct Dns {
    config: DnsConfig,
    server: Option<Server<Handler>>,
    index: Option<JoinHandle<()>>,
}

impl Dns {
    pub fn new(config: DnsConfig) -> Self {
        Self { config, server: None, index: None }
    }
}

#[async_trait]
impl Component for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    async fn start(&mut self) -> Result<(), StartError> {
        const PORT: u16 = 53;
        let config = &self.config;
        let address = SocketAddr::from((config.cluster_dns, PORT));
        let failed = |what: &str, error: &dyn std::fmt::Display| StartError::new("dns", format!("{what}: {error}"));
        let link = format!("{}-dns", config.link_prefix);
        node_link::ensure(&link, &[config.cluster_dns], &[])
            .map_err(|error| failed(&format!("link {link}"), &error))?;
        let listen = |error| failed(&format!("listen on {address}"), &error);
        let datagrams = UdpSocket::bind(address).await.map_err(listen)?;
        let streams = TcpListener::bind(address).await.map_err(listen)?;
        let zone =
            Zone::new(&config.cluster_domain, config.cluster_dns, &config.cluster_ranges, config.services.clone())
                .map_err(|error| failed("cluster domain", &error))?;
        let zone = Arc::new(zone);
        self.index = Some(tokio::spawn(follow(zone.clone(), config.services.clone())));
        let upstream = Upstream::new(config.resolv_conf.clone(), config.cluster_dns);
        let mut server = Server::new(Handler { zone, upstream, turn: AtomicUsize::new(0) });
        server.register_socket(datagrams);
        server.register_listener(streams, Duration::from_secs(10), 32);
        self.server = Some(server);
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some(index) = self.index.take() {
            index.abort();
        }
        if let Some(mut server) = self.server.take()
            && let Err(error) = server.shutdown_gracefully().await
        {
            tracing::debug!(%error, "stopping dns");
        }
    }
}

/// Keeps the reverse names in step.
async fn follow(zone: Arc<Zone>, services: Services) {
    let mut subscription = services.subscribe();
    loop {
        for key in subscription.changed().await {
            zone.index(key);
        }
    }
}

/// Answers requests.
struct Handler {
    zone: Arc<Zone>,
    upstream: Upstream,
    /// Rotates the order of addresses from answer to answer.
    turn: AtomicUsize,
}

/// A response before it is written.
#[derive(Default)]
struct Response {
    code: Option<ResponseCode>,
    authoritative: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

impl Response {
    fn code(code: ResponseCode) -> Self {
        Self { code: Some(code), ..Self::default() }
    }
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut to: R) -> ResponseInfo {
        let mut response = self.respond(request).await;
        self.rotate(&mut response.answers);
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = response.code.unwrap_or(ResponseCode::NoError);
        metadata.authoritative = response.authoritative;
        metadata.recursion_available = true;
        let mut builder = MessageResponseBuilder::from_message_request(request);
        let edns = request.edns.as_ref().map(|_| {
            let mut edns = Edns::new();
            edns.set_max_payload(1232).set_version(0);
            edns
        });
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let message =
            builder.build(metadata, &response.answers, &response.authorities, None::<&Record>, &response.additionals);
        match to.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "answering a DNS request");
                failure(metadata)
            }
        }
    }
}

/// What the server's own log sees of a response that could not be sent.
fn failure(mut metadata: Metadata) -> ResponseInfo {
    metadata.response_code = ResponseCode::ServFail;
    hickory_server::proto::op::Header { metadata, counts: Default::default() }.into()
}

impl Handler {
    async fn respond(&self, request: &Request) -> Response {
        if request.metadata.message_type != MessageType::Query || request.metadata.op_code != OpCode::Query {
            return Response::code(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else { return Response::code(ResponseCode::FormErr) };
        if !matches!(info.query.query_class(), DNSClass::IN | DNSClass::ANY) {
            return Response::code(ResponseCode::Refused);
        }
        let (name, kind) = (info.query.original().name(), info.query.query_type());
        let authoritative = |response: Response| Response { authoritative: true, ..response };
        let soa = || vec![self.zone.soa()];
        match self.zone.answer(name, kind) {
            Answer::Records { answers, additionals } => {
                authoritative(Response { answers, additionals, ..Response::default() })
            }
            Answer::NoData => authoritative(Response { authorities: soa(), ..Response::default() }),
            Answer::NxDomain => {
                authoritative(Response { authorities: soa(), ..Response::code(ResponseCode::NXDomain) })
            }
            Answer::Alias { record, target } => authoritative(self.chase(*record, target, kind).await),
            Answer::Elsewhere => self.forward(name, kind).await,
        }
    }

    /// The alias and where it leads, as far as that can be found out.
    async fn chase(&self, alias: Record, target: Name, kind: RecordType) -> Response {
        let mut answers = vec![alias];
        if kind != RecordType::CNAME {
            match self.zone.answer(&target, kind) {
                Answer::Records { answers: more, .. } => answers.extend(more),
                Answer::Elsewhere => answers.extend(self.forward(&target, kind).await.answers),
                // An alias of an alias of the cluster is not followed further: it could be a circle.
                Answer::Alias { record, .. } => answers.push(*record),
                Answer::NoData | Answer::NxDomain => {}
            }
        }
        Response { answers, ..Response::default() }
    }

    async fn forward(&self, name: &Name, kind: RecordType) -> Response {
        match self.upstream.lookup(name, kind).await {
            upstream::Found::Records { answers } => Response { answers, ..Response::default() },
            upstream::Found::None { code, soa } => {
                Response { authorities: soa.into_iter().map(|soa| *soa).collect(), ..Response::code(code) }
            }
            upstream::Found::Failed => Response::code(ResponseCode::ServFail),
        }
    }

    /// Another address comes first each time, for clients that take the first; aliases stay before what they lead to.
    fn rotate(&self, answers: &mut [Record]) {
        let is_address = |record: &Record| matches!(record.record_type(), RecordType::A | RecordType::AAAA);
        let first = answers.iter().position(is_address).unwrap_or(answers.len());
        let addresses = &mut answers[first..];
        if addresses.len() > 1 && addresses.iter().all(is_address) {
            addresses.rotate_left(self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len());
        }
    }
}

/// The lower-case labels of a name.
fn labels(name: &Name) -> Vec<String> {
    let lower: Name = LowerName::from(name).into();
    lower.iter().map(|label| String::from_utf8_lossy(label).into_owned()).collect()
}
