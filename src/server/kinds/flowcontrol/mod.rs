//! Kinds of flowcontrol.apiserver.k8s.io.

pub mod flow_schema;
mod mandatory;
pub mod priority_level_configuration;
mod rules;

#[cfg(test)]
mod tests;

use crate::api::field::{Error, Errors, Path};

/// The conditions of a status, by their types: each once, none without a type.
fn conditions(kinds: &[&str]) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("status").child("conditions");
    for (at, kind) in kinds.iter().enumerate() {
        let path = path.index(at).child("type");
        if kinds[..at].contains(kind) {
            errors.push(Error::duplicate(&path, *kind));
        }
        if kind.is_empty() {
            errors.push(Error::required(&path, "must not be empty"));
        }
    }
    errors
}
