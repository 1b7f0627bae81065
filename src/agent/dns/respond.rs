//! Who answers a question: names given by hand, then the cluster's zone, then a stub domain's servers, then the world's.
//! What needs nobody else is answered at once; only the rest waits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::HINFO;
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use parking_lot::{Mutex, RwLock};

use super::cache::Question;
use super::exchange;
use super::forward::Forwarder;
use super::hosts::Hosts;
use super::message::{Reply, Request};
use super::metrics::Metrics;
use super::pool::Pool;
use super::zone::{Answer, Zone};

/// Aliases followed within the cluster: as many as CoreDNS follows.
const ALIASES: usize = 8;

/// Where names that are not the cluster's lead.
pub struct Routes {
    pub hosts: Hosts,
    /// The longest domain first.
    pub stubs: Vec<Route>,
    pub world: Route,
}

#[derive(Clone)]
pub struct Route {
    pub domain: LowerName,
    /// The domain, as metrics call it.
    pub label: Arc<str>,
    pub pool: Arc<Pool>,
}

impl Route {
    pub fn new(domain: LowerName, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        let label = domain.to_string().into();
        Self { domain, label, pool: Arc::new(Pool::new(servers)) }
    }
}

impl Routes {
    fn of(&self, name: &LowerName) -> &Route {
        self.stubs.iter().find(|route| route.domain.zone_of(name)).unwrap_or(&self.world)
    }
}

pub struct Responder {
    zone: Arc<Zone>,
    zone_label: Arc<str>,
    forwarder: Forwarder,
    routes: RwLock<Arc<Routes>>,
    /// Names that nobody but us asks for, and whom we asked: who asks us for one sends our questions back.
    probes: Mutex<Vec<(LowerName, Arc<Pool>, SocketAddr)>>,
    /// Rotates the order of addresses from answer to answer.
    turn: AtomicUsize,
    pub metrics: Arc<Metrics>,
}

/// An answer and the zone that it is counted for.
pub type Zoned = (Reply, Arc<str>);

impl Responder {
    pub fn new(zone: Arc<Zone>, metrics: Arc<Metrics>, routes: Routes) -> Self {
        Self {
            zone_label: zone.domain().to_string().into(),
            zone,
            forwarder: Forwarder::new(metrics.clone()),
            routes: RwLock::new(Arc::new(routes)),
            probes: Mutex::default(),
            turn: AtomicUsize::default(),
            metrics,
        }
    }

    /// From now on questions go other ways. `forget` also what was heard on the old ones.
    pub fn reroute(&self, routes: Routes, forget: bool) {
        *self.routes.write() = Arc::new(routes);
        self.metrics.servers_changed();
        if forget {
            self.forwarder.forget();
        }
    }

    pub fn routes(&self) -> Arc<Routes> {
        self.routes.read().clone()
    }

    /// The answer, if it needs nobody else.
    pub fn at_once(&self, request: &Request) -> Option<Zoned> {
        let (name, kind) = (&request.query.name, request.query.query_type);
        let here = |reply| Some((reply, self.zone_label.clone()));
        if kind == RecordType::ANY {
            return here(minimal(name));
        }
        if kind == RecordType::HINFO && self.is_probe(name) {
            return here(Reply::code(ResponseCode::Refused));
        }
        if let Some(reply) = self.routes().hosts.answer(name, kind) {
            return here(reply);
        }
        match self.zone.answer(name, kind) {
            Answer::Here(reply) => here(self.rotated(reply)),
            Answer::Alias { .. } | Answer::Elsewhere => None,
        }
    }

    /// The answer of somebody else, or one that an alias leads to.
    pub async fn later(&self, request: &Request) -> Zoned {
        let (name, kind) = (&request.query.name, request.query.query_type);
        let (mut reply, label) = match self.zone.answer(name, kind) {
            Answer::Here(reply) => (reply, self.zone_label.clone()),
            Answer::Alias { record, target } => (self.chase(request, *record, target).await, self.zone_label.clone()),
            Answer::Elsewhere => self.forward(request, name).await,
        };
        // Whoever asked recognizes his question by its letters' case, too.
        for record in reply.answers.iter_mut().filter(|record| record.name.eq_ignore_root(name)) {
            record.name = name.clone();
        }
        (self.rotated(reply), label)
    }

    async fn forward(&self, request: &Request, name: &Name) -> Zoned {
        let routes = self.routes();
        let mut name = name.clone();
        name.set_fqdn(true);
        let question = Question {
            name: LowerName::new(&name),
            kind: request.query.query_type,
            dnssec: request.wants_dnssec(),
            unchecked: request.checking_disabled(),
        };
        let route = routes.of(&question.name);
        (self.forwarder.answer(&route.pool, question).await, route.label.clone())
    }

    /// The alias and where it leads. What is said of the last name is said of the first (RFC 2308).
    async fn chase(&self, request: &Request, alias: Record, target: Name) -> Reply {
        let kind = request.query.query_type;
        let mut answers = vec![alias];
        if kind == RecordType::CNAME {
            return Reply { authoritative: true, answers, ..Reply::default() };
        }
        let mut target = target;
        while answers.len() < ALIASES {
            let found = match self.routes().hosts.answer(&target, kind) {
                Some(reply) => Answer::Here(reply),
                None => self.zone.answer(&target, kind),
            };
            let last = match found {
                Answer::Alias { record, target: next } => {
                    answers.push(*record);
                    target = next;
                    continue;
                }
                Answer::Here(reply) => reply,
                Answer::Elsewhere => self.forward(request, &target).await.0,
            };
            if last.code == ResponseCode::ServFail || last.code == ResponseCode::Refused {
                return Reply::code(ResponseCode::ServFail);
            }
            answers.extend(last.answers);
            return Reply { authoritative: true, authentic: false, answers, ..last };
        }
        Reply::code(ResponseCode::ServFail)
    }

    /// Another address comes first each time, for clients that take the first; aliases stay before what they lead to.
    fn rotated(&self, mut reply: Reply) -> Reply {
        let is_address = |record: &Record| matches!(record.record_type(), RecordType::A | RecordType::AAAA);
        let first = reply.answers.iter().position(is_address).unwrap_or(reply.answers.len());
        let addresses = &mut reply.answers[first..];
        if addresses.len() > 1 && addresses.iter().all(is_address) {
            addresses.rotate_left(self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len());
        }
        reply
    }

    /// Asks each server for a name that nobody else asks for. If the question comes back to us, through however many
    /// hands, that server is not asked again.
    pub async fn probe(&self) {
        let routes = self.routes();
        let all = routes.stubs.iter().chain([&routes.world]);
        let servers = all.flat_map(|route| route.pool.addresses().map(move |address| (route, address)));
        let probes =
            servers.filter_map(|(route, address)| Some((probe_name(&route.domain)?, route.pool.clone(), address)));
        let probes: Vec<_> = probes.collect();
        self.probes.lock().extend(probes.iter().cloned());
        let asked = probes.iter().map(|(name, _, address)| {
            let question = Question { name: name.clone(), kind: RecordType::HINFO, dnssec: false, unchecked: false };
            let address = *address;
            // Whether and what it answers does not matter.
            async move { drop(exchange::ask(address, &question).await) }
        });
        futures::future::join_all(asked).await;
        self.probes.lock().retain(|(name, ..)| !probes.iter().any(|(asked, ..)| asked == name));
    }

    fn is_probe(&self, name: &Name) -> bool {
        let name = LowerName::new(name);
        let probes = self.probes.lock();
        let Some((_, pool, server)) = probes.iter().find(|(probe, ..)| *probe == name) else { return false };
        tracing::warn!(%server, "this upstream DNS server sends questions back to us; it is not asked any more");
        pool.exclude(*server);
        true
    }
}

fn probe_name(domain: &LowerName) -> Option<LowerName> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).ok()?;
    let (one, two) = random.split_at(8);
    let label = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let name = Name::from_labels([label(one).as_bytes(), label(two).as_bytes()]).ok()?;
    Some(LowerName::new(&name.append_domain(&Name::from(domain)).ok()?))
}

/// What RFC 8482 advises to answer to who wants everything.
fn minimal(name: &Name) -> Reply {
    let data = RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()));
    Reply { answers: vec![Record::from_rdata(name.clone(), 8482, data)], ..Reply::default() }
}
