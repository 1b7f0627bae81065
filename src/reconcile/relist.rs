//! The watch that all caches stand on: kube-runtime's, with back-off, which begins anew where that one would wait for ever.
//!
//! A server that was restored from a backup may be behind the revision that its client has seen. It refuses to go on
//! from there ("Too large resource version"), and what lies between is not what the client knows: only a list helps.

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::Api;
use kube::runtime::watcher::{Error, Event};
use kube::runtime::{WatchStreamExt, watcher};

use super::informer::Cached;

/// A stream of what happens to the objects of `api`, without end.
pub type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

/// Watches, with retries after growing pauses.
pub fn watch<K: Cached>(api: Api<K>, config: watcher::Config) -> Events<K> {
    endless(move || watcher(api.clone(), config.clone()).default_backoff().boxed()).boxed()
}

fn endless<K: Cached>(
    begin: impl Fn() -> Events<K> + Send + 'static,
) -> impl futures::Stream<Item = watcher::Result<Event<K>>> + Send {
    let first = begin();
    futures::stream::unfold((first, begin), |(mut events, begin)| async move {
        let event = events.next().await?;
        if event.as_ref().err().is_some_and(is_ahead) {
            tracing::warn!(kind = %K::kind(&()), "the server is behind what was seen of it; listing anew");
            events = begin();
        }
        Some((event, (events, begin)))
    })
}

/// Whether the server says that it has not come as far as we have seen it.
fn is_ahead(error: &Error) -> bool {
    const REASON: &str = "ResourceVersionTooLarge";
    let (Error::WatchStartFailed(kube::Error::Api(status)) | Error::WatchError(status)) = error else { return false };
    status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == REASON)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
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

    #[tokio::test]
    async fn only_a_server_that_is_behind_is_listed_anew() {
        let begun = Arc::new(AtomicU32::new(0));
        let counted = begun.clone();
        let events = endless(move || {
            let (other, behind) = (refused("Other"), refused("ResourceVersionTooLarge"));
            counted.fetch_add(1, Ordering::Relaxed);
            stream::iter([Ok(Event::Init), other, Ok(Event::InitDone), behind]).chain(stream::pending()).boxed()
        });
        let mut events = events.boxed();
        for life in 1..3 {
            for step in 0..4 {
                assert_eq!(events.next().await.unwrap().is_err(), step % 2 == 1);
                assert_eq!(begun.load(Ordering::Relaxed), life + u32::from(step == 3));
            }
        }
    }
}
