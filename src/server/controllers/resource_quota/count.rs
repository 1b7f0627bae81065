//! Counts what a namespace uses, as far as its quotas ask.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};

use super::super::catalog;
use crate::api::pod::Resources;
use crate::api::quantity::{Format, Quantity};
use crate::api::quota::{self, Counted};
use crate::reconcile::Error;

/// What is used of each quota.
pub(super) struct Usages {
    pub of_each: Vec<Resources>,
    /// When the next pod stops to count without anybody saying so.
    pub next_expiry: Option<Timestamp>,
}

/// A kind of which only the number counts, and the number.
type Number = (String, String, usize);

pub(super) async fn count(
    client: &Client,
    namespace: &str,
    quotas: &[ResourceQuota],
    now: Timestamp,
) -> Result<Usages, Error> {
    let names: BTreeSet<&str> = quotas
        .iter()
        .flat_map(|quota| quota.spec.iter().flat_map(|spec| spec.hard.iter().flatten()))
        .map(|(name, _)| name.as_str())
        .collect();
    let limits = |kind: Counted<'_>| names.iter().any(|name| kind.is_limited_by(name));
    let everything = ListParams::default();
    let (mut pods, mut services, mut claims) = (Vec::new(), Vec::new(), Vec::new());
    if limits(Counted::Pod(&Pod::default())) {
        pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&everything).await?.items;
    }
    if limits(Counted::Service(&Service::default())) {
        services = Api::<Service>::namespaced(client.clone(), namespace).list(&everything).await?.items;
    }
    if limits(Counted::Claim(&PersistentVolumeClaim::default())) {
        claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace).list(&everything).await?.items;
    }
    let mut devices = Vec::new();
    if limits(Counted::Devices(&ResourceClaim::default())) {
        devices = Api::<ResourceClaim>::namespaced(client.clone(), namespace).list(&everything).await?.items;
    }
    let numbers = numbers(client, namespace, &names).await?;
    let typed = pods.iter().map(Counted::Pod).chain(services.iter().map(Counted::Service));
    let typed = typed.chain(claims.iter().map(Counted::Claim)).chain(devices.iter().map(Counted::Devices));
    let objects: Vec<Counted<'_>> = typed.collect();
    let of_each = quotas.iter().map(|quota| used(quota, &objects, &numbers, now));
    let next_expiry = pods.iter().filter_map(quota::expires).filter(|end| *end >= now).min();
    Ok(Usages { of_each: of_each.collect(), next_expiry })
}

/// Whether the limit is about a kind of which more than the number counts.
fn is_typed(name: &str) -> bool {
    Counted::Pod(&Pod::default()).is_limited_by(name)
        || Counted::Service(&Service::default()).is_limited_by(name)
        || Counted::Claim(&PersistentVolumeClaim::default()).is_limited_by(name)
        || Counted::Devices(&ResourceClaim::default()).is_limited_by(name)
}

async fn numbers(client: &Client, namespace: &str, names: &BTreeSet<&str>) -> Result<Vec<Number>, Error> {
    const ELSEWHERE: [&str; 5] = ["events", "persistentvolumeclaims", "pods", "resourceclaims", "services"];
    let mut numbers = Vec::new();
    // Most quotas limit none of these.
    if names.iter().all(|name| is_typed(name)) {
        return Ok(numbers);
    }
    for resource in catalog::resources(client).await? {
        let (group, plural) = (resource.api.group.as_str(), resource.api.plural.as_str());
        let kind = Counted::Other(group, plural);
        let asked = resource.namespaced && names.iter().any(|name| kind.is_limited_by(name));
        if !asked || ELSEWHERE.contains(&plural) {
            continue;
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource.api);
        let found = api.list_metadata(&ListParams::default()).await?.items.len();
        numbers.push((group.to_owned(), plural.to_owned(), found));
    }
    Ok(numbers)
}

/// What is used of one quota: every limit for which somebody counts, if only zero.
fn used(quota: &ResourceQuota, objects: &[Counted<'_>], numbers: &[Number], now: Timestamp) -> Resources {
    let spec = quota.spec.clone().unwrap_or_default();
    let hard = quota::amounts(spec.hard.as_ref());
    let mut used = Resources::new();
    let counted = |name: &String| {
        let other = |(group, plural, _): &Number| Counted::Other(group, plural).is_limited_by(name);
        is_typed(name) || numbers.iter().any(other)
    };
    used.extend(hard.keys().filter(|name| counted(name)).map(|name| (name.clone(), Default::default())));
    for object in objects.iter().filter(|object| object.is_in_scope(&spec)) {
        used = quota::add(used, &quota::mask(&object.usage(now), &hard));
    }
    for (group, plural, number) in numbers {
        let kind = Counted::Other(group, plural);
        if kind.is_in_scope(&spec) {
            let number = Quantity::from_value(i64::try_from(*number).unwrap_or(i64::MAX), Format::DecimalSi);
            used.extend(quota::mask(&kind.usage(now), &hard).into_keys().map(|name| (name, number)));
        }
    }
    used
}

/// What nobody counts keeps what was said of it.
pub(super) fn status(quota: &ResourceQuota, used: &Resources) -> ResourceQuotaStatus {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
    let mut all = quota::amounts(quota.status.as_ref().and_then(|status| status.used.as_ref()));
    all.extend(used.clone());
    all.retain(|name, _| hard.contains_key(name));
    ResourceQuotaStatus { hard: Some(hard), used: Some(quota::to_wire(&all)) }
}

/// Whether the amounts differ, however they are written.
pub(super) fn differs(old: Option<&ResourceQuotaStatus>, new: &ResourceQuotaStatus) -> bool {
    let read =
        |status: &ResourceQuotaStatus| (quota::amounts(status.hard.as_ref()), quota::amounts(status.used.as_ref()));
    old.map(read) != Some(read(new))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_limit_that_is_counted_is_told() {
        let hard =
            json!({"pods": "5", "requests.cpu": "4", "secrets": "9", "count/deployments.apps": "2", "made.up": "1"});
        let quota: ResourceQuota = serde_json::from_value(json!({"spec": {"hard": hard}})).unwrap();
        let pod = json!({"spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "500m"}}}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let ended: Pod = serde_json::from_value(json!({"status": {"phase": "Failed"}})).unwrap();
        let objects = [Counted::Pod(&pod), Counted::Pod(&pod), Counted::Pod(&ended)];
        let numbers = [("apps".to_owned(), "deployments".to_owned(), 2), (String::new(), "secrets".to_owned(), 0)];
        let used = used(&quota, &objects, &numbers, Timestamp::now());
        assert_eq!(quota::shown(&used), "count/deployments.apps=2,pods=2,requests.cpu=1,secrets=0");
        let status = status(&quota, &used);
        assert!(differs(None, &status) && !differs(Some(&status), &status));
    }
}
