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
        let Some(counted) = counted(attributes, object) else { return Ok(None) };
        if !has_quota(attributes).await? {
            return Ok(None);
        }
        let turn = self.turn(&context.namespace).lock_owned().await;
        let now = Timestamp::now();
        let mut delta = counted.usage(now);
        if attributes.operation == Operation::Update {
            let old = attributes.old.and_then(|old| self::counted(attributes, old));
            delta = quota::subtract(delta, &old.map(|old| old.usage(now)).unwrap_or_default());
        }
        delta.retain(|_, amount| !amount.is_zero());
        if delta.is_empty() {
            return Ok(None);
        }
        let mut reservation = Reservation { writes: Vec::new(), _turn: turn };
        let refuse = |why: String| attributes.forbidden(Some(object), &why);
        // What one of the quotas cannot count is told before what another has no room for.
        let mut concerned = Vec::new();
        for quota in attributes.reader.list::<Quota>(&context.namespace).await? {
            if concerns(&quota, &counted).map_err(refuse)? {
                concerned.push(quota);
            }
        }
        for mut quota in concerned {
            if charge(&mut quota, &delta).map_err(refuse)? {
                reservation.writes.push(write(&mut quota));
            }
        }
        Ok(Some(reservation))
    }
}

/// The object, if this request can change what is used.
fn counted<'a>(attributes: &Attributes<'a>, object: &'a dyn Object) -> Option<Counted<'a>> {
    let meta = attributes.context.kind.meta();
    let creates = attributes.operation == Operation::Create;
    let subresource = attributes.context.subresource.as_str();
    // Events come and go by themselves.
    if !meta.namespaced || meta.plural == "events" {
        return None;
    }
    if let Some(pod) = object.downcast_ref::<Pod>() {
        let resizes = attributes.operation == Operation::Update && subresource == "resize";
        return (resizes || (creates && subresource.is_empty())).then_some(Counted::Pod(pod));
    }
    if !subresource.is_empty() {
        return None;
    }
    if let Some(service) = object.downcast_ref::<Service>() {
        return Some(Counted::Service(service));
    }
    if let Some(claim) = object.downcast_ref::<PersistentVolumeClaim>() {
        return Some(Counted::Claim(claim));
    }
    if let Some(claim) = object.downcast_ref::<ResourceClaim>() {
        return creates.then_some(Counted::Devices(claim));
    }
    creates.then_some(Counted::Other(meta.group, meta.plural))
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
fn charge(quota: &mut Quota, delta: &Resources) -> std::result::Result<bool, String> {
    let name = quota.metadata.name.clone().unwrap_or_default();
    let status = quota.status.get_or_insert_default();
    let (hard, used) = (quota::amounts(status.hard.as_ref()), quota::amounts(status.used.as_ref()));
    let requested = quota::mask(delta, &hard);
    if let Some(why) = quota::exceeded(&name, &requested, &used, &hard) {
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
            charge(&mut quota, &delta)?;
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
