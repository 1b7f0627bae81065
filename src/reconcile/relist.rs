//! The watch that all caches stand on: kube-runtime's, with back-off, which begins anew where that one would wait for ever.
//!
//! A server that was restored from a backup may be behind the revision that its client has seen. It refuses to go on
//! from there ("Too large resource version"), or keeps silent until it gets there; and what it did since is not what the
//! client knows. Only a list helps. So after every failure the server is asked, once it answers, how far it is.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use kube::Api;
use kube::api::ListParams;
use kube::runtime::watcher::{Error, Event};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::time::Instant;

use super::backoff::jittered;
use super::informer::{Cached, revision};

/// The longest pause between attempts, as client-go's.
const LONGEST: Duration = Duration::from_secs(30);

/// A stream of what happens to the objects of `api`, without end.
pub type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

/// Watches, with retries after growing pauses.
pub fn watch<K: Cached>(api: Api<K>, config: watcher::Config) -> Events<K> {
    let (asked, selection) = (api.clone(), config.field_selector.clone());
    endless(
        move || watcher(api.clone(), config.clone()).default_backoff().boxed(),
        move || ask(asked.clone(), selection.clone()).boxed(),
    )
}

/// The server's revision, as soon as it answers.
async fn ask<K: Cached>(api: Api<K>, fields: Option<String>) -> u64 {
    let params = ListParams { field_selector: fields, limit: Some(1), ..ListParams::default() };
    let mut pause = Duration::from_millis(500);
    loop {
        if let Ok(list) = api.list_metadata(&params).await {
            // One that tells no number is never behind.
            return list.metadata.resource_version.and_then(|it| it.parse().ok()).unwrap_or(u64::MAX);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

type Asked = BoxFuture<'static, u64>;

struct Watch<K> {
    begin: Arc<dyn Fn() -> Events<K> + Send + Sync>,
    ask: Arc<dyn Fn() -> Asked + Send + Sync>,
    events: Events<K>,
    /// The newest revision of an object that has passed since the last list began.
    seen: u64,
    /// The server's answer how far it is, while that is in doubt.
    doubt: Option<Asked>,
    /// In a row, without an object or a whole list between them.
    failures: u32,
    /// Before it nothing more is asked for.
    rest: Option<Instant>,
}

fn endless<K: Cached>(
    begin: impl Fn() -> Events<K> + Send + Sync + 'static,
    ask: impl Fn() -> Asked + Send + Sync + 'static,
) -> Events<K> {
    let watch = Watch {
        events: begin(),
        begin: Arc::new(begin),
        ask: Arc::new(ask),
        seen: 0,
        doubt: None,
        failures: 0,
        rest: None,
    };
    futures::stream::unfold(watch, |mut watch| async move { Some((watch.next().await?, watch)) }).boxed()
}

impl<K: Cached> Watch<K> {
    async fn next(&mut self) -> Option<watcher::Result<Event<K>>> {
        loop {
            let answer = async {
                match &mut self.doubt {
                    Some(doubt) => doubt.await,
                    None => std::future::pending().await,
                }
            };
            let rest = self.rest;
            let next = async {
                if let Some(rest) = rest {
                    tokio::time::sleep_until(rest).await;
                }
                self.events.next().await
            };
            tokio::select! {
                event = next => {
                    let event = event?;
                    self.note(&event);
                    return Some(event);
                }
                current = answer => {
                    self.doubt = None;
                    if current < self.seen {
                        self.anew();
                    }
                }
            }
        }
    }

    fn note(&mut self, event: &watcher::Result<Event<K>>) {
        self.rest = None;
        match event {
            // kube's own back-off begins anew with every list that is tried: a server may be away for days.
            Ok(Event::Init) => {}
            Ok(_) => self.failures = 0,
            Err(_) => {
                self.rest = rest(self.failures).map(|rest| Instant::now() + jittered(rest));
                self.failures = self.failures.saturating_add(1);
            }
        }
        match event {
            Ok(Event::Init) => (self.seen, self.doubt) = (0, None),
            Ok(Event::InitApply(object) | Event::Apply(object) | Event::Delete(object)) => {
                self.seen = self.seen.max(revision(object));
            }
            Ok(Event::InitDone) => {}
            Err(error) if is_ahead(error) => self.anew(),
            // Before anything was seen there is nothing to doubt.
            Err(_) => self.doubt = (self.seen > 0).then(|| (self.ask)()),
        }
    }

    fn anew(&mut self) {
        tracing::warn!(kind = %K::kind(&()), seen = self.seen, "the server is behind what was seen of it; listing anew");
        (self.events, self.seen, self.doubt) = ((self.begin)(), 0, None);
    }
}

/// How long to rest after a failure that so many others came before.
fn rest(earlier: u32) -> Option<Duration> {
    (earlier > 0).then(|| Duration::from_secs(1 << earlier.min(5)).min(LONGEST))
}

/// Whether the server says that it has not come as far as we have seen it.
fn is_ahead(error: &Error) -> bool {
    const REASON: &str = "ResourceVersionTooLarge";
    let (Error::WatchStartFailed(kube::Error::Api(status)) | Error::WatchError(status)) = error else { return false };
    status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == REASON)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::stream;
    use k8s_openapi::api::core::v1::Pod;
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    fn refused(reason: &str) -> watcher::Result<Event<Pod>> {
        let status =
            json!({"status": "Failure", "code": 504, "reason": "Timeout", "details": {"causes": [{"reason": reason}]}});
        let status: Status = serde_json::from_value(status).unwrap();
        Err(Error::WatchStartFailed(kube::Error::Api(Box::new(status))))
    }

    fn pod(revision: u64) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.resource_version = Some(revision.to_string());
        pod
    }

    /// A watch whose every life is `steps`, then silence. Gives how many lives there were.
    fn lives(steps: fn() -> Vec<watcher::Result<Event<Pod>>>, current: u64) -> (Events<Pod>, Arc<AtomicU32>) {
        let begun = Arc::new(AtomicU32::new(0));
        let counted = begun.clone();
        let begin = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            stream::iter(steps()).chain(stream::pending()).boxed()
        };
        (endless(begin, move || std::future::ready(current).boxed()), begun)
    }

    #[tokio::test]
    async fn a_server_that_refuses_because_it_is_behind_is_listed_anew() {
        let steps = || vec![Ok(Event::Init), refused("Other"), Ok(Event::InitDone), refused("ResourceVersionTooLarge")];
        let (mut events, begun) = lives(steps, u64::MAX);
        for life in 1..3 {
            for step in 0..4 {
                assert_eq!(events.next().await.unwrap().is_err(), step % 2 == 1);
                assert_eq!(begun.load(Ordering::Relaxed), life + u32::from(step == 3));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_away_is_asked_seldom() {
        let steps = || (0..1000).flat_map(|_| [Ok(Event::Init), refused("Other")]).collect();
        let (mut events, _) = lives(steps, u64::MAX);
        let begun = Instant::now();
        for _ in 0..200 {
            events.next().await;
        }
        let hour = begun.elapsed().as_secs();
        assert!((1400..3000).contains(&hour), "a hundred attempts in {hour} s");
    }

    #[tokio::test]
    async fn a_server_that_is_silently_behind_is_listed_anew_and_one_that_is_not_is_gone_on_with() {
        let steps = || vec![Ok(Event::Init), Ok(Event::InitApply(pod(7))), Ok(Event::InitDone), refused("Other")];
        for (current, anew) in [(6, true), (7, false), (8, false)] {
            let (mut events, begun) = lives(steps, current);
            for _ in 0..4 {
                assert!(events.next().await.is_some());
            }
            let next = events.next().now_or_never().flatten();
            assert_eq!(matches!(next, Some(Ok(Event::Init))), anew, "at {current}");
            assert_eq!(begun.load(Ordering::Relaxed), 1 + u32::from(anew));
        }
    }
}
