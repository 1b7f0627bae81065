//! ResourceQuota: what a namespace uses in all stays within its quotas, exactly.
//!
//! The new usage is written with the object itself, in one commit of the store that also demands that the quota is still
//! the one looked at. A creation that fails has used nothing, and no two can be admitted on the same numbers. Who comes at
//! the same time for the same namespace waits for its turn instead of trying in vain.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota as Quota, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;
use parking_lot::Mutex;

use super::{Attributes, Operation, Plugin, Reservation};
use crate::api::object::{Object, Template};
use crate::api::pod::Resources;
use crate::api::quota::{self, Counted};
use crate::api::status::Result;
use crate::server::catalog::catalog;
use crate::server::strategy::Meta;
use crate::store::{Change, Durability, Expect, Write};

type Turn = tokio::sync::Mutex<()>;

#[derive(Default)]
pub struct ResourceQuota {
    /// One turn for each namespace in which somebody writes.
    turns: Mutex<HashMap<String, Weak<Turn>>>,
}

impl ResourceQuota {
    fn turn(&self, namespace: &str) -> Arc<Turn> {
        let mut turns = self.turns.lock();
        if let Some(turn) = turns.get(namespace).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn::default());
        turns.insert(namespace.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

#[async_trait]
impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    async fn reserve(&self, attributes: &Attributes<'_>, object: &dyn Object) -> Result<Option<Reservation>> {
        let context = attributes.context;
        let old = attributes.old.and_then(|old| counted(context.kind.meta(), old));
        let Some(new) = counted(context.kind.meta(), object).filter(|new| handles(attributes, new, old)) else {
            return Ok(None);
        };
        if !has_quota(attributes).await? {
            return Ok(None);
        }
        let mut reservation =
            Reservation { writes: Vec::new(), _turn: self.turn(&context.namespace).lock_owned().await };
        let refuse = |why: String| attributes.forbidden(Some(object), &why);
        // What one of the quotas cannot count is told before what another has no room for.
        let mut concerned = Vec::new();
        for quota in attributes.reader.list::<Quota>(&context.namespace).await? {
            if concerns(&quota, &new).map_err(refuse)? {
                concerned.push(quota);
            }
        }
        let now = Timestamp::now();
        for mut quota in concerned {
            let mut delta = new.usage(now);
            // What comes into the scope of a quota is new to it.
            if let Some(old) = old.filter(|old| old.is_in_scope(&quota.spec.clone().unwrap_or_default())) {
                delta = quota::subtract(delta, &old.usage(now));
            }
            // What has happened is counted, not refused.
            if charge(&mut quota, &delta, context.subresource != "status").map_err(refuse)? {
                reservation.writes.push(write(&mut quota));
            }
        }
        Ok((!reservation.writes.is_empty()).then_some(reservation))
    }
}

/// The object, if anything like it is counted.
fn counted<'a>(kind: &'a Meta, object: &'a dyn Object) -> Option<Counted<'a>> {
    // Events come and go by themselves.
    if !kind.namespaced || kind.plural == "events" {
        return None;
    }
    Some(if let Some(pod) = object.downcast_ref::<Pod>() {
        Counted::Pod(pod)
    } else if let Some(service) = object.downcast_ref::<Service>() {
        Counted::Service(service)
    } else if let Some(claim) = object.downcast_ref::<PersistentVolumeClaim>() {
        Counted::Claim(claim)
    } else if let Some(claim) = object.downcast_ref::<ResourceClaim>() {
        Counted::Devices(claim)
    } else {
        Counted::Other(kind.group, kind.plural)
    })
}

/// Whether this request can change what is used.
fn handles(attributes: &Attributes<'_>, new: &Counted<'_>, old: Option<Counted<'_>>) -> bool {
    let creates = attributes.operation == Operation::Create;
    match (attributes.context.subresource.as_str(), new) {
        ("", Counted::Pod(pod)) => {
            creates || matches!(old, Some(Counted::Pod(old)) if quota::ends(old) != quota::ends(pod))
        }
        ("", Counted::Other(..)) => creates,
        ("", Counted::Service(_) | Counted::Claim(_) | Counted::Devices(_)) | ("status", Counted::Claim(_)) => true,
        ("resize", Counted::Pod(_)) => !creates,
        _ => false,
    }
}

async fn has_quota(attributes: &Attributes<'_>) -> Result<bool> {
    Ok(!attributes.reader.list::<Quota>(&attributes.context.namespace).await?.is_empty())
}

/// Whether the quota limits the object, or why it cannot tell.
fn concerns(quota: &Quota, object: &Counted<'_>) -> std::result::Result<bool, String> {
    let spec = quota.spec.clone().unwrap_or_default();
    let name = quota.metadata.name.as_deref().unwrap_or_default();
    let status = quota.status.clone().unwrap_or_default();
    let (hard, used) = (quota::amounts(status.hard.as_ref()), quota::amounts(status.used.as_ref()));
    let limited: Vec<&str> = hard.keys().map(String::as_str).filter(|name| object.is_limited_by(name)).collect();
    if limited.is_empty() || !object.is_in_scope(&spec) {
        return Ok(false);
    }
    if let Counted::Pod(pod) = object
        && let Some(missing) = quota::missing(pod, limited.iter().copied())
    {
        return Err(format!("failed quota: {name}: {missing}"));
    }
    match limited.iter().all(|resource| used.contains_key(*resource)) {
        true => Ok(true),
        false => Err(format!("status unknown for quota: {name}, resources: {}", limited.join(","))),
    }
}

/// Adds the usage to the quota's status, or says why it may not be. False where nothing changes.
fn charge(quota: &mut Quota, delta: &Resources, bounded: bool) -> std::result::Result<bool, String> {
    let name = quota.metadata.name.clone().unwrap_or_default();
    let status = quota.status.get_or_insert_default();
    let (hard, used) = (quota::amounts(status.hard.as_ref()), quota::amounts(status.used.as_ref()));
    let mut requested = quota::mask(delta, &hard);
    requested.retain(|_, amount| !amount.is_zero());
    if let Some(why) = quota::exceeded(&name, &requested, &used, &hard).filter(|_| bounded) {
        return Err(why);
    }
    status.used = Some(quota::to_wire(&quota::add(used, &requested)));
    Ok(!requested.is_empty())
}

fn write(quota: &mut Quota) -> Write {
    let object: &mut dyn Object = quota;
    let revision = object.revision();
    let key = catalog().find("", "v1", "resourcequotas").map(|kind| kind.meta().key(object.namespace(), object.name()));
    let template = Template::new(object);
    Write {
        key: key.unwrap_or_default().into(),
        expect: Expect::Revision(revision),
        change: Change::Put(Box::new(move |revision| template.stamp(revision))),
        durability: Durability::Durable,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn charged(quota: Value, pod: Value) -> std::result::Result<Value, String> {
        let mut quota: Quota = serde_json::from_value(quota).unwrap();
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let counted = Counted::Pod(&pod);
        let delta = counted.usage(Timestamp::now());
        if concerns(&quota, &counted)? {
            charge(&mut quota, &delta, true)?;
        }
        Ok(serde_json::to_value(quota.status.unwrap().used).unwrap())
    }

    #[test]
    fn a_pod_is_charged_or_told_why_not() {
        let pod = json!({"spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "300m"}}}]}});
        let quota =
            |hard: Value, used: Value| json!({"metadata": {"name": "q"}, "status": {"hard": hard, "used": used}});
        let cases = [
            (
                json!({"pods": "2", "cpu": "1"}),
                json!({"pods": "1", "cpu": "500m"}),
                Ok(json!({"pods": "2", "cpu": "800m"})),
            ),
            (json!({"services": "2"}), json!({"services": "1"}), Ok(json!({"services": "1"}))),
            (
                json!({"pods": "1"}),
                json!({"pods": "1"}),
                Err("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"),
            ),
            (json!({"limits.cpu": "1"}), json!({}), Err("failed quota: q: must specify limits.cpu for: a")),
            (json!({"pods": "1"}), json!({}), Err("status unknown for quota: q, resources: pods")),
        ];
        for (hard, used, wanted) in cases {
            let found = charged(quota(hard.clone(), used), pod.clone());
            assert_eq!(found, wanted.map_err(str::to_owned), "{hard}");
        }
    }
}
