//! What upstream servers answered, until it is too old: bounded in entries and bytes, kept as the bytes of messages
//! because those are small. Answers whose time is over are kept a while longer, for when nobody can be asked
//! (RFC 8767). Pure but for its lock; the time is given.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{LowerName, RData, Record, RecordType};
use parking_lot::Mutex;

use super::message::Reply;

/// Nothing is believed for longer, whatever its owner says; as CoreDNS.
const POSITIVE: Duration = Duration::from_secs(3600);
const NEGATIVE: Duration = Duration::from_secs(1800);
/// For how long an answer may serve after its time.
const STALE: Duration = Duration::from_secs(3600);
/// What a client may remember of such an answer, as RFC 8767 recommends.
const STALE_TTL: u32 = 30;

/// In each of the two halves.
const ENTRIES: usize = 4096;
const BYTES: usize = 1 << 20;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    pub name: LowerName,
    pub kind: RecordType,
    /// The client wants DNSSEC's records.
    pub dnssec: bool,
    /// The client validates by itself.
    pub unchecked: bool,
}

/// What is remembered.
#[derive(Debug, PartialEq)]
pub enum Hit {
    Fresh(Reply),
    Stale(Reply),
}

struct Entry {
    stored: Instant,
    lives: Duration,
    bytes: Box<[u8]>,
}

/// Two halves: what is used moves to the young one; when that is full it becomes the old one, and what lay in the old
/// one unused is forgotten.
#[derive(Default)]
pub struct Cache(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    young: HashMap<Question, Entry>,
    old: HashMap<Question, Entry>,
    young_bytes: usize,
}

impl Cache {
    pub fn get(&self, question: &Question, now: Instant) -> Option<Hit> {
        let mut halves = self.0.lock();
        if let Some(entry) = halves.old.remove(question) {
            halves.insert(question.clone(), entry);
        }
        let entry = halves.young.get(question)?;
        let age = now.saturating_duration_since(entry.stored);
        if age >= entry.lives + STALE {
            return None;
        }
        let stale = age >= entry.lives;
        let mut reply = decode(&entry.bytes)?;
        drop(halves);
        let seconds = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        for record in reply.answers.iter_mut().chain(&mut reply.authorities).chain(&mut reply.additionals) {
            record.ttl = if stale { STALE_TTL } else { record.ttl.saturating_sub(seconds) };
        }
        Some(if stale { Hit::Stale(reply) } else { Hit::Fresh(reply) })
    }

    /// Remembers an answer, if it is one to remember.
    pub fn put(&self, question: Question, reply: &Reply, now: Instant) {
        let Some(lives) = lifetime(reply) else { return };
        let Some(bytes) = encode(reply) else { return };
        let mut halves = self.0.lock();
        halves.old.remove(&question);
        halves.insert(question, Entry { stored: now, lives, bytes });
    }

    pub fn clear(&self) {
        *self.0.lock() = Halves::default();
    }

    pub fn len(&self) -> usize {
        let halves = self.0.lock();
        halves.young.len() + halves.old.len()
    }
}

impl Halves {
    fn insert(&mut self, question: Question, entry: Entry) {
        self.young_bytes += entry.bytes.len();
        if let Some(before) = self.young.insert(question, entry) {
            self.young_bytes -= before.bytes.len();
        }
        if self.young.len() >= ENTRIES || self.young_bytes >= BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

/// How long an answer holds: as long as its shortest-lived record; that there is nothing, as long as the zone's SOA
/// says (RFC 2308). Without either, and of failures, nothing is remembered.
fn lifetime(reply: &Reply) -> Option<Duration> {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let negative = || {
        let soa = reply.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(seconds(record.ttl.min(soa.minimum))),
            _ => None,
        });
        soa.map(|lives| lives.min(NEGATIVE))
    };
    let shortest = reply.answers.iter().map(|record| seconds(record.ttl)).min();
    let lives = match (reply.code, shortest) {
        (ResponseCode::NoError, Some(shortest)) => Some(shortest.min(POSITIVE)),
        (ResponseCode::NoError, None) | (ResponseCode::NXDomain, _) => negative(),
        _ => None,
    };
    lives.filter(|lives| !lives.is_zero())
}

fn encode(reply: &Reply) -> Option<Box<[u8]>> {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    message.metadata.response_code = reply.code;
    message.metadata.authentic_data = reply.authentic;
    message.answers = reply.answers.clone();
    message.authorities = reply.authorities.clone();
    message.additionals = reply.additionals.clone();
    Some(message.to_vec().ok()?.into())
}

fn decode(bytes: &[u8]) -> Option<Reply> {
    Message::from_vec(bytes).ok().map(of_message)
}

/// An upstream server's message as an answer of ours.
pub fn of_message(message: Message) -> Reply {
    Reply {
        code: message.metadata.response_code,
        authoritative: false,
        authentic: message.metadata.authentic_data,
        answers: message.answers,
        authorities: message.authorities,
        additionals: without_options(message.additionals),
    }
}

fn without_options(records: Vec<Record>) -> Vec<Record> {
    records.into_iter().filter(|record| record.record_type() != RecordType::OPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::Name;
    use hickory_proto::rr::rdata::{A, SOA};

    fn question(name: &str) -> Question {
        let name = LowerName::new(&Name::from_ascii(name).unwrap());
        Question { name, kind: RecordType::A, dnssec: false, unchecked: false }
    }

    fn address(ttl: u32) -> Record {
        Record::from_rdata(Name::from_ascii("a.example.").unwrap(), ttl, RData::A(A([192, 0, 2, 1].into())))
    }

    fn soa(ttl: u32, minimum: u32) -> Record {
        let name = Name::from_ascii("example.").unwrap();
        Record::from_rdata(name.clone(), ttl, RData::SOA(SOA::new(name.clone(), name, 1, 1, 1, 1, minimum)))
    }

    fn reply(code: ResponseCode, answers: Vec<Record>, authorities: Vec<Record>) -> Reply {
        Reply { code, answers, authorities, ..Reply::default() }
    }

    #[test]
    fn an_answer_is_remembered_for_as_long_as_it_says() {
        use ResponseCode::{NXDomain, NoError, Refused, ServFail};
        let cases = [
            (reply(NoError, vec![address(60), address(20)], vec![soa(5, 5)]), Some(20)),
            (reply(NoError, vec![address(1_000_000)], vec![]), Some(3600)),
            (reply(NoError, vec![address(0)], vec![]), None),
            (reply(NoError, vec![], vec![soa(300, 60)]), Some(60)),
            (reply(NXDomain, vec![], vec![soa(30, 60)]), Some(30)),
            (reply(NXDomain, vec![], vec![soa(90_000, 90_000)]), Some(1800)),
            (reply(NXDomain, vec![], vec![]), None),
            (reply(NoError, vec![], vec![address(60)]), None),
            (reply(ServFail, vec![address(60)], vec![soa(60, 60)]), None),
            (reply(Refused, vec![], vec![soa(60, 60)]), None),
        ];
        for (reply, wanted) in cases {
            assert_eq!(lifetime(&reply).map(|lives| lives.as_secs()), wanted, "{reply:?}");
        }
    }

    #[test]
    fn answers_age_grow_stale_and_go() {
        let cache = Cache::default();
        let now = Instant::now();
        let fresh = reply(ResponseCode::NoError, vec![address(60)], vec![]);
        cache.put(question("a.example."), &fresh, now);
        let at = |seconds| match cache.get(&question("A.Example."), now + Duration::from_secs(seconds)) {
            Some(Hit::Fresh(reply)) => ("fresh", reply.answers[0].ttl),
            Some(Hit::Stale(reply)) => ("stale", reply.answers[0].ttl),
            None => ("gone", 0),
        };
        assert_eq!((at(0), at(59)), (("fresh", 60), ("fresh", 1)));
        assert_eq!((at(60), at(3659)), (("stale", 30), ("stale", 30)));
        assert_eq!(at(3660), ("gone", 0));
        let other = Question { dnssec: true, ..question("a.example.") };
        assert_eq!(cache.get(&other, now), None, "DNSSEC's records are another answer");
    }

    #[test]
    fn it_stays_within_its_bounds_and_keeps_what_is_used() {
        let cache = Cache::default();
        let now = Instant::now();
        let answer = reply(ResponseCode::NoError, vec![address(60)], vec![]);
        let used = question("used.example.");
        cache.put(used.clone(), &answer, now);
        for number in 0..20_000 {
            cache.put(question(&format!("n{number}.example.")), &answer, now);
            if number % 1000 == 0 {
                assert!(cache.get(&used, now).is_some(), "after {number} others");
            }
        }
        assert!(cache.len() <= 2 * ENTRIES, "{}", cache.len());
        assert!(cache.get(&question("n0.example."), now).is_none(), "unused for long");
        let big = Reply { answers: vec![address(60); 2000], ..answer };
        for number in 0..200 {
            cache.put(question(&format!("big{number}.example.")), &big, now);
        }
        let halves = cache.0.lock();
        let bytes: usize = halves.young.values().chain(halves.old.values()).map(|entry| entry.bytes.len()).sum();
        assert!(bytes <= 2 * BYTES + 65_536, "{bytes}");
    }
}
