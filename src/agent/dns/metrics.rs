//! What DNS counts, under CoreDNS' names, so that its dashboards and alerts work; shown on the kubelet's `/metrics`.
//! Labels come from short fixed lists and from the configuration, never from what a client asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::api::exposition;

const SERVER: &str = "dns://:53";
/// Seconds; CoreDNS' own.
const BUCKETS: [f64; 16] =
    [0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192];

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// What the cache said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cached {
    Hit,
    Miss,
    Stale,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    server: &'static str,
    zone: Arc<str>,
    proto: &'static str,
    family: &'static str,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    server: &'static str,
    zone: Arc<str>,
    rcode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Took {
    server: &'static str,
    zone: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct To {
    to: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Replied {
    to: Arc<str>,
    rcode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Server {
    server: &'static str,
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// The counters and the registry that shows them.
pub struct Metrics {
    registry: Registry,
    requests: Family<Asked, Counter>,
    responses: Family<Answered, Counter>,
    durations: Durations<Took>,
    entries: Gauge,
    /// Hits, misses, answers served although their time was over.
    cached: [Counter; 3],
    forwards: Family<To, Counter>,
    forward_replies: Family<Replied, Counter>,
    forward_durations: Durations<To>,
    rejected: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let server = Server { server: SERVER };
        let (entries, family) = (Family::<Server, Gauge>::default(), Family::<Server, Counter>::default);
        let cached = [family(), family(), family()];
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            responses: Family::default(),
            durations: Family::new_with_constructor(histogram),
            entries: entries.get_or_create_owned(&server),
            cached: cached.each_ref().map(|family| family.get_or_create_owned(&server)),
            forwards: Family::default(),
            forward_replies: Family::default(),
            forward_durations: Family::new_with_constructor(histogram),
            rejected: Counter::default(),
        };
        let [hits, misses, stale] = cached;
        let registry = &mut metrics.registry;
        registry.register("coredns_dns_requests", "Questions, by zone and type", metrics.requests.clone());
        registry.register("coredns_dns_responses", "Answers, by zone and code", metrics.responses.clone());
        let help = "How long answers took, in seconds";
        registry.register("coredns_dns_request_duration_seconds", help, metrics.durations.clone());
        registry.register("coredns_cache_entries", "Remembered answers", entries);
        registry.register("coredns_cache_hits", "Answers that were remembered", hits);
        registry.register("coredns_cache_misses", "Answers that were not remembered", misses);
        registry.register("coredns_cache_served_stale", "Answers given after their time", stale);
        registry.register(
            "coredns_forward_requests",
            "Questions asked of each upstream server",
            metrics.forwards.clone(),
        );
        let help = "Answers of each upstream server, by code";
        registry.register("coredns_forward_responses", help, metrics.forward_replies.clone());
        let help = "How long each upstream server took, in seconds";
        registry.register("coredns_forward_request_duration_seconds", help, metrics.forward_durations.clone());
        let help = "Questions refused because too many were on their way";
        registry.register("coredns_forward_max_concurrent_rejects", help, metrics.rejected.clone());
        metrics
    }
}

impl Metrics {
    /// A question was answered.
    pub fn answered(
        &self,
        zone: &Arc<str>,
        (transport, peer): (Transport, SocketAddr),
        kind: RecordType,
        code: ResponseCode,
        begun: Instant,
    ) {
        let asked = Asked {
            server: SERVER,
            zone: zone.clone(),
            proto: if transport == Transport::Udp { "udp" } else { "tcp" },
            family: if peer.is_ipv4() { "1" } else { "2" },
            r#type: type_label(kind),
        };
        self.requests.get_or_create(&asked).inc();
        self.responses.get_or_create(&Answered { server: SERVER, zone: zone.clone(), rcode: code_label(code) }).inc();
        let took = begun.elapsed().as_secs_f64();
        self.durations.get_or_create(&Took { server: SERVER, zone: zone.clone() }).observe(took);
    }

    /// The cache was asked, and holds so many answers.
    pub fn cached(&self, outcome: Cached, entries: usize) {
        self.cached[outcome as usize].inc();
        self.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// An upstream server was asked; `None` if it did not answer.
    pub fn forwarded(&self, server: SocketAddr, begun: Instant, answer: Option<&Message>) {
        let to: Arc<str> = server.to_string().into();
        let labels = To { to: to.clone() };
        self.forwards.get_or_create(&labels).inc();
        let Some(answer) = answer else { return };
        let rcode = code_label(answer.metadata.response_code);
        self.forward_replies.get_or_create(&Replied { to, rcode }).inc();
        self.forward_durations.get_or_create(&labels).observe(begun.elapsed().as_secs_f64());
    }

    /// Other servers are asked from now on; nothing is counted for those that were.
    pub fn servers_changed(&self) {
        self.forwards.clear();
        self.forward_replies.clear();
        self.forward_durations.clear();
    }

    pub fn rejected(&self) {
        self.rejected.inc();
    }

    /// In Prometheus' text format.
    pub fn render(&self) -> String {
        let mut open = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut open, &self.registry);
        exposition::plain(&open)
    }
}

/// Those that CoreDNS tells apart.
fn type_label(kind: RecordType) -> &'static str {
    match kind {
        RecordType::A => "A",
        RecordType::AAAA => "AAAA",
        RecordType::CNAME => "CNAME",
        RecordType::DNSKEY => "DNSKEY",
        RecordType::DS => "DS",
        RecordType::HTTPS => "HTTPS",
        RecordType::MX => "MX",
        RecordType::NS => "NS",
        RecordType::NSEC => "NSEC",
        RecordType::NSEC3 => "NSEC3",
        RecordType::PTR => "PTR",
        RecordType::RRSIG => "RRSIG",
        RecordType::SOA => "SOA",
        RecordType::SRV => "SRV",
        RecordType::TXT => "TXT",
        RecordType::ANY => "ANY",
        _ => "other",
    }
}

fn code_label(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_coredns() {
        let metrics = Metrics::default();
        let (zone, peer) = ("cluster.local.".into(), ([10, 42, 0, 2], 5000).into());
        let from = (Transport::Udp, peer);
        metrics.answered(&zone, from, RecordType::A, ResponseCode::NoError, Instant::now());
        metrics.answered(&zone, from, RecordType::Unknown(999), ResponseCode::NXDomain, Instant::now());
        metrics.cached(Cached::Hit, 3);
        metrics.forwarded(([192, 0, 2, 53], 53).into(), Instant::now(), None);
        let text = metrics.render();
        for line in [
            "# TYPE coredns_dns_requests_total counter",
            r#"coredns_dns_requests_total{server="dns://:53",zone="cluster.local.",proto="udp",family="1",type="A"} 1"#,
            r#"coredns_dns_requests_total{server="dns://:53",zone="cluster.local.",proto="udp",family="1",type="other"} 1"#,
            r#"coredns_dns_responses_total{server="dns://:53",zone="cluster.local.",rcode="NXDOMAIN"} 1"#,
            r#"coredns_dns_request_duration_seconds_count{server="dns://:53",zone="cluster.local."} 2"#,
            r#"coredns_cache_entries{server="dns://:53"} 3"#,
            r#"coredns_cache_hits_total{server="dns://:53"} 1"#,
            r#"coredns_cache_misses_total{server="dns://:53"} 0"#,
            r#"coredns_forward_requests_total{to="192.0.2.53:53"} 1"#,
            "coredns_forward_max_concurrent_rejects_total 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
        metrics.servers_changed();
        assert!(!metrics.render().contains("192.0.2.53"));
    }
}
