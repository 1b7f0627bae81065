//! Rules that several kinds of storage.k8s.io share.

use std::collections::BTreeMap;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::named;

const PARAMETERS_MAX: usize = 512;
/// Bytes of all keys and values together.
pub const MAP_MAX: usize = 256 * 1024;

pub fn size(map: Option<&BTreeMap<String, String>>) -> usize {
    map.into_iter().flatten().map(|(key, value)| key.len() + value.len()).sum()
}

/// Who provisions or modifies volumes: a qualified name, whatever its case.
pub fn provisioner(errors: &mut Errors, path: &Path, name: &str) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
    } else {
        let name = name.to_lowercase();
        named(errors, path, &name, names::qualified_name(&name));
    }
}

pub fn parameters(errors: &mut Errors, path: &Path, parameters: Option<&BTreeMap<String, String>>) {
    if parameters.is_some_and(|parameters| parameters.len() > PARAMETERS_MAX) {
        errors.push(Error::too_long(path, PARAMETERS_MAX));
        return;
    }
    if parameters.is_some_and(|parameters| parameters.contains_key("")) {
        errors.push(Error::invalid(path, "", "field can not be empty."));
    }
    if size(parameters) > MAP_MAX {
        errors.push(Error::too_long(path, MAP_MAX));
    }
}
