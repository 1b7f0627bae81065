//! Tokens that were made for ServiceAccounts by themselves, as Kubernetes did until 1.24: who does not use one for a year
//! finds it marked invalid, and a year later gone. Also keeps the ConfigMap that says since when uses are written down.
//!
//! Labels tell days, so the next thing that is due has a day, and a timer is armed for it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::api::{DeleteParams, Preconditions};
use serde_json::json;

use super::service_account::{TYPE, is_of, owner};
use super::uses::LAST_USED;
use crate::api::references::{Kind, PodView};
use crate::reconcile::clock::until;
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};

/// The label of a Secret whose token is refused.
pub const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
const NAMESPACE: &str = "kube-system";
const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";
const SINCE: &str = "since";
/// Upstream's `--legacy-service-account-token-clean-up-period`.
const PERIOD: SignedDuration = SignedDuration::from_hours(365 * 24);
/// After which what nobody tells of here is looked at again, as upstream does.
const DAY: Duration = Duration::from_secs(24 * 3600);

pub struct LegacyTokens {
    tracking: Informer<ConfigMap>,
    secrets: Informer<Secret>,
    accounts: Informer<ServiceAccount>,
    pods: Informer<Pod>,
}

impl LegacyTokens {
    pub fn new(env: &Env) -> Self {
        Self {
            tracking: env.informers.selected(&format!("metadata.name={TRACKING}")),
            secrets: env.informers.selected(&format!("type={TYPE}")),
            accounts: env.informers.get(),
            pods: env.informers.get(),
        }
    }

    /// Since when uses are written down; from today on where nothing said so before.
    async fn tracked_since(&self, cx: &Context, today: Date) -> Result<Date, Error> {
        let writer = cx.namespaced::<ConfigMap>(NAMESPACE);
        let Some(found) = self.tracking.get(NAMESPACE, TRACKING) else {
            let mut map = ConfigMap::default();
            map.metadata.name = Some(TRACKING.to_owned());
            map.data.get_or_insert_default().insert(SINCE.to_owned(), today.to_string());
            return match writer.create(&map).await {
                Err(error) if error.reason() != "AlreadyExists" => Err(error),
                _ => Ok(today),
            };
        };
        if let Some(since) = found.data.as_ref().and_then(|data| day(data.get(SINCE)?)) {
            return Ok(since);
        }
        writer.merge(TRACKING, &json!({"data": {SINCE: today.to_string()}})).await.map(|_| today)
    }

    /// Whether the token was made by itself: its account lists it.
    fn is_automatic(&self, secret: &Secret) -> bool {
        let account = owner(secret).and_then(|owner| self.accounts.get(&owner.namespace, &owner.name));
        account.is_some_and(|account| {
            let mut listed = account.secrets.iter().flatten();
            is_of(&account, secret) && listed.any(|reference| reference.name == secret.metadata.name)
        })
    }

    fn is_mounted(&self, key: &Key) -> bool {
        let pods = self.pods.store().state();
        pods.iter()
            .filter(|pod| pod.metadata.namespace.as_deref() == Some(&key.namespace))
            .any(|pod| uses(pod, &key.name))
    }

    async fn carry_out(&self, cx: &Context, secret: &Secret, verdict: Verdict, today: Date) -> Result<(), Error> {
        let Key { namespace, name } = Key::of(secret);
        let writer = cx.namespaced::<Secret>(&namespace);
        let outcome = match verdict {
            Verdict::Keep(_) => Ok(()),
            Verdict::Mark => {
                let labels = json!({INVALID_SINCE: today.to_string()});
                let patch = json!({"metadata": {"uid": secret.metadata.uid, "labels": labels}});
                writer.merge(&name, &patch).await.map(drop)
            }
            Verdict::Delete => {
                let resource_version = secret.metadata.resource_version.clone();
                let preconditions = Some(Preconditions { uid: None, resource_version });
                writer.delete(secret, &DeleteParams { preconditions, ..DeleteParams::default() }).await
            }
        };
        match outcome {
            // Used or changed meanwhile: the watch brings it again.
            Err(error) if matches!(error.reason(), "Conflict" | "NotFound") => Ok(()),
            other => other,
        }
    }
}

/// What is to become of a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing, and until when that is so, where time alone changes it.
    Keep(Option<Timestamp>),
    Mark,
    Delete,
}

fn day(text: &str) -> Option<Date> {
    text.parse::<Date>().ok().filter(|date| date.to_string() == text)
}

/// When the day, and a whole period after it, are over.
fn over(day: Date) -> Option<Timestamp> {
    let next = day.checked_add(1.day()).ok()?;
    next.to_zoned(TimeZone::UTC).ok()?.timestamp().checked_add(PERIOD).ok()
}

fn verdict(secret: &Secret, now: Timestamp, automatic: bool, mounted: impl FnOnce() -> bool) -> Verdict {
    let label = |key: &str| secret.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let kept_until = |time: Option<Timestamp>| time.filter(|time| *time > now);
    let born = secret.metadata.creation_timestamp.as_ref().map(|born| born.0);
    if secret.metadata.deletion_timestamp.is_some() || !automatic {
        return Verdict::Keep(None);
    }
    if let Some(grown) = kept_until(born.and_then(|born| born.checked_add(PERIOD).ok())) {
        return Verdict::Keep(Some(grown));
    }
    if let Some(used) = label(LAST_USED) {
        // What cannot be read says nothing.
        let Some(used) = day(used) else { return Verdict::Keep(None) };
        if let Some(forgotten) = kept_until(over(used)) {
            return Verdict::Keep(Some(forgotten));
        }
    }
    if mounted() {
        return Verdict::Keep(now.checked_add(DAY).ok());
    }
    let Some(marked) = label(INVALID_SINCE).and_then(|since| day(since)) else { return Verdict::Mark };
    kept_until(over(marked)).map_or(Verdict::Delete, |end| Verdict::Keep(Some(end)))
}

fn uses(pod: &Pod, secret: &str) -> bool {
    let mut found = false;
    if let Ok(pod) = PodView::of(pod) {
        pod.visit(|kind, name| found |= kind == Kind::Secret && name == secret);
    }
    found
}

#[async_trait]
impl Controller for LegacyTokens {
    type Key = ();

    fn name(&self) -> &'static str {
        "legacy-serviceaccount-token-cleaner"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<()>) {
        watches.once(());
        watches.on(&self.tracking, |change| {
            let ours = change.object().metadata.namespace.as_deref() == Some(NAMESPACE);
            ours.then_some(())
        });
        watches.on(&self.secrets, |change| change.new.is_some().then_some(()));
        watches.reads(&self.accounts);
        watches.reads(&self.pods);
    }

    async fn reconcile(&self, cx: &Context, (): &()) -> Result<Action, Error> {
        let now = cx.env.clock.now();
        let today = TimeZone::UTC.to_datetime(now).date();
        let known = over(self.tracked_since(cx, today).await?);
        let secrets = self.secrets.store().state();
        if secrets.is_empty() {
            return Ok(Action::done());
        }
        if let Some(known) = known.filter(|known| *known > now) {
            return Ok(Action::after(until(now, known)));
        }
        // Accounts come to list their Secrets, and pods end, without a word to this.
        let mut next = now.checked_add(DAY).ok();
        let mut failed = Vec::new();
        for secret in secrets {
            let key = Key::of(secret.as_ref());
            let verdict = verdict(&secret, now, self.is_automatic(&secret), || self.is_mounted(&key));
            if let Verdict::Keep(Some(end)) = verdict {
                next = next.min(Some(end));
            }
            failed.extend(self.carry_out(cx, &secret, verdict, today).await.err());
        }
        Error::gather(failed)?;
        Ok(Action::maybe_after(next.map(|next| until(now, next))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const NOW: &str = "2026-06-15T12:00:00Z";

    fn secret(born: &str, labels: Value) -> Secret {
        serde_json::from_value(json!({"metadata": {"creationTimestamp": born, "labels": labels}})).unwrap()
    }

    #[test]
    fn what_is_not_used_is_marked_and_then_goes() {
        let old = "2024-01-01T00:00:00Z";
        let used = |day: &str| json!({LAST_USED: day});
        let marked = |day: &str| json!({INVALID_SINCE: day});
        let until = |text: &str| Verdict::Keep(Some(text.parse().unwrap()));
        let never = Verdict::Keep(None);
        for (born, labels, automatic, mounted, expected) in [
            (old, json!({}), true, false, Verdict::Mark),
            (old, json!({}), false, false, never),
            (old, json!({}), true, true, until("2026-06-16T12:00:00Z")),
            ("2026-01-01T00:00:00Z", json!({}), true, false, until("2027-01-01T00:00:00Z")),
            ("2025-06-15T12:00:00Z", json!({}), true, false, Verdict::Mark),
            // A day counts whole: its token may have been used in the last second of it.
            (old, used("2025-06-15"), true, false, until("2026-06-16T00:00:00Z")),
            (old, used("2025-06-14"), true, false, Verdict::Mark),
            (old, used("yesterday"), true, false, never),
            (old, used("2025-6-1"), true, false, never),
            (old, marked("2025-06-15"), true, false, until("2026-06-16T00:00:00Z")),
            (old, marked("2025-06-14"), true, false, Verdict::Delete),
            (old, marked("2025-06-14"), true, true, until("2026-06-16T12:00:00Z")),
            (old, marked("soon"), true, false, Verdict::Mark),
            // Somebody tried after it was marked.
            (
                old,
                json!({INVALID_SINCE: "2025-01-01", LAST_USED: "2026-06-01"}),
                true,
                false,
                until("2027-06-02T00:00:00Z"),
            ),
        ] {
            let found = verdict(&secret(born, labels.clone()), NOW.parse().unwrap(), automatic, || mounted);
            assert_eq!(found, expected, "{born} {labels}");
        }
    }

    #[test]
    fn a_pod_uses_a_secret_by_its_name() {
        let pod = json!({"spec": {"containers": [], "volumes": [
            {"name": "v", "secret": {"secretName": "s"}}, {"name": "w", "configMap": {"name": "t"}}]}});
        let pod = serde_json::from_value(pod).unwrap();
        assert!(uses(&pod, "s") && !uses(&pod, "t"));
    }
}
