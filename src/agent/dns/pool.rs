//! The servers that answer for a part of the names, in the order in which they are to be asked: as configured, but those
//! that failed lately come last. Nobody is asked for the sake of his health; a server is well again when it answers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hickory_proto::op::{Message, ResponseCode};
use parking_lot::Mutex;

use super::cache::Question;
use super::exchange;
use super::metrics::Metrics;

/// When the next server is asked too, although the one before may still answer.
const IMPATIENCE: Duration = Duration::from_millis(700);
/// A stub resolver gives up after five seconds.
const DEADLINE: Duration = Duration::from_millis(4500);
/// How often each server is asked: a datagram may get lost.
const ROUNDS: usize = 2;
/// For how long a server that failed comes last, doubled with each failure.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

pub struct Pool {
    servers: Vec<Server>,
}

struct Server {
    address: SocketAddr,
    health: Mutex<Health>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Health {
    failures: u32,
    rests_until: Option<Instant>,
    /// Its answers come from us: it must not be asked.
    looping: bool,
}

impl Health {
    fn rests(self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }

    fn failed(self, now: Instant) -> Self {
        let rest = FIRST_REST.saturating_mul(1 << self.failures.min(8)).min(LONGEST_REST);
        Self { failures: self.failures + 1, rests_until: Some(now + rest), ..self }
    }

    fn answered(self) -> Self {
        Self { looping: self.looping, ..Self::default() }
    }
}

/// Whom to ask, in order. Those who rest come last, the one first whose rest ends first.
fn order(healths: &[Health], now: Instant) -> Vec<usize> {
    let mut order: Vec<_> = (0..healths.len()).filter(|index| !healths[*index].looping).collect();
    order.sort_by_key(|index| healths[*index].rests_until.filter(|until| *until > now));
    order
}

impl Pool {
    pub fn new(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        let server = |address| Server { address, health: Mutex::default() };
        Self { servers: servers.into_iter().map(server).collect() }
    }

    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.servers.iter().map(|server| server.address)
    }

    /// Whether nobody is there who answered when last asked.
    pub fn is_down(&self) -> bool {
        let now = Instant::now();
        self.healths().into_iter().all(|health| health.looping || health.rests(now))
    }

    /// This server sends questions back to us.
    pub fn exclude(&self, address: SocketAddr) {
        for server in self.servers.iter().filter(|server| server.address == address) {
            server.health.lock().looping = true;
        }
    }

    fn healths(&self) -> Vec<Health> {
        self.servers.iter().map(|server| *server.health.lock()).collect()
    }

    fn note(&self, index: usize, change: impl FnOnce(Health) -> Health) {
        let mut health = self.servers[index].health.lock();
        *health = change(*health);
    }

    /// The first good answer. Failing that, the last bad one; failing that, nothing.
    pub async fn ask(&self, question: &Question, metrics: &Metrics) -> Option<Message> {
        let order = order(&self.healths(), Instant::now());
        let mut waiting: VecDeque<usize> = std::iter::repeat_n(order, ROUNDS).flatten().collect();
        let mut running = FuturesUnordered::new();
        // Those who were asked, and whether they take long.
        let mut asked: Vec<(usize, bool)> = Vec::new();
        let mut bad = None;
        let deadline = tokio::time::sleep(DEADLINE);
        tokio::pin!(deadline);
        let mut more = true;
        loop {
            if more && let Some(index) = waiting.pop_front() {
                asked.push((index, false));
                running.push(self.attempt(index, question, metrics));
            }
            // Without anybody left to hear from there is nothing to wait for.
            if running.is_empty() {
                return bad;
            }
            more = tokio::select! {
                Some((index, outcome)) = running.next() => {
                    asked.retain(|(other, _)| *other != index);
                    match outcome {
                        Ok(message) if is_good(&message) => {
                            self.note(index, Health::answered);
                            asked.iter().filter(|(_, late)| *late).for_each(|(other, _)| self.note(*other, failed));
                            return Some(message);
                        }
                        outcome => {
                            tracing::debug!(server = %self.servers[index].address, ?outcome, "an upstream server failed");
                            self.note(index, failed);
                            bad = outcome.ok().or(bad);
                            true
                        }
                    }
                }
                () = tokio::time::sleep(IMPATIENCE), if !waiting.is_empty() => {
                    asked.iter_mut().for_each(|(_, late)| *late = true);
                    true
                }
                () = &mut deadline => return bad,
            };
        }
    }

    async fn attempt(
        &self,
        index: usize,
        question: &Question,
        metrics: &Metrics,
    ) -> (usize, Result<Message, exchange::Error>) {
        let (address, begun) = (self.servers[index].address, Instant::now());
        let result = exchange::ask(address, question).await;
        metrics.forwarded(address, begun, result.as_ref().ok());
        (index, result)
    }
}

fn failed(health: Health) -> Health {
    health.failed(Instant::now())
}

/// Whether another server need not be asked.
fn is_good(message: &Message) -> bool {
    !matches!(
        message.metadata.response_code,
        ResponseCode::ServFail | ResponseCode::Refused | ResponseCode::NotImp | ResponseCode::FormErr
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_failed_come_last_and_those_that_loop_not_at_all() {
        let now = Instant::now();
        let well = Health::default();
        let tired = well.failed(now);
        let worn_out = tired.failed(now);
        let loops = Health { looping: true, ..well };
        for (healths, wanted) in [
            (vec![well, well, well], vec![0, 1, 2]),
            (vec![tired, well, well], vec![1, 2, 0]),
            (vec![worn_out, tired, well], vec![2, 1, 0]),
            (vec![worn_out, tired], vec![1, 0]),
            (vec![loops, well], vec![1]),
            (vec![loops.failed(now)], vec![]),
        ] {
            assert_eq!(order(&healths, now), wanted, "{healths:?}");
        }
        let later = now + Duration::from_secs(2);
        assert_eq!(order(&[worn_out, well], later), [0, 1], "it has rested");
        assert_eq!(worn_out.answered(), well);
        let rest = (0..20).fold(well, |health, _| health.failed(now)).rests_until;
        assert_eq!(rest, Some(now + LONGEST_REST));
    }
}
