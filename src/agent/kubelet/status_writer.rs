//! Sends a pod's status to the API server: one task for each pod, the newest status wins, equal ones are not
//! sent. The last thing it may send is the deletion of the pod. Called by the worker.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::host::Host;
use super::model::PodId;

/// What the API server shall know.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wish {
    status: Option<PodStatus>,
    /// Nothing of the pod is left on the node: its object can go.
    delete: bool,
    /// Counts forced repetitions.
    again: u64,
}

pub struct StatusWriter {
    wish: watch::Sender<Wish>,
}

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

impl StatusWriter {
    pub fn start(host: Arc<Host>, pod: PodId) -> Self {
        let (wish, wishes) = watch::channel(Wish::default());
        tokio::spawn(write(host, pod, wishes));
        Self { wish }
    }

    pub fn publish(&self, status: PodStatus) {
        self.wish.send_if_modified(|wish| {
            let news = wish.status.as_ref() != Some(&status);
            wish.status = Some(status);
            news
        });
    }

    /// Sends the last status once more: somebody else changed it.
    pub fn repeat(&self) {
        self.wish.send_modify(|wish| wish.again += 1);
    }

    /// Deletes the pod for good, after its last status.
    pub fn delete(&self) {
        self.wish.send_if_modified(|wish| !std::mem::replace(&mut wish.delete, true));
    }
}

async fn write(host: Arc<Host>, pod: PodId, mut wishes: watch::Receiver<Wish>) {
    let api: Api<Pod> = Api::namespaced(host.client.clone(), &pod.namespace);
    let mut sent: Option<(PodStatus, u64)> = None;
    let mut retry = FIRST_RETRY;
    while wishes.changed().await.is_ok() {
        loop {
            let wish = wishes.borrow_and_update().clone();
            let result = carry_out(&api, &pod, &wish, &mut sent).await;
            match result {
                Ok(()) => retry = FIRST_RETRY,
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {
                    tracing::debug!(%pod, message = status.message, "status not taken");
                }
                Err(error) => {
                    tracing::debug!(%pod, %error, "status not sent, will be tried again");
                    tokio::select! {
                        () = tokio::time::sleep(retry) => {}
                        news = wishes.changed() => if news.is_err() { return },
                    }
                    retry = (retry * 2).min(LONGEST_RETRY);
                    continue;
                }
            }
            break;
        }
    }
}

async fn carry_out(
    api: &Api<Pod>,
    pod: &PodId,
    wish: &Wish,
    sent: &mut Option<(PodStatus, u64)>,
) -> Result<(), kube::Error> {
    if let Some(status) = &wish.status
        && sent.as_ref().is_none_or(|(old, again)| old != status || *again != wish.again)
    {
        let patch = patch(&pod.uid, sent.as_ref().map(|(old, _)| old), status);
        api.patch_status(&pod.name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
        *sent = Some((status.clone(), wish.again));
    }
    if wish.delete {
        let preconditions = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
        let params =
            DeleteParams { grace_period_seconds: Some(0), preconditions: Some(preconditions), ..Default::default() };
        api.delete(&pod.name, &params).await?;
    }
    Ok(())
}

/// A strategic merge patch: conditions of others stay, everything of ours is replaced. The uid makes sure that
/// a pod of the same name that came later is not touched.
fn patch(uid: &str, old: Option<&PodStatus>, status: &PodStatus) -> Value {
    let mut value = json!(status);
    if status.pod_ips.is_none() {
        value["podIPs"] = Value::Null;
        value["podIP"] = Value::Null;
    } else if old.is_none_or(|old| old.pod_ips != status.pod_ips) {
        replace(&mut value["podIPs"]);
    }
    // The node's address may have changed.
    if status.host_ips.is_some() && old.is_none_or(|old| old.host_ips != status.host_ips) {
        replace(&mut value["hostIPs"]);
    }
    for field in ["reason", "message"] {
        if value.get(field).is_none() && old.is_some_and(|old| old.reason.is_some() || old.message.is_some()) {
            value[field] = Value::Null;
        }
    }
    for condition in value["conditions"].as_array_mut().into_iter().flatten() {
        for field in ["reason", "message"] {
            if condition.get(field).is_none() {
                condition[field] = Value::Null;
            }
        }
    }
    if let Some(conditions) = value["conditions"].as_array_mut() {
        let has = |status: &PodStatus, kind: &str| status.conditions.iter().flatten().any(|it| it.type_ == kind);
        let gone = PASSING.iter().filter(|kind| !has(status, kind) && old.is_none_or(|old| has(old, kind)));
        conditions.extend(gone.map(|kind| json!({"type": kind, "$patch": "delete"})));
    }
    json!({"metadata": {"uid": uid}, "status": value})
}

/// Conditions of ours that are there only while they are true.
const PASSING: [&str; 2] = ["PodResizePending", "PodResizeInProgress"];

/// Lists with a merge key are merged unless this says otherwise.
fn replace(list: &mut Value) {
    if let Some(items) = list.as_array_mut() {
        items.insert(0, json!({"$patch": "replace"}));
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{HostIP, PodCondition, PodIP};

    use super::*;

    #[test]
    fn a_patch_replaces_addresses_and_clears_reasons() {
        let ip = |ip: &str| Some(vec![PodIP { ip: ip.to_owned() }]);
        let condition = PodCondition { type_: "Ready".into(), status: "True".into(), ..Default::default() };
        let first = PodStatus { pod_ips: ip("1.1.1.1"), reason: Some("x".into()), ..Default::default() };
        let second = PodStatus { pod_ips: ip("1.1.1.2"), conditions: Some(vec![condition]), ..Default::default() };
        let here = |ip: &str| PodStatus { host_ips: Some(vec![HostIP { ip: ip.to_owned() }]), ..Default::default() };
        let moved = patch("u", Some(&here("192.0.2.1")), &here("192.0.2.9"));
        assert_eq!(moved["status"]["hostIPs"], json!([{"$patch": "replace"}, {"ip": "192.0.2.9"}]));
        assert_eq!(patch("u", Some(&first), &first)["status"].get("hostIPs"), None);
        let made = patch("u", Some(&first), &second);
        assert_eq!(made["metadata"]["uid"], "u");
        assert_eq!(made["status"]["podIPs"], json!([{"$patch": "replace"}, {"ip": "1.1.1.2"}]));
        assert!(made["status"]["reason"].is_null() && made["status"].get("reason").is_some());
        assert_eq!(made["status"]["conditions"][0].get("reason"), Some(&Value::Null));
        assert_eq!(patch("u", Some(&second), &second)["status"]["podIPs"], json!([{"ip": "1.1.1.2"}]));
        let pending = PodCondition { type_: "PodResizePending".into(), status: "True".into(), ..Default::default() };
        let waits = PodStatus { conditions: Some(vec![pending]), ..second.clone() };
        let deleted = json!({"type": "PodResizePending", "$patch": "delete"});
        assert_eq!(patch("u", Some(&waits), &second)["status"]["conditions"][1], deleted);
    }
}
