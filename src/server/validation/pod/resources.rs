//! What containers ask for and may use.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ResourceClaim, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::super::named;
use super::super::resources::{self, fits_pages, is_huge_page, overcommits};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::quantity::Quantity;

type NameRule = fn(&mut Errors, &Path, &str);
type Read<'a> = BTreeMap<&'a str, Quantity>;

/// `claims` are those of the pod.
pub fn of_container(errors: &mut Errors, path: &Path, needs: &ResourceRequirements, claims: &[&str]) {
    requirements(errors, path, needs, resources::container_name);
    claim_names(errors, &path.child("claims"), needs.claims.as_deref().unwrap_or_default(), claims);
}

/// What is added to a pod's containers for its sandbox is counted as a limit.
pub fn overhead(errors: &mut Errors, path: &Path, overhead: &BTreeMap<String, Wire>) {
    let needs = ResourceRequirements { limits: Some(overhead.clone()), ..Default::default() };
    requirements(errors, path, &needs, resources::container_name);
}

/// Requests and limits, each alone and against each other.
pub fn requirements(errors: &mut Errors, path: &Path, needs: &ResourceRequirements, name_rule: NameRule) {
    let empty = BTreeMap::new();
    let (limits, requests) = (needs.limits.as_ref().unwrap_or(&empty), needs.requests.as_ref().unwrap_or(&empty));
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    let limited = list(errors, &limits_path, limits, name_rule, |_, _, _| {});
    let requested = list(errors, &requests_path, requests, name_rule, |errors, name, request| {
        let problem = match limited.get(name) {
            Some(limit) if request != *limit && !overcommits(name) => {
                format!("must be equal to {name} limit of {limit}")
            }
            Some(limit) if request > *limit => format!("must be less than or equal to {name} limit of {limit}"),
            None if !overcommits(name) => {
                let detail = "Limit must be set for non overcommitable resources";
                return errors.push(Error::required(&limits_path, detail));
            }
            _ => return,
        };
        errors.push(Error::invalid(&requests_path, request.to_string(), problem));
    });
    let names: BTreeSet<_> = limited.keys().chain(requested.keys()).collect();
    let compute = names.iter().any(|name| ["cpu", "memory"].contains(*name));
    if !compute && names.iter().any(|name| is_huge_page(name)) {
        errors.push(Error::forbidden(path, "HugePages require cpu or memory"));
    }
}

/// Amounts by resource name, with what `also` says of each; gives those that could be read.
fn list<'a>(
    errors: &mut Errors,
    path: &Path,
    list: &'a BTreeMap<String, Wire>,
    name_rule: NameRule,
    also: impl Fn(&mut Errors, &str, Quantity),
) -> Read<'a> {
    let mut read = BTreeMap::new();
    for (name, wire) in list {
        let path = path.key(name);
        name_rule(errors, &path, name);
        let Some(amount) = resources::amount(errors, &path, name, wire) else { continue };
        also(errors, name, amount);
        if is_huge_page(name) && !fits_pages(name, amount) {
            let detail = format!("{amount} is not positive integer multiple of {name}");
            errors.push(Error::invalid(&path, amount.to_string(), detail));
        }
        read.insert(name.as_str(), amount);
    }
    read
}

/// Claims that a container uses are the pod's, each once: a whole claim, or single requests of it.
fn claim_names(errors: &mut Errors, path: &Path, claims: &[ResourceClaim], of_pod: &[&str]) {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for (at, claim) in claims.iter().enumerate() {
        let path = path.index(at);
        let name = claim.name.as_str();
        if name.is_empty() {
            errors.push(Error::required(&path, ""));
            continue;
        }
        let request = claim.request.as_deref().filter(|request| !request.is_empty());
        if used.contains(name) {
            errors.push(Error::duplicate(&path, name));
        } else {
            if let Some(request) = request {
                named(errors, &path.child("request"), request, names::dns1123_label(request));
            }
            let key = request.map_or_else(|| name.to_owned(), |request| format!("{name}/{request}"));
            let overlaps = used.iter().filter(|other| other.split_once('/').is_some_and(|(other, _)| other == name));
            if used.contains(&key) {
                errors.push(Error::duplicate(&path, key.as_str()));
            } else if request.is_none() {
                errors.extend(overlaps.map(|_| Error::duplicate(&path, name)));
            }
            used.insert(key);
        }
        if !of_pod.contains(&name) {
            let mut known = of_pod.to_vec();
            known.sort_unstable();
            let known = if known.is_empty() { " which is empty".to_owned() } else { format!(": {}", known.join(", ")) };
            let detail = format!("must be one of the names in pod.spec.resourceClaims{known}");
            errors.push(Error::not_found(&path, name).because(&detail));
        }
    }
}
