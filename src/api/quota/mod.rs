//! What objects use of a ResourceQuota: pure functions on the wire types.
//!
//! Admission asks what one object would add, the quota controller what all objects of a namespace use together; both ask
//! here, so that both count the same. A usage has every name under which its object can be limited.

mod claim;
mod devices;
mod pod;
mod scope;
mod service;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuotaSpec, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::pod::Resources;
use super::quantity::{Format, Quantity};

pub use pod::{expires, missing};
pub use scope::ends;

/// An object as quotas see it.
#[derive(Clone, Copy, Debug)]
pub enum Counted<'a> {
    Pod(&'a Pod),
    Service(&'a Service),
    Claim(&'a PersistentVolumeClaim),
    Devices(&'a ResourceClaim),
    /// Of which only the number counts: group and plural.
    Other(&'a str, &'a str),
}

/// Kinds that can also be limited by their plain name.
const PLAIN: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

/// `count/deployments.apps`, `count/pods`.
pub fn count_name(group: &str, plural: &str) -> String {
    if group.is_empty() { format!("count/{plural}") } else { format!("count/{plural}.{group}") }
}

fn count(amount: usize) -> Quantity {
    Quantity::from_value(i64::try_from(amount).unwrap_or(i64::MAX), Format::DecimalSi)
}

impl Counted<'_> {
    /// What it uses at `now`.
    pub fn usage(&self, now: Timestamp) -> Resources {
        match self {
            Self::Pod(pod) => pod::usage(pod, now),
            Self::Service(service) => service::usage(service),
            Self::Claim(claim) => claim::usage(claim),
            Self::Devices(claim) => devices::usage(claim),
            Self::Other(group, plural) => {
                let mut usage = Resources::from([(count_name(group, plural), count(1))]);
                if group.is_empty() && PLAIN.contains(plural) {
                    usage.insert((*plural).to_owned(), count(1));
                }
                usage
            }
        }
    }

    /// Whether a limit of this name can be about objects of this kind.
    pub fn is_limited_by(&self, name: &str) -> bool {
        match self {
            Self::Pod(_) => pod::is_limited_by(name),
            Self::Service(_) => service::is_limited_by(name),
            Self::Claim(_) => claim::is_limited_by(name),
            Self::Devices(_) => devices::is_limited_by(name),
            Self::Other(group, plural) => {
                name == count_name(group, plural) || (group.is_empty() && PLAIN.contains(plural) && name == *plural)
            }
        }
    }

    /// Whether every scope of the quota holds of the object.
    pub fn is_in_scope(&self, quota: &ResourceQuotaSpec) -> bool {
        scope::holds(quota, self)
    }
}

/// Amounts of the wire, read.
pub fn amounts(wire: Option<&BTreeMap<String, Wire>>) -> Resources {
    wire.into_iter().flatten().map(|(name, amount)| (name.clone(), Quantity::of(amount))).collect()
}

/// Amounts as the wire has them.
pub fn to_wire(resources: &Resources) -> BTreeMap<String, Wire> {
    resources.iter().map(|(name, amount)| (name.clone(), amount.to_wire())).collect()
}

/// `a` and `b` together.
pub fn add(mut a: Resources, b: &Resources) -> Resources {
    for (name, amount) in b {
        *a.entry(name.clone()).or_default() += *amount;
    }
    a
}

/// What `a` has beyond `b`; may be negative.
pub fn subtract(mut a: Resources, b: &Resources) -> Resources {
    for (name, amount) in b {
        *a.entry(name.clone()).or_default() -= *amount;
    }
    a
}

/// Only the amounts of these names.
pub fn mask(resources: &Resources, names: &Resources) -> Resources {
    let kept = resources.iter().filter(|(name, _)| names.contains_key(*name));
    kept.map(|(name, amount)| (name.clone(), *amount)).collect()
}

/// `cpu=1,pods=2`, as messages show amounts.
pub fn shown(resources: &Resources) -> String {
    resources.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

/// What adding `requested` to `used` would exceed of `hard`, worded; `None` where it fits. What gets less always fits.
pub fn exceeded(name: &str, requested: &Resources, used: &Resources, hard: &Resources) -> Option<String> {
    let over = |(name, more): &(&String, &Quantity)| {
        let sum = used.get(*name).copied().unwrap_or_default() + **more;
        **more > Quantity::ZERO && hard.get(*name).is_some_and(|most| sum > *most)
    };
    let over: Resources = requested.iter().filter(over).map(|(name, amount)| (name.clone(), *amount)).collect();
    if over.is_empty() {
        return None;
    }
    let (used, hard) = (shown(&mask(used, &over)), shown(&mask(hard, &over)));
    Some(format!("exceeded quota: {name}, requested: {}, used: {used}, limited: {hard}", shown(&over)))
}
