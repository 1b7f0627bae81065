//! Paths of files in volumes and containers.

use super::required;
use crate::api::field::{Error, Errors, Path};

/// The permission bits of a file, where they are given.
pub fn mode(errors: &mut Errors, path: &Path, mode: Option<i32>) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        errors.push(Error::invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive"));
    }
}

/// The path of a file in a volume: there, local, and not of the writer's own names.
pub fn file(errors: &mut Errors, path: &Path, file: &str) {
    required(errors, path, file);
    not_reserved(errors, path, file);
}

/// A local path that does not begin as the names of atomic writers do.
pub fn not_reserved(errors: &mut Errors, path: &Path, target: &str) {
    local(errors, path, target);
    if target.starts_with("..") && !target.starts_with("../") {
        errors.push(Error::invalid(path, target, "must not start with '..'"));
    }
}

/// A path that stays below where it starts.
pub fn local(errors: &mut Errors, path: &Path, target: &str) {
    if target.starts_with('/') {
        errors.push(Error::invalid(path, target, "must be a relative path"));
    }
    no_backsteps(errors, path, target);
}

pub fn no_backsteps(errors: &mut Errors, path: &Path, target: &str) {
    if has_backsteps(target) {
        errors.push(Error::invalid(path, target, "must not contain '..'"));
    }
}

pub fn has_backsteps(target: &str) -> bool {
    target.split('/').any(|part| part == "..")
}
