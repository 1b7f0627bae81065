//! How a pod is called and how it finds others.

use k8s_openapi::api::core::v1::{PodDNSConfig, PodSpec};

use super::super::{json, named, network, text};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
/// Of the whole search list with its spaces.
const MAX_SEARCH_LENGTH: usize = 2048;
/// What a kernel takes as its name.
const MAX_HOSTNAME: usize = 64;

pub fn config(errors: &mut Errors, path: &Path, config: Option<&PodDNSConfig>, policy: &str) {
    let servers = config.and_then(|config| config.nameservers.as_deref()).unwrap_or_default();
    if policy == "None" && servers.is_empty() {
        return errors.push(match config {
            None => Error::required(path, "must provide `dnsConfig` when `dnsPolicy` is None"),
            Some(_) => {
                let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
                Error::required(&path.child("nameservers"), detail)
            }
        });
    }
    let Some(config) = config else { return };
    if servers.len() > MAX_SERVERS {
        let detail = format!("must not have more than {MAX_SERVERS} nameservers");
        errors.push(Error::invalid(&path.child("nameservers"), json(&servers), detail));
    }
    for (at, server) in servers.iter().enumerate() {
        network::ip(errors, &path.child("nameservers").index(at), server);
    }
    searches(errors, &path.child("searches"), config.searches.as_deref().unwrap_or_default());
    for (at, option) in config.options.iter().flatten().enumerate() {
        if text(&option.name).is_empty() {
            errors.push(Error::required(&path.child("options").index(at), "must not be empty"));
        }
    }
}

fn searches(errors: &mut Errors, path: &Path, searches: &[String]) {
    if searches.len() > MAX_SEARCHES {
        let detail = format!("must not have more than {MAX_SEARCHES} search paths");
        errors.push(Error::invalid(path, json(&searches), detail));
    }
    if searches.join(" ").len() > MAX_SEARCH_LENGTH {
        let detail =
            format!("must not have more than {MAX_SEARCH_LENGTH} characters (including spaces) in the search list");
        errors.push(Error::invalid(path, json(&searches), detail));
    }
    for (at, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        // A trailing dot makes the name absolute; a lone one is the root.
        let name = search.strip_suffix('.').unwrap_or(search);
        named(errors, &path.index(at), name, names::dns1123_subdomain_with_underscore(name));
    }
}

pub fn host_aliases(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    for (at, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = path.index(at);
        network::ip(errors, &path.child("ip"), &alias.ip);
        for (at, name) in alias.hostnames.iter().flatten().enumerate() {
            named(errors, &path.child("hostnames").index(at), name, names::dns1123_subdomain(name));
        }
    }
}

/// The name inside, whatever DNS says (KEP-4762): not together with what would name the pod otherwise.
pub fn hostname_override(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    let Some(name) = &spec.hostname_override else { return };
    let here = path.child("hostnameOverride");
    if spec.set_hostname_as_fqdn == Some(true) {
        errors.push(Error::forbidden(&here, "may not be specified when setHostnameAsFQDN is true"));
    }
    if spec.host_network == Some(true) {
        errors.push(Error::forbidden(&here, "may not be specified when hostNetwork is true"));
    }
    if name.len() > MAX_HOSTNAME {
        errors.push(Error::too_long(&here, MAX_HOSTNAME));
    }
    named(errors, &here, name, names::dns1123_subdomain(name));
}
