//! Kinds of resource.k8s.io: requests for devices and offers of them. CEL is not looked into here.

mod claim;
pub mod device_class;
mod devices;
pub mod resource_claim;
pub mod resource_claim_template;
pub mod resource_slice;
mod status;

#[cfg(test)]
mod tests;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::{driver_name, named};

const IDENTIFIER_MAX: usize = 32;

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

fn identifier(errors: &mut Errors, path: &Path, name: &str) {
    if name.len() > IDENTIFIER_MAX {
        errors.push(Error::too_long(path, IDENTIFIER_MAX));
    }
    named(errors, path, name, names::c_identifier(name));
}
