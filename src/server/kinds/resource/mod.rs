//! Kinds of resource.k8s.io: requests for devices and offers of them.

mod claim;
pub mod device_class;
mod devices;
pub mod resource_claim;
pub mod resource_claim_template;
pub mod resource_slice;
mod status;

#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::{driver_name, labels, named};

const IDENTIFIER_MAX: usize = 32;
const BINDING_MAX: usize = 4;

/// Whether a list is short enough to be looked into; one that is not is an error.
fn short_enough(errors: &mut Errors, path: &Path, length: usize, max: usize) -> bool {
    if length > max {
        errors.push(Error::too_many(path, length, max));
    }
    length <= max
}

/// Names that must differ.
fn unique(errors: &mut Errors, path: &Path, keys: &[&str]) {
    for (at, key) in keys.iter().enumerate().filter(|(at, key)| keys[..*at].contains(key)) {
        errors.push(Error::duplicate(&path.index(at), *key));
    }
}

/// Subdomains with slashes between.
fn pool_name(errors: &mut Errors, path: &Path, name: &str) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    if name.len() > names::SUBDOMAIN_MAX {
        errors.push(Error::too_long(path, names::SUBDOMAIN_MAX));
    }
    for part in name.split('/') {
        named(errors, path, part, names::dns1123_subdomain(part));
    }
}

/// `memory` or `gpu.acme.io/memory`.
fn qualified_name(errors: &mut Errors, path: &Path, name: &str) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [only] => identifier(errors, path, only),
        [domain, name] => {
            match domain {
                "" => errors.push(Error::invalid(path, "", "the domain must not be empty")),
                domain => driver_name(errors, path, domain),
            }
            match name {
                "" => errors.push(Error::invalid(path, "", "the name must not be empty")),
                name => identifier(errors, path, name),
            }
        }
        // Upstream lets more slashes pass.
        _ => {}
    }
}

/// A share of a device, by its UUID. Also a UUID without hyphens, in braces or as a URN is read, but never meant.
fn share(errors: &mut Errors, path: &Path, id: Option<&String>) {
    let Some(id) = id else { return };
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    let detail = match id.len() {
        36 if !id.bytes().enumerate().all(fits) => "error validating uid: invalid UUID format".to_owned(),
        36 if !id.contains(|letter: char| letter.is_ascii_uppercase()) => return,
        32 | 36 | 38 | 45 => "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters".to_owned(),
        length => format!("error validating uid: invalid UUID length: {length}"),
    };
    errors.push(Error::invalid(&path.child("shareID"), id.as_str(), detail));
}

/// The conditions that a device must meet, or must not, before a pod is bound: both lists or none.
fn binding(errors: &mut Errors, path: &Path, met: Option<&Vec<String>>, failed: Option<&Vec<String>>) {
    const MET: &str = "bindingConditions";
    const FAILED: &str = "bindingFailureConditions";
    let lists = [(MET, met.map_or(&[][..], Vec::as_slice)), (FAILED, failed.map_or(&[][..], Vec::as_slice))];
    for (field, list) in lists {
        let path = path.child(field);
        if short_enough(errors, &path, list.len(), BINDING_MAX) {
            for (at, condition) in list.iter().enumerate() {
                labels::label_name(errors, &path.index(at), condition);
            }
        }
    }
    let [(_, met), (_, failed)] = lists;
    unique(errors, &path.child(MET), &met.iter().map(String::as_str).collect::<Vec<_>>());
    let path_failed = path.child(FAILED);
    for (at, condition) in failed.iter().enumerate() {
        if failed[..at].contains(condition) {
            errors.push(Error::duplicate(&path_failed.index(at), condition.as_str()));
        }
        if met.contains(condition) {
            let detail = "bindingFailureConditions must not overlap with bindingConditions";
            errors.push(Error::invalid(&path_failed.index(at), condition.as_str(), detail));
        }
    }
    match (met, failed) {
        ([], [_, ..]) => {
            let detail = "bindingConditions are required to use bindingFailureConditions";
            errors.push(Error::invalid(&path.child(MET), Value::Null, detail));
        }
        ([_, ..], []) => {
            let detail = "bindingFailureConditions are required to use bindingConditions";
            errors.push(Error::invalid(&path_failed, Value::Null, detail));
        }
        _ => {}
    }
}

fn identifier(errors: &mut Errors, path: &Path, name: &str) {
    if name.len() > IDENTIFIER_MAX {
        errors.push(Error::too_long(path, IDENTIFIER_MAX));
    }
    named(errors, path, name, names::c_identifier(name));
}
