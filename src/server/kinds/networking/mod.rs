//! Kinds of networking.k8s.io.

pub mod ingress;
pub mod ingress_class;
pub mod ip_address;
pub mod network_policy;
pub mod service_cidr;

#[cfg(test)]
mod tests;

use crate::api::field::{Errors, Path};
use crate::api::names;
use crate::server::validation::{named, required_name};

/// What an Ingress or its class points at by group, kind and name.
fn reference(errors: &mut Errors, path: &Path, group: Option<&str>, kind: &str, name: &str) {
    if let Some(group) = group {
        named(errors, &path.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
    for (field, value) in [("kind", kind), ("name", name)] {
        required_name(errors, &path.child(field), value, names::path_segment_name);
    }
}
