//! DNS messages between bytes and what the rest decides on: questions read, answers written within the size a client
//! takes. Pure. Never guesses: what cannot be read is answered with FORMERR, what is no question is not answered.

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Record, RecordType};

/// What we send and are willing to get in one datagram: what passes every link without fragments (DNS flag day 2020).
pub const PAYLOAD: u16 = 1232;
/// What every client takes in one datagram (RFC 1035).
const PLAIN_PAYLOAD: u16 = 512;
const HEADER: usize = 12;

/// A question as it was asked; its name keeps its case.
#[derive(Clone, Debug)]
pub struct Request {
    metadata: Metadata,
    pub query: Query,
    edns: Option<Edns>,
}

/// An answer before it is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    pub code: ResponseCode,
    pub authoritative: bool,
    /// The upstream server validated it.
    pub authentic: bool,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
}

impl Reply {
    pub fn code(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }
}

/// Reads a question. What is wrong with it comes back as the answer to give, if any is due.
pub fn read(bytes: &[u8]) -> Result<Request, Option<Vec<u8>>> {
    let header: &[u8; HEADER] = bytes.first_chunk().ok_or(None)?;
    // An answer to an answer could go on for ever.
    if header[2] & 0x80 != 0 {
        return Err(None);
    }
    let Ok(mut message) = Message::from_vec(bytes) else { return Err(Some(malformed(header))) };
    let metadata = message.metadata;
    let edns = message.edns.take();
    let query = message.queries.pop();
    let refuse = |query: Option<&Query>, code| {
        Err(Some(write(&metadata, query, edns.as_ref(), &Reply::code(code), PLAIN_PAYLOAD)))
    };
    if metadata.op_code != OpCode::Query {
        return refuse(None, ResponseCode::NotImp);
    }
    let Some(query) = query.filter(|_| message.queries.is_empty()) else { return refuse(None, ResponseCode::FormErr) };
    if edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return refuse(Some(&query), ResponseCode::BADVERS);
    }
    let transfer = matches!(query.query_type, RecordType::AXFR | RecordType::IXFR);
    if query.query_class != DNSClass::IN || transfer {
        return refuse(Some(&query), ResponseCode::Refused);
    }
    Ok(Request { metadata, query, edns })
}

/// FORMERR to something of which only the header can be read.
fn malformed(header: &[u8; HEADER]) -> Vec<u8> {
    const FORMERR: u8 = 1;
    let [first, second, flags, ..] = *header;
    // The operation and "recursion desired" come back as they were.
    let mut answer = vec![first, second, 0x80 | (flags & 0x79), FORMERR];
    answer.resize(HEADER, 0);
    answer
}

impl Request {
    pub fn wants_dnssec(&self) -> bool {
        self.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok)
    }

    pub fn checking_disabled(&self) -> bool {
        self.metadata.checking_disabled
    }

    /// The largest datagram that may answer it.
    pub fn datagram(&self) -> u16 {
        self.edns.as_ref().map_or(PLAIN_PAYLOAD, |edns| edns.max_payload().clamp(PLAIN_PAYLOAD, PAYLOAD))
    }

    /// The answer's bytes, at most `limit` of them: what does not fit is left out and that is said (TC), so that the
    /// client asks again over TCP. Additional records may go without a word.
    pub fn answer(&self, reply: &Reply, limit: u16) -> Vec<u8> {
        write(&self.metadata, Some(&self.query), self.edns.as_ref(), reply, limit)
    }
}

fn write(asked: &Metadata, query: Option<&Query>, edns: Option<&Edns>, reply: &Reply, limit: u16) -> Vec<u8> {
    let mut message = Message::new(asked.id, MessageType::Response, asked.op_code);
    message.metadata = Metadata::response_from_request(asked);
    message.metadata.response_code = reply.code;
    message.metadata.authoritative = reply.authoritative;
    message.metadata.authentic_data = reply.authentic;
    message.metadata.recursion_available = true;
    message.queries.extend(query.cloned());
    message.answers = reply.answers.clone();
    message.authorities = reply.authorities.clone();
    message.additionals = reply.additionals.clone();
    message.edns = edns.map(|asked| {
        let mut own = Edns::new();
        own.set_max_payload(PAYLOAD).set_version(0).set_dnssec_ok(asked.flags().dnssec_ok);
        own
    });
    fit(message, limit.into())
}

/// Leaves out what does not fit. What we could read or made ourselves can be written.
fn fit(mut message: Message, limit: usize) -> Vec<u8> {
    let whole = message.to_vec().unwrap_or_default();
    if whole.len() <= limit {
        return whole;
    }
    message.additionals.clear();
    let bytes = message.to_vec().unwrap_or_default();
    if bytes.len() <= limit {
        return bytes;
    }
    message.metadata.truncation = true;
    message.authorities.clear();
    let mut answers = std::mem::take(&mut message.answers);
    let mut best = message.to_vec().unwrap_or_default();
    // Some clients are content with a part: the most that fits lies between so many and so many records.
    let (mut fits, mut too_many) = (0, answers.len() + 1);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        message.answers = answers[..middle].to_vec();
        let bytes = message.to_vec().unwrap_or_default();
        if bytes.len() <= limit {
            (fits, best) = (middle, bytes);
        } else {
            too_many = middle;
            answers.truncate(middle);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData};
    use std::net::Ipv4Addr;

    fn question(change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata.id = 7;
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii("WeB.n.svc.cluster.local.").unwrap(), RecordType::A));
        change(&mut message);
        message.to_vec().unwrap()
    }

    fn with_edns(payload: u16, version: u8) -> impl FnOnce(&mut Message) {
        move |message| {
            let mut edns = Edns::new();
            edns.set_max_payload(payload).set_version(version).set_dnssec_ok(true);
            message.set_edns(edns);
        }
    }

    fn many(count: u8) -> Reply {
        let name = Name::from_ascii("web.n.svc.cluster.local.").unwrap();
        let record = |last| Record::from_rdata(name.clone(), 30, RData::A(A(Ipv4Addr::new(10, 42, 0, last))));
        Reply { answers: (0..count).map(record).collect(), additionals: vec![record(0)], ..Reply::default() }
    }

    #[test]
    fn what_is_no_question_gets_the_answer_it_deserves() {
        let code = |bytes: &[u8]| {
            let answer = read(bytes).unwrap_err()?;
            let message = Message::from_vec(&answer).unwrap();
            assert_eq!((message.metadata.id, message.metadata.message_type), (7, MessageType::Response));
            assert!(message.metadata.recursion_desired);
            Some(message.metadata.response_code)
        };
        assert_eq!(code(&[]), None);
        assert_eq!(code(&question(|_| ())[..11]), None, "not even a header");
        assert_eq!(code(&question(|it| it.metadata.message_type = MessageType::Response)), None, "an answer");
        assert_eq!(code(&question(|_| ())[..20]), Some(ResponseCode::FormErr), "cut short");
        assert_eq!(code(&question(|it| it.queries.clear())), Some(ResponseCode::FormErr));
        assert_eq!(code(&question(|it| it.queries.push(Query::new()))), Some(ResponseCode::FormErr));
        assert_eq!(code(&question(|it| it.metadata.op_code = OpCode::Notify)), Some(ResponseCode::NotImp));
        assert_eq!(code(&question(|it| it.metadata.op_code = OpCode::Update)), Some(ResponseCode::NotImp));
        for class in [DNSClass::CH, DNSClass::HS, DNSClass::ANY, DNSClass::NONE, DNSClass::Unknown(77)] {
            let bytes = question(|it| it.queries[0].query_class = class);
            assert_eq!(code(&bytes), Some(ResponseCode::Refused), "{class}");
        }
        for kind in [RecordType::AXFR, RecordType::IXFR] {
            let bytes = question(|it| it.queries[0].query_type = kind);
            assert_eq!(code(&bytes), Some(ResponseCode::Refused), "{kind}");
        }
        // The number has two names.
        assert_eq!(code(&question(with_edns(1232, 1))).map(u16::from), Some(u16::from(ResponseCode::BADVERS)));
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        let good = question(with_edns(4096, 0));
        for at in 0..good.len() {
            for value in [0, 1, 0x3f, 0xc0, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                // Both outcomes are fine.
                let _ = read(&bytes);
                let _ = read(&bytes[..at]);
            }
        }
    }

    #[test]
    fn the_answer_repeats_the_question_to_the_letter() {
        let request = read(&question(|_| ())).unwrap();
        let answer = Message::from_vec(&request.answer(&many(1), 512)).unwrap();
        assert_eq!(answer.queries[0].name.to_ascii(), "WeB.n.svc.cluster.local.");
        assert!(answer.edns.is_none() && answer.metadata.recursion_available && !answer.metadata.authoritative);
        let request = read(&question(with_edns(4096, 0))).unwrap();
        let answer = Message::from_vec(&request.answer(&Reply::code(ResponseCode::NXDomain), 512)).unwrap();
        let edns = answer.edns.unwrap();
        assert_eq!((edns.max_payload(), edns.version(), edns.flags().dnssec_ok), (PAYLOAD, 0, true));
    }

    #[test]
    fn a_client_gets_no_more_than_it_takes() {
        assert_eq!(read(&question(|_| ())).unwrap().datagram(), 512);
        for (offered, taken) in [(0, 512), (100, 512), (1000, 1000), (1232, 1232), (65_535, 1232)] {
            assert_eq!(read(&question(with_edns(offered, 0))).unwrap().datagram(), taken);
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_that_is_said() {
        let request = read(&question(with_edns(1232, 0))).unwrap();
        for limit in [512_u16, 1232] {
            let bytes = request.answer(&many(200), limit);
            let answer = Message::from_vec(&bytes).unwrap();
            assert!(answer.metadata.truncation && answer.edns.is_some());
            // No record is left out that would have fitted by far.
            assert!(bytes.len() <= limit.into() && bytes.len() > usize::from(limit) * 8 / 10, "{}", bytes.len());
        }
        let whole = Message::from_vec(&request.answer(&many(200), u16::MAX)).unwrap();
        assert_eq!((whole.answers.len(), whole.additionals.len(), whole.metadata.truncation), (200, 1, false));
        let just = request.answer(&Reply { additionals: Vec::new(), ..many(20) }, u16::MAX).len();
        let answer = Message::from_vec(&request.answer(&many(20), u16::try_from(just).unwrap())).unwrap();
        assert_eq!((answer.answers.len(), answer.additionals.len(), answer.metadata.truncation), (20, 0, false));
    }
}
