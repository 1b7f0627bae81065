//! When the tokens that Secrets hold were last used: a label of the Secret, written once a day, as upstream does it.
//!
//! The front door sees uses and sends them by a bounded channel; one that finds it full is told at the next use.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::lifecycle::{Component, StartError};

/// The label.
pub const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// Uses that may wait to be written.
const WAITING: usize = 64;

/// One that the label does not tell of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUse {
    pub namespace: String,
    pub secret: String,
    pub uid: String,
    /// `2026-01-02`.
    pub day: String,
}

/// The way from the front door to [`LastUsed`].
pub fn channel() -> (mpsc::Sender<TokenUse>, mpsc::Receiver<TokenUse>) {
    mpsc::channel(WAITING)
}

/// The day to write down, where it is not there. Another server's clock may be a day ahead.
pub fn due(labels: Option<&BTreeMap<String, String>>, now: Timestamp) -> Option<String> {
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    let (today, tomorrow) = (day(now), day(now + SignedDuration::from_hours(24)));
    let last = labels.and_then(|labels| labels.get(LAST_USED));
    last.is_none_or(|last| *last != today && *last != tomorrow).then_some(today)
}

/// Writes the labels, as a part of the process.
pub struct LastUsed {
    client: kube::Client,
    uses: Option<mpsc::Receiver<TokenUse>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl LastUsed {
    pub fn new(client: kube::Client, uses: mpsc::Receiver<TokenUse>) -> Self {
        Self { client, uses: Some(uses), stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }
}

#[async_trait]
impl Component for LastUsed {
    fn name(&self) -> &'static str {
        "token-uses"
    }

    async fn start(&mut self) -> Result<(), StartError> {
        if let Some(mut uses) = self.uses.take() {
            let (client, stop) = (self.client.clone(), self.stop.clone());
            let work = async move {
                while let Some(used) = uses.recv().await {
                    write(client.clone(), used).await;
                }
            };
            self.tasks.spawn(async move { stop.run_until_cancelled(work).await });
        }
        Ok(())
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn write(client: kube::Client, used: TokenUse) {
    let TokenUse { namespace, secret, uid, day } = used;
    let patch = json!({"metadata": {"uid": uid, "labels": {LAST_USED: day}}});
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    if let Err(error) = secrets.patch(&secret, &PatchParams::default(), &Patch::Merge(patch)).await {
        tracing::warn!(namespace, secret, %error, "the use of a token cannot be written down");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_once() {
        let now: Timestamp = "2026-01-31T23:30:00Z".parse().unwrap();
        let labelled = |day: &str| BTreeMap::from([(LAST_USED.to_owned(), day.to_owned())]);
        let today = Some("2026-01-31".to_owned());
        assert_eq!(due(None, now), today);
        for (last, wanted) in [("2026-01-30", &today), ("soon", &today), ("2026-01-31", &None), ("2026-02-01", &None)] {
            assert_eq!(due(Some(&labelled(last)), now), *wanted, "{last}");
        }
    }
}
