//! What a claim asks for: requests, constraints between them, configuration for the drivers.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::api::resource::v1::{
    DeviceClaim, DeviceConstraint, DeviceRequest, DeviceSelector, DeviceToleration, OpaqueDeviceConfiguration,
};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;

use super::{qualified_name, short_enough, unique};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::defaults::{number, text as default_text};
use crate::server::validation::cel::{self, Below, Decl, Environment, Sizes, Type};
use crate::server::validation::{self, labels, named, text};

const LIST_MAX: usize = 32;
const FIRST_AVAILABLE_MAX: usize = 8;
const EXPRESSION_MAX: usize = 10 * 1024;
/// What a selector may cost, in CEL's units.
const COST_MAX: u64 = 1_000_000;
/// Of a device: how many attributes or capacities, how long their domains, their names and their values.
const ENTRIES_MAX: u64 = 32;
const DOMAIN_MAX: u64 = 63;
const NAME_MAX: u64 = 32;
const VALUE_MAX: u64 = 64;
pub const RAW_MAX: usize = 10 * 1024;

/// How many devices of what, where a request leaves it out.
pub fn complete(claim: &mut DeviceClaim) {
    for request in claim.requests.iter_mut().flatten() {
        let exactly = request.exactly.iter_mut();
        let parts = exactly.map(|request| (&mut request.allocation_mode, &mut request.count, &mut request.tolerations));
        let subs = request.first_available.iter_mut().flatten();
        let subs = subs.map(|request| (&mut request.allocation_mode, &mut request.count, &mut request.tolerations));
        for (mode, count, tolerations) in parts.chain(subs) {
            default_text(mode, "ExactCount");
            if mode.as_deref() == Some("ExactCount") {
                number(count, 1);
            }
            for toleration in tolerations.iter_mut().flatten() {
                default_text(&mut toleration.operator, "Equal");
            }
        }
    }
}

/// One way to fulfil a request.
struct Wanted<'a> {
    class: &'a str,
    selectors: &'a [DeviceSelector],
    mode: &'a str,
    count: i64,
    tolerations: &'a [DeviceToleration],
}

macro_rules! wanted {
    ($request:expr) => {
        Wanted {
            class: &$request.device_class_name,
            selectors: $request.selectors.as_deref().unwrap_or_default(),
            mode: text(&$request.allocation_mode),
            count: $request.count.unwrap_or(0),
            tolerations: $request.tolerations.as_deref().unwrap_or_default(),
        }
    };
}

pub fn claim(errors: &mut Errors, path: &Path, claim: &DeviceClaim) {
    let requests = claim.requests.as_deref().unwrap_or_default();
    let here = path.child("requests");
    if short_enough(errors, &here, requests.len(), LIST_MAX) {
        for (at, one) in requests.iter().enumerate() {
            request(errors, &here.index(at), one);
        }
        unique(errors, &here, &requests.iter().map(|request| request.name.as_str()).collect::<Vec<_>>());
    }
    let here = path.child("constraints");
    let constraints = claim.constraints.as_deref().unwrap_or_default();
    if short_enough(errors, &here, constraints.len(), LIST_MAX) {
        for (at, one) in constraints.iter().enumerate() {
            constraint(errors, &here.index(at), one, requests);
        }
    }
    let here = path.child("config");
    let configuration = claim.config.as_deref().unwrap_or_default();
    if short_enough(errors, &here, configuration.len(), LIST_MAX) {
        for (at, one) in configuration.iter().enumerate() {
            let path = here.index(at);
            references(errors, &path.child("requests"), one.requests.as_deref().unwrap_or_default(), requests);
            opaque(errors, &path.child("opaque"), one.opaque.as_ref());
        }
    }
}

fn request(errors: &mut Errors, path: &Path, request: &DeviceRequest) {
    named(errors, &path.child("name"), &request.name, names::dns1123_label(&request.name));
    let subs = request.first_available.as_deref().unwrap_or_default();
    match (&request.exactly, subs) {
        (None, []) => {
            errors.push(Error::required(path, "exactly one of `exactly` or `firstAvailable` is required"));
        }
        (Some(_), [_, ..]) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.push(Error::invalid(path, serde_json::Value::Null, detail));
        }
        (Some(exactly), []) => wanted(errors, &path.child("exactly"), &wanted!(exactly)),
        (None, subs) => {
            let path = path.child("firstAvailable");
            if !short_enough(errors, &path, subs.len(), FIRST_AVAILABLE_MAX) {
                return;
            }
            for (at, sub) in subs.iter().enumerate() {
                let path = path.index(at);
                named(errors, &path.child("name"), &sub.name, names::dns1123_label(&sub.name));
                wanted(errors, &path, &wanted!(sub));
            }
            unique(errors, &path, &subs.iter().map(|sub| sub.name.as_str()).collect::<Vec<_>>());
        }
    }
}

fn wanted(errors: &mut Errors, path: &Path, wanted: &Wanted) {
    validation::required_name(errors, &path.child("deviceClassName"), wanted.class, names::dns1123_subdomain);
    selectors(errors, &path.child("selectors"), wanted.selectors);
    let here = path.child("count");
    match (wanted.mode, wanted.count) {
        ("All", 0) | ("ExactCount", 1..) => {}
        ("All", count) => {
            errors.push(Error::invalid(&here, count, "must not be specified when allocationMode is 'All'"));
        }
        ("ExactCount", count) => errors.push(Error::invalid(&here, count, validation::POSITIVE)),
        (mode, _) => errors.push(Error::not_supported(&path.child("allocationMode"), mode, &["All", "ExactCount"])),
    }
    for (at, one) in wanted.tolerations.iter().enumerate() {
        toleration(errors, &path.child("tolerations").index(at), one);
    }
}

pub fn selectors(errors: &mut Errors, path: &Path, selectors: &[DeviceSelector]) {
    if !short_enough(errors, path, selectors.len(), LIST_MAX) {
        return;
    }
    for (at, selector) in selectors.iter().enumerate() {
        let path = path.index(at).child("cel");
        match &selector.cel {
            None => errors.push(Error::required(&path, "")),
            Some(cel) if cel.expression.len() > EXPRESSION_MAX => {
                errors.push(Error::too_long(&path.child("expression"), EXPRESSION_MAX));
            }
            Some(selector) => cel_selector(errors, &path.child("expression"), &selector.expression),
        }
    }
}

/// What a selector sees of a device, and how large that may be.
static DEVICE: LazyLock<(Environment, Decl)> = LazyLock::new(|| {
    let by_name = |of: Decl| {
        let names = Decl::map(NAME_MAX, of, ENTRIES_MAX);
        Decl::map(DOMAIN_MAX, names, ENTRIES_MAX)
    };
    let fields = BTreeMap::from([
        ("driver".to_owned(), Decl::new(Type::String, DOMAIN_MAX, 2)),
        ("attributes".to_owned(), by_name(Decl::new(Type::Any, VALUE_MAX, 1))),
        ("capacity".to_owned(), by_name(Decl::new(Type::Opaque("kubernetes.Quantity"), 0, 8))),
        ("allowMultipleAllocations".to_owned(), Decl::new(Type::Bool, 0, 4)),
    ]);
    let types: Vec<_> = fields.iter().map(|(name, field)| (name.as_str(), field.of.clone())).collect();
    let of = Type::object("kubernetes.DRADevice", &types);
    let variables = vec![("device", of.clone())];
    let device = Decl { below: Below::Fields(fields), ..Decl::new(of, 0, 2) };
    (Environment { variables, bindings: true, ..Environment::default() }, device)
});

/// An attribute may be of any type, and so may be what a selector gives.
fn cel_selector(errors: &mut Errors, path: &Path, expression: &str) {
    let (environment, device) = &*DEVICE;
    let sizes = Sizes { root: device, variable: Some("device") };
    let detail = match cel::compile_within(expression, environment, Some(sizes)) {
        Err(issues) => format!("compilation failed: {issues}"),
        Ok((Type::Bool | Type::Any, cost)) => {
            if cost > COST_MAX {
                errors.push(Error::forbidden(path, "too complex, exceeds cost limit"));
            }
            return;
        }
        Ok((found, _)) => format!("must evaluate to bool or the unknown type, not {}", found.shown(false)),
    };
    errors.push(Error::invalid(path, expression, detail));
}

fn toleration(errors: &mut Errors, path: &Path, toleration: &DeviceToleration) {
    let (key, value) = (text(&toleration.key), text(&toleration.value));
    if !key.is_empty() {
        labels::label_name(errors, &path.child("key"), key);
    }
    let here = path.child("value");
    match text(&toleration.operator) {
        "Exists" if !value.is_empty() => {
            errors.push(Error::invalid(&here, value, "must be empty for operator `Exists`"));
        }
        "Exists" => {}
        "Equal" => named(errors, &here, value, names::label_value(value)),
        "" => errors.push(Error::required(&path.child("operator"), "")),
        other => errors.push(Error::not_supported(&path.child("operator"), other, &["Equal", "Exists"])),
    }
    let effect = text(&toleration.effect);
    if !matches!(effect, "" | "NoExecute" | "NoSchedule" | "None") {
        errors.push(Error::not_supported(&path.child("effect"), effect, &["NoExecute", "NoSchedule", "None"]));
    }
}

fn constraint(errors: &mut Errors, path: &Path, constraint: &DeviceConstraint, requests: &[DeviceRequest]) {
    references(errors, &path.child("requests"), constraint.requests.as_deref().unwrap_or_default(), requests);
    let mut attribute = |field: &str, name: &str| {
        let path = path.child(field);
        qualified_name(errors, &path, name);
        if !name.contains('/') {
            let detail = "a fully qualified name must be a domain and a name separated by a slash";
            errors.push(Error::invalid(&path, name, detail));
        }
    };
    match (&constraint.match_attribute, &constraint.distinct_attribute) {
        (Some(name), _) => attribute("matchAttribute", name),
        (None, Some(name)) => attribute("distinctAttribute", name),
        (None, None) => {
            let detail =
                "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
            errors.push(Error::required(path, detail));
        }
    }
}

/// Requests by name, with their alternatives after a slash.
pub fn references(errors: &mut Errors, path: &Path, given: &[String], requests: &[DeviceRequest]) {
    if !short_enough(errors, path, given.len(), LIST_MAX) {
        return;
    }
    for (at, name) in given.iter().enumerate() {
        reference(errors, &path.index(at), name, requests);
    }
    unique(errors, path, &given.iter().map(String::as_str).collect::<Vec<_>>());
}

pub fn reference(errors: &mut Errors, path: &Path, name: &str, requests: &[DeviceRequest]) {
    let parts: Vec<_> = name.split('/').collect();
    if parts.len() <= 2 {
        for part in &parts {
            named(errors, path, part, names::dns1123_label(part));
        }
    }
    let subs =
        |request: &DeviceRequest, wanted: &str| request.first_available.iter().flatten().any(|sub| sub.name == wanted);
    let known = match parts[..] {
        [name] => requests.iter().any(|request| request.name == name),
        [name, sub] => requests.iter().any(|request| request.name == name && subs(request, sub)),
        _ => false,
    };
    if !known {
        let detail =
            "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        errors.push(Error::invalid(path, name, detail));
    }
}

pub fn opaque(errors: &mut Errors, path: &Path, configuration: Option<&OpaqueDeviceConfiguration>) {
    let Some(configuration) = configuration else {
        errors.push(Error::required(path, ""));
        return;
    };
    validation::driver_name(errors, &path.child("driver"), &configuration.driver);
    raw(errors, &path.child("parameters"), &configuration.parameters);
}

/// An object that only the driver understands.
pub fn raw(errors: &mut Errors, path: &Path, raw: &RawExtension) {
    let value = &raw.0;
    if value.is_null() {
        errors.push(Error::required(path, ""));
    } else if value.to_string().len() > RAW_MAX {
        errors.push(Error::too_long(path, RAW_MAX));
    } else if !value.is_object() {
        errors.push(Error::invalid(path, "<value omitted>", "must be a valid JSON object"));
    }
}
