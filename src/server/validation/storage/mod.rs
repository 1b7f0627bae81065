//! Storage of the cluster: claims to it, and the volumes that they are bound to.

mod claim;
mod volume;
mod warnings;

pub use claim::{change as claim_change, claim, status as claim_status};
pub use volume::{change as volume_change, inline as inline_volume, volume};
pub use warnings::warnings as volume_warnings;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::quantity;
use crate::api::field::{Error, Errors, Path};

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// `missing` is what is said where there is none.
fn access_modes(errors: &mut Errors, path: &Path, modes: &[String], missing: &str) {
    if modes.is_empty() {
        errors.push(Error::required(path, missing));
    }
    let known = |mode: &&String| MODES.contains(&mode.as_str());
    for mode in modes.iter().filter(|mode| !known(mode)) {
        errors.push(Error::not_supported(path, mode.as_str(), MODES));
    }
    let alone = |mode: &String| mode == "ReadWriteOncePod";
    if modes.iter().any(alone) && modes.iter().filter(known).any(|mode| !alone(mode)) {
        errors.push(Error::forbidden(path, "may not use ReadWriteOncePod with other access modes"));
    }
}

/// An amount that is a whole number of bytes at least.
fn basic(errors: &mut Errors, path: &Path, wire: &Wire) -> bool {
    let Some(amount) = quantity(errors, path, wire) else { return false };
    if amount.value() < 0 {
        errors.push(Error::invalid(path, amount.value(), "must be a valid resource quantity"));
    }
    amount.value() >= 0
}
