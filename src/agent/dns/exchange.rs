//! One question to one server: over UDP from a fresh port with a fresh number, over TCP when the answer did not fit.
//! Answers to something else, or from somebody else, are not seen. Knows nothing of other servers or caches.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::Name;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::cache::Question;
use super::message::PAYLOAD;

/// For one attempt, over both protocols.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no answer in time")]
    Silent,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the question cannot be written: {0}")]
    Question(#[from] hickory_proto::ProtoError),
    #[error("an answer that is none")]
    Nonsense,
}

pub async fn ask(server: SocketAddr, question: &Question) -> Result<Message, Error> {
    tokio::time::timeout(PATIENCE, attempt(server, question)).await.map_err(|_| Error::Silent)?
}

async fn attempt(server: SocketAddr, question: &Question) -> Result<Message, Error> {
    let mut asked = message(question);
    let answer = over_udp(server, &asked).await?;
    // A server from before EDNS; it is asked in its own words.
    let answer = match answer.metadata.response_code {
        ResponseCode::FormErr | ResponseCode::NotImp if answer.edns.is_none() => {
            asked.edns = None;
            over_udp(server, &asked).await?
        }
        _ => answer,
    };
    if answer.metadata.truncation { over_tcp(server, &asked).await } else { Ok(answer) }
}

fn message(question: &Question) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = question.unchecked;
    message.add_query(Query::query(Name::from(&question.name), question.kind));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD).set_version(0).set_dnssec_ok(question.dnssec);
    message.set_edns(edns);
    message
}

/// Connected, so that the kernel lets only this server's datagrams in and tells at once when nobody listens there.
async fn over_udp(server: SocketAddr, asked: &Message) -> Result<Message, Error> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(&asked.to_vec()?).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = answer_to(asked, &buffer[..length]) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, asked: &Message) -> Result<Message, Error> {
    let mut stream = TcpStream::connect(server).await?;
    let bytes = asked.to_vec()?;
    let length = u16::try_from(bytes.len()).map_err(|_| Error::Nonsense)?;
    stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
    let mut buffer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut buffer).await?;
    answer_to(asked, &buffer).ok_or(Error::Nonsense)
}

/// The answer in these bytes, if they hold one to what was asked.
fn answer_to(asked: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let same = |answer: &Query| {
        let asked = &asked.queries[0];
        answer.name.eq_ignore_root(&asked.name)
            && (answer.query_type, answer.query_class) == (asked.query_type, asked.query_class)
    };
    // Some servers leave the question out when they refuse it.
    let about_it = match &answer.queries[..] {
        [query] => same(query),
        [] => answer.metadata.response_code != ResponseCode::NoError,
        _ => false,
    };
    let ours = answer.metadata.id == asked.metadata.id && answer.metadata.message_type == MessageType::Response;
    (ours && about_it).then_some(answer)
}
