//! What a container or pod asks for and may use.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::super::{NOT_NEGATIVE, one_of, quantity, text};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::quantity::Quantity;

const STANDARD: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// Whether a resource is one of the node's own, whose name has no foreign domain.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.starts_with("kubernetes.io/")
}

/// Whether more can be promised than there is.
fn overcommits(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

/// Requests and limits, each alone and against each other; `claims` are those of the pod.
pub fn requirements(errors: &mut Errors, path: &Path, needs: &ResourceRequirements, claims: &[&str]) {
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    let empty = BTreeMap::new();
    let limits = needs.limits.as_ref().unwrap_or(&empty);
    let requests = needs.requests.as_ref().unwrap_or(&empty);
    let limited = list(errors, &limits_path, limits);
    let requested = list(errors, &requests_path, requests);
    for (name, request) in &requested {
        match limited.get(name) {
            Some(limit) if request != limit && !overcommits(name) => {
                let detail = format!("must be equal to {name} limit of {limit}");
                errors.push(Error::invalid(&requests_path, request.to_string(), detail));
            }
            Some(limit) if request > limit => {
                let detail = format!("must be less than or equal to {name} limit of {limit}");
                errors.push(Error::invalid(&requests_path, request.to_string(), detail));
            }
            None if !overcommits(name) => {
                errors.push(Error::required(&limits_path, "Limit must be set for non overcommitable resources"));
            }
            _ => {}
        }
    }
    for (at, claim) in needs.claims.iter().flatten().enumerate() {
        let path = path.child("claims").index(at).child("name");
        if claim.name.is_empty() {
            errors.push(Error::required(&path, ""));
        } else if !claims.contains(&claim.name.as_str()) {
            errors.push(Error::not_found(&path, claim.name.as_str()));
        }
    }
}

/// Amounts by resource name; gives those that could be read.
pub fn list<'a>(errors: &mut Errors, path: &Path, list: &'a BTreeMap<String, Wire>) -> BTreeMap<&'a str, Quantity> {
    let mut read = BTreeMap::new();
    for (name, wire) in list {
        let path = path.key(name);
        resource_name(errors, &path, name);
        let Some(amount) = quantity(errors, &path, wire) else { continue };
        if amount.is_negative() {
            errors.push(Error::invalid(&path, amount.to_string(), NOT_NEGATIVE));
        }
        if !is_native(name) && !amount.is_integer() {
            errors.push(Error::invalid(&path, amount.to_string(), "must be an integer"));
        }
        read.insert(name.as_str(), amount);
    }
    read
}

fn resource_name(errors: &mut Errors, path: &Path, name: &str) {
    let problems = names::qualified_name(name);
    if !problems.is_empty() {
        super::named(errors, path, name, problems);
        return;
    }
    if !name.contains('/') {
        if !STANDARD.contains(&name) && !name.starts_with("hugepages-") {
            errors.push(Error::invalid(path, name, "must be a standard resource for containers"));
        }
    } else if !is_native(name) && name.starts_with("requests.") {
        errors.push(Error::invalid(path, name, "doesn't follow extended resource name standard"));
    }
}

pub fn resize_policy(errors: &mut Errors, path: &Path, container: &Container, restart_policy: &str) {
    let mut seen = Vec::new();
    for (at, policy) in container.resize_policy.iter().flatten().enumerate() {
        let name = policy.resource_name.as_str();
        if seen.contains(&name) {
            errors.push(Error::duplicate(&path.index(at), name));
        }
        seen.push(name);
        one_of(errors, path, name, &["cpu", "memory"]);
        one_of(errors, path, &policy.restart_policy, &["NotRequired", "RestartContainer"]);
        let never = restart_policy == "Never" && text(&container.restart_policy) != "Always";
        if never && policy.restart_policy != "NotRequired" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.push(Error::invalid(path, policy.restart_policy.as_str(), detail));
        }
    }
}
