//! Names of resources and what may be counted of each: in containers, quotas, limit ranges, nodes and claims.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::{NOT_NEGATIVE, named, quantity};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::quantity::Quantity;

pub const NOT_INTEGER: &str = "must be an integer";

/// Objects that quotas count, by the plural of their kind.
const COUNTED: &[&str] = &[
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];
const COMPUTE: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// Whether a resource is one of the cluster's own, whose name has no foreign domain.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

pub fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether more can be promised than there is.
pub fn overcommits(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// A resource of somebody else's: it has a domain, and room for the prefix that quotas put in front.
pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

fn is_integer(name: &str) -> bool {
    COUNTED.contains(&name) || is_extended(name)
}

fn of_container(name: &str) -> bool {
    COMPUTE.contains(&name) || is_huge_page(name)
}

/// What a quota may limit without a domain in the name.
pub fn of_quota(name: &str) -> bool {
    let unprefixed = ["requests.", "limits."].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let huge = is_huge_page(name) || name.starts_with("requests.hugepages-");
    COUNTED.contains(&name) || COMPUTE.contains(&unprefixed) || name == "requests.storage" || huge
}

/// A name that is qualified, or one of the cluster's own; whether it is.
pub fn name(errors: &mut Errors, path: &Path, name: &str) -> bool {
    let problems = names::qualified_name(name);
    let qualified = problems.is_empty();
    named(errors, path, name, problems);
    if qualified && !name.contains('/') && !of_quota(name) && name != "storage" {
        errors.push(Error::invalid(path, name, "must be a standard resource type or fully qualified"));
        return false;
    }
    qualified
}

pub fn container_name(errors: &mut Errors, path: &Path, name: &str) {
    self::name(errors, path, name);
    if !name.contains('/') {
        if !of_container(name) {
            errors.push(Error::invalid(path, name, "must be a standard resource for containers"));
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.push(Error::invalid(path, name, "doesn't follow extended resource name standard"));
    }
}

/// A resource that can be given to a pod as a whole (KEP-2837).
pub fn pod_name(errors: &mut Errors, path: &Path, name: &str) {
    if self::name(errors, path, name) && !is_pod_level(name) {
        errors.push(Error::not_supported(path, name, &["cpu", "hugepages-", "memory"]));
    }
}

pub fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge_page(name)
}

pub fn quota_name(errors: &mut Errors, path: &Path, name: &str) {
    self::name(errors, path, name);
    if !name.contains('/') && !of_quota(name) {
        errors.push(Error::invalid(path, name, "must be a standard resource for quota"));
    }
}

/// An amount of a resource: not negative, and whole where the resource cannot be split. What was read of it.
pub fn amount(errors: &mut Errors, path: &Path, name: &str, wire: &Wire) -> Option<Quantity> {
    let amount = quantity(errors, path, wire)?;
    if amount.is_negative() {
        errors.push(Error::invalid(path, amount.to_string(), NOT_NEGATIVE));
    }
    if is_integer(name) && amount.milli() % 1000 != 0 {
        errors.push(Error::invalid(path, amount.to_string(), NOT_INTEGER));
    }
    Some(amount)
}

/// What a quota limits or counts.
pub fn quota_list(errors: &mut Errors, path: &Path, list: Option<&BTreeMap<String, Wire>>) {
    for (name, wire) in list.into_iter().flatten() {
        let path = path.key(name);
        quota_name(errors, &path, name);
        amount(errors, &path, name, wire);
    }
}

/// Whether an amount of huge pages is a whole number of them.
pub fn fits_pages(name: &str, amount: Quantity) -> bool {
    let Some(Ok(size)) = name.strip_prefix("hugepages-").map(Quantity::parse) else { return false };
    size > Quantity::ZERO && size.is_integer() && amount.value() % size.value() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_places() {
        let cases: [(&str, bool, bool, bool); 9] = [
            ("cpu", true, true, false),
            ("hugepages-2Mi", true, true, false),
            ("requests.cpu", false, true, false),
            ("requests.storage", false, true, false),
            ("requests.hugepages-1Gi", false, true, false),
            ("pods", false, true, false),
            ("storage", false, false, false),
            ("example.com/gpu", false, false, true),
            ("requests.example.com/gpu", false, false, false),
        ];
        for (name, container, quota, extended) in cases {
            assert_eq!((of_container(name), of_quota(name), is_extended(name)), (container, quota, extended), "{name}");
        }
        assert!(fits_pages("hugepages-2Mi", Quantity::parse("4Mi").unwrap()));
        assert!(!fits_pages("hugepages-2Mi", Quantity::parse("3Mi").unwrap()));
    }
}
