//! Deletes pods that do not tolerate a `NoExecute` taint of their node, at once or when their
//! `tolerationSeconds` are over. Terms count from the taint's `timeAdded`, so that they survive a restart; where a taint
//! has none, from when it was first seen here.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use kube::api::{DeleteParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;

use super::PodsOn;
use crate::reconcile::clock::{time, until};
use crate::reconcile::events::{EventType, Recorder};
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};
use crate::server::controllers::pods;

pub struct TaintEviction {
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    pods_on: PodsOn,
    /// Since when a pod waits for its end, by its UID.
    waiting: Mutex<HashMap<String, Timestamp>>,
    events: Recorder,
}

impl TaintEviction {
    pub fn new(env: &Env, pods_on: PodsOn) -> Self {
        let events = env.events.recorder("taint-eviction-controller", None);
        Self { nodes: env.informers.get(), pods: env.informers.get(), pods_on, waiting: Mutex::default(), events }
    }
}

fn no_execute(node: &Node) -> Vec<&Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.into_iter().flatten().filter(|taint| taint.effect == "NoExecute").collect()
}

/// `Toleration.ToleratesTaint` for a taint of the effect NoExecute.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !(effect.is_empty() || effect == taint.effect) || !(key.is_empty() || key == taint.key) {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        Some(_) => false,
    }
}

/// When the pod has to go; `None` where it may stay. `seen` is since when taints that do not tell are there.
fn deadline(taints: &[&Taint], tolerations: &[Toleration], seen: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let terms = taints.iter().filter_map(|taint| {
        let since = taint.time_added.as_ref().map_or(seen, |added| added.0);
        let tolerated: Vec<_> = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
        if tolerated.is_empty() {
            return Some(now);
        }
        let seconds = tolerated.iter().filter_map(|toleration| toleration.toleration_seconds).min()?;
        since.saturating_add(SignedDuration::from_secs(seconds.max(0))).ok()
    });
    terms.min()
}

#[async_trait]
impl Controller for TaintEviction {
    type Key = Key;

    fn name(&self) -> &'static str {
        "taint-eviction"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        let this = self.clone();
        watches.on(&self.nodes, move |change| {
            let of = |node: &Option<Arc<Node>>| {
                node.as_ref().map(|node| no_execute(node).into_iter().cloned().collect::<Vec<_>>())
            };
            let (old, new) = (of(&change.old).unwrap_or_default(), of(&change.new).unwrap_or_default());
            let name = change.object().metadata.name.clone().unwrap_or_default();
            match old == new {
                true => Vec::new(),
                false => this.pods_on.get(&name).iter().map(|pod| Key::of(pod.as_ref())).collect(),
            }
        });
        let this = self.clone();
        watches.on(&self.pods, move |change| {
            let Some(pod) = &change.new else {
                this.waiting.lock().remove(change.object().metadata.uid.as_deref()?);
                return None;
            };
            let node = this.nodes.get("", super::node_of(pod)?)?;
            (!no_execute(&node).is_empty() && !pods::is_deleting(pod)).then(|| Key::of(pod.as_ref()))
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let Some(pod) = self.pods.get(&key.namespace, &key.name).filter(|pod| !pods::is_deleting(pod)) else {
            return Ok(Action::done());
        };
        let Some(node) = super::node_of(&pod).and_then(|name| self.nodes.get("", name)) else {
            return Ok(Action::done());
        };
        let now = cx.env.clock.now();
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.clone()).unwrap_or_default();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let seen = self.waiting.lock().get(&uid).copied().unwrap_or(now);
        let Some(deadline) = deadline(&no_execute(&node), &tolerations, seen, now) else {
            if self.waiting.lock().remove(&uid).is_some() {
                let message = format!("Cancelling deletion of Pod {}/{}", key.namespace, key.name);
                self.events.event(pod.as_ref(), EventType::Normal, "TaintManagerEviction", message);
            }
            return Ok(Action::done());
        };
        if deadline > now {
            self.waiting.lock().insert(uid, seen);
            return Ok(Action::after(until(now, deadline)));
        }
        let message = format!("Marking for deletion Pod {}/{}", key.namespace, key.name);
        self.events.event(pod.as_ref(), EventType::Normal, "TaintManagerEviction", message);
        let writer = cx.namespaced::<Pod>(&key.namespace);
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": time(now),
        }]}});
        match writer.strategic_status(&key.name, &patch).await {
            Err(error) if error.reason() == "NotFound" => return Ok(Action::done()),
            other => drop(other?),
        }
        let preconditions = Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None });
        writer.delete(&pod, &DeleteParams { preconditions, ..DeleteParams::default() }).await?;
        Ok(Action::done())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("valid")
    }

    fn taint(key: &str, added: i64) -> Taint {
        Taint { key: key.to_owned(), effect: "NoExecute".to_owned(), value: None, time_added: Some(Time(at(added))) }
    }

    fn toleration(key: &str, seconds: Option<i64>) -> Toleration {
        Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some("NoExecute".to_owned()),
            toleration_seconds: seconds,
            value: None,
        }
    }

    #[test]
    fn deadlines() {
        let (a, b) = (taint("a", 100), taint("b", 200));
        let everything = Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() };
        // taints, tolerations → deadline, seen at 990 and at 1000
        let untold = Taint { time_added: None, ..a.clone() };
        let cases: [(Vec<&Taint>, Vec<Toleration>, Option<i64>); 9] = [
            (vec![], vec![], None),
            (vec![&a], vec![], Some(1000)),
            (vec![&a], vec![toleration("a", Some(300))], Some(400)),
            (vec![&a], vec![toleration("a", None)], None),
            (vec![&a, &b], vec![toleration("a", None)], Some(1000)),
            (vec![&a, &b], vec![toleration("a", Some(5000)), toleration("b", Some(1000))], Some(1200)),
            (vec![&a, &b], vec![everything], None),
            (vec![&untold], vec![toleration("a", Some(4))], Some(994)),
            (vec![&untold], vec![], Some(1000)),
        ];
        for (taints, tolerations, expected) in cases {
            assert_eq!(
                deadline(&taints, &tolerations, at(990), at(1000)),
                expected.map(at),
                "{taints:?} {tolerations:?}"
            );
        }
    }
}
