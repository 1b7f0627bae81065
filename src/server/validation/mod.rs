//! Validation that kinds share, with upstream's reasons, paths and words. Pure; called by the strategies.

pub mod cel;
pub mod certificate;
pub mod conditions;
pub mod data;
mod diff;
pub mod event;
pub mod internal;
pub mod job;
pub mod key_pair;
pub mod labels;
pub mod network;
pub mod paths;
pub mod pattern;
pub mod pod;
pub mod resources;
pub mod semantic;
pub mod signer_name;
pub mod storage;
pub mod union;
pub mod volume_source;
pub mod warnings;
pub mod webhook;
pub mod workload;

use std::collections::BTreeMap;
use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::quantity::Quantity;

pub const IMMUTABLE: &str = "field is immutable";
pub const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
pub const POSITIVE: &str = "must be greater than zero";

/// Any part of an object as the value of an error.
pub fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// An object as upstream shows one of its internal types: names of Go, in the order of their declaration.
pub fn record(fields: &[(&str, Value)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// The text of an optional field; absent is empty.
pub fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

/// One error for each problem that a name has.
pub fn named(errors: &mut Errors, path: &Path, value: &str, problems: Vec<String>) {
    errors.extend(problems.into_iter().map(|problem| Error::invalid(path, value, problem)));
}

/// A name that must be there.
pub fn required_name(errors: &mut Errors, path: &Path, value: &str, check: impl Fn(&str) -> Vec<String>) {
    if value.is_empty() {
        errors.push(Error::required(path, ""));
    } else {
        named(errors, path, value, check(value));
    }
}

pub fn required(errors: &mut Errors, path: &Path, value: &str) {
    if value.is_empty() {
        errors.push(Error::required(path, ""));
    }
}

/// One of a few words; empty counts as missing.
pub fn one_of(errors: &mut Errors, path: &Path, value: &str, supported: &[&str]) {
    if value.is_empty() {
        errors.push(Error::required(path, ""));
    } else if !supported.contains(&value) {
        errors.push(Error::not_supported(path, value, supported));
    }
}

/// One of a few words, told in the order given; empty counts as missing.
pub fn one_in_order(errors: &mut Errors, path: &Path, value: &str, supported: &[&str]) {
    if value.is_empty() {
        errors.push(Error::required(path, ""));
    } else if !supported.contains(&value) {
        errors.push(Error::not_supported_in_order(path, value, supported));
    }
}

/// The same where nothing at all is fine too.
pub fn optional_in_order(errors: &mut Errors, path: &Path, value: &Option<String>, supported: &[&str]) {
    if let Some(value) = value.as_deref().filter(|value| !supported.contains(value)) {
        errors.push(Error::not_supported_in_order(path, value, supported));
    }
}

/// The same where nothing at all is fine too.
pub fn optional_one_of(errors: &mut Errors, path: &Path, value: &Option<String>, supported: &[&str]) {
    if let Some(value) = value.as_deref().filter(|value| !supported.contains(value)) {
        errors.push(Error::not_supported(path, value, supported));
    }
}

pub fn not_negative(errors: &mut Errors, path: &Path, value: impl Into<i64>) {
    let value = value.into();
    if value < 0 {
        errors.push(Error::invalid(path, value, NOT_NEGATIVE));
    }
}

pub fn optional_not_negative<N: Into<i64> + Copy>(errors: &mut Errors, path: &Path, value: Option<N>) {
    if let Some(value) = value {
        not_negative(errors, path, value);
    }
}

pub fn immutable<T: Serialize + PartialEq>(errors: &mut Errors, path: &Path, new: &T, old: &T) {
    if new != old && !semantic::same(new, old) {
        errors.push(Error::invalid(path, json(new), IMMUTABLE));
    }
}

/// A counter that a status shows and that never goes back.
pub fn not_decremented(errors: &mut Errors, path: &Path, new: Option<i32>, old: Option<i32>) {
    if old.is_some_and(|old| new.is_none_or(|new| new < old)) {
        errors.push(Error::invalid(path, new.unwrap_or(0), "cannot be decremented"));
    }
}

/// `acme.io/foo`: who manages something.
pub fn domain_prefixed_path(errors: &mut Errors, path: &Path, value: &str) {
    const WORDS: &str = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
    if value.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    let parts = value.split_once('/').filter(|(host, rest)| !host.is_empty() && !rest.is_empty());
    let Some((host, rest)) = parts else {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(Error::invalid(path, value, detail));
        return;
    };
    named(errors, path, host, names::dns1123_subdomain(host));
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    if !rest.bytes().all(fits) {
        errors.push(Error::invalid(path, rest, WORDS));
    }
}

/// Duplicates among the items of a list.
pub fn unique<'a>(errors: &mut Errors, path: &Path, child: &str, items: impl Iterator<Item = &'a str>) {
    let mut seen = HashSet::new();
    for (at, item) in items.enumerate() {
        if !item.is_empty() && !seen.insert(item) {
            errors.push(Error::duplicate(&path.index(at).child(child), item));
        }
    }
}

/// A port by number or by name.
pub fn port(errors: &mut Errors, path: &Path, port: &IntOrString) {
    match port {
        IntOrString::Int(number) => {
            let problems = names::port_number((*number).into());
            errors.extend(problems.into_iter().map(|problem| Error::invalid(path, *number, problem)));
        }
        IntOrString::String(name) => named(errors, path, name, names::port_name(name)),
    }
}

pub fn port_number(errors: &mut Errors, path: &Path, number: i32) {
    let problems = names::port_number(number.into());
    errors.extend(problems.into_iter().map(|problem| Error::invalid(path, number, problem)));
}

/// The port of a Service that the API server calls.
pub fn port_with_words(errors: &mut Errors, path: &Path, number: i32) {
    let problems = names::port_number(number.into());
    if !problems.is_empty() {
        errors.push(Error::invalid(path, number, format!("port is not valid: {}", problems.join(", "))));
    }
}

/// The name of a driver of storage or devices.
pub fn driver_name(errors: &mut Errors, path: &Path, name: &str) {
    if name.is_empty() {
        return errors.push(Error::required(path, ""));
    }
    if name.len() > names::LABEL_MAX {
        errors.push(Error::too_long(path, names::LABEL_MAX));
    }
    named(errors, path, name, names::dns1123_subdomain(&name.to_lowercase()));
}

/// A quantity that can be read; an unreadable one is an error of its own.
pub fn quantity(errors: &mut Errors, path: &Path, wire: &Wire) -> Option<Quantity> {
    match Quantity::parse(&wire.0) {
        Ok(quantity) => Some(quantity),
        Err(error) => {
            errors.push(Error::invalid(path, wire.0.as_str(), error.to_string()));
            None
        }
    }
}

pub fn quantity_not_negative(errors: &mut Errors, path: &Path, wire: &Wire) {
    if quantity(errors, path, wire).is_some_and(Quantity::is_negative) {
        errors.push(Error::invalid(path, wire.0.as_str(), NOT_NEGATIVE));
    }
}

/// A list of quantities by resource name, none of them negative.
pub fn quantities(errors: &mut Errors, path: &Path, list: Option<&BTreeMap<String, Wire>>) {
    for (name, amount) in list.into_iter().flatten() {
        let path = path.key(name);
        named(errors, &path, name, names::qualified_name(name));
        quantity_not_negative(errors, &path, amount);
    }
}

/// A positive number or a percentage.
pub fn int_or_percent(errors: &mut Errors, path: &Path, value: Option<&IntOrString>) {
    match value {
        Some(IntOrString::Int(number)) => not_negative(errors, path, *number),
        Some(IntOrString::String(text)) if percent(text).is_none() => {
            errors.push(Error::invalid(path, text.as_str(), PERCENT));
        }
        None | Some(IntOrString::String(_)) => {}
    }
}

const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// The number of a percentage such as `25%`.
pub fn percent(text: &str) -> Option<i64> {
    let digits = text.strip_suffix('%')?;
    let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    numeric.then(|| digits.parse().unwrap_or(i64::MAX))
}

pub fn at_most_100_percent(errors: &mut Errors, path: &Path, value: Option<&IntOrString>) {
    let Some(IntOrString::String(text)) = value else { return };
    if percent(text).is_some_and(|percent| percent > 100) {
        errors.push(Error::invalid(path, text.as_str(), "must not be greater than 100%"));
    }
}

/// Whether a number or percentage is zero, as is a text that is neither.
pub fn is_zero(value: Option<&IntOrString>) -> bool {
    match value {
        None => true,
        Some(IntOrString::Int(number)) => *number == 0,
        Some(IntOrString::String(text)) => percent(text).or_else(|| text.parse().ok()).unwrap_or(0) == 0,
    }
}

/// Errors as lines, for table tests.
#[cfg(test)]
pub fn lines(errors: &[Error]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}
