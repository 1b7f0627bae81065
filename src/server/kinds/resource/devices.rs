//! What a driver offers: devices with attributes, capacities, taints and counters that they share.

use std::borrow::Cow;

use k8s_openapi::api::resource::v1::{
    CapacityRequestPolicyRange, CounterSet, Device, DeviceAttribute, DeviceCapacity, DeviceTaint, ResourceSliceSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use serde_json::Value;

use super::{IDENTIFIER_MAX, binding, pool_name, qualified_name, short_enough, unique};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::quantity::Quantity;
use crate::server::validation::{self, json, labels, named, pod, text};

const DEVICES_MAX: usize = 128;
/// With taints or counters a device takes more room.
const HEAVY_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
const FACTS_MAX: usize = 32;
const VALUE_MAX: usize = 64;
/// A domain, a slash and an identifier.
const QUALIFIED_MAX: usize = names::LABEL_MAX + 1 + IDENTIFIER_MAX;
const TAINTS_MAX: usize = 16;
const CONSUMPTIONS_MAX: usize = 2;
const VALID_VALUES_MAX: usize = 10;

pub fn slice(errors: &mut Errors, path: &Path, spec: &ResourceSliceSpec, old: Option<&ResourceSliceSpec>) {
    validation::driver_name(errors, &path.child("driver"), &spec.driver);
    let here = path.child("pool");
    pool_name(errors, &here.child("name"), &spec.pool.name);
    if spec.pool.resource_slice_count <= 0 {
        let here = here.child("resourceSliceCount");
        errors.push(Error::invalid(&here, spec.pool.resource_slice_count, validation::POSITIVE));
    }
    if spec.pool.generation < 0 {
        let detail = "must be greater than or equal to zero";
        errors.push(Error::invalid(&here.child("generation"), spec.pool.generation, detail));
    }
    if let Some(old) = old {
        validation::immutable(errors, &here.child("name"), &spec.pool.name, &old.pool.name);
        validation::immutable(errors, &path.child("driver"), &spec.driver, &old.driver);
        validation::immutable(errors, &path.child("nodeName"), &spec.node_name, &old.node_name);
    }
    place(errors, path, spec);
    if spec.shared_counters.is_some() && spec.devices.is_some() {
        errors.push(Error::invalid(path, "", "only one of `sharedCounters` or `devices` is allowed"));
    }
    let devices = spec.devices.as_deref().unwrap_or_default();
    let is_heavy = |device: &Device| {
        device.taints.as_ref().is_some_and(|list| !list.is_empty())
            || device.consumes_counters.as_ref().is_some_and(|list| !list.is_empty())
    };
    let max = if devices.iter().any(is_heavy) { HEAVY_DEVICES_MAX } else { DEVICES_MAX };
    let here = path.child("devices");
    if short_enough(errors, &here, devices.len(), max) {
        let by_device = spec.per_device_node_selection == Some(true);
        let known = |device: &Device| old?.devices.as_ref()?.iter().find(|old| old.name == device.name);
        for (at, one) in devices.iter().enumerate() {
            device(errors, &here.index(at), one, known(one), by_device);
        }
        unique(errors, &here, &devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>());
    }
    let (here, sets) = (path.child("sharedCounters"), spec.shared_counters.as_deref().unwrap_or_default());
    if short_enough(errors, &here, sets.len(), COUNTER_SETS_MAX) {
        for (at, CounterSet { name, counters }) in sets.iter().enumerate() {
            counted(errors, &here.index(at), "name", name, counters.keys());
        }
        unique(errors, &here, &sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>());
    }
}

/// Exactly one way to say which nodes can use the devices.
fn place(errors: &mut Errors, path: &Path, spec: &ResourceSliceSpec) {
    let mut given = Vec::new();
    match spec.node_name.as_deref() {
        Some("") => {
            let detail = "must be either unset or set to a non-empty string";
            errors.push(Error::invalid(&path.child("nodeName"), "", detail));
        }
        Some(name) => {
            given.push("`nodeName`");
            named(errors, &path.child("nodeName"), name, names::dns1123_subdomain(name));
        }
        None => {}
    }
    if let Some(selector) = &spec.node_selector {
        given.push("`nodeSelector`");
        pod::node_selector(errors, &path.child("nodeSelector"), selector);
        if selector.node_selector_terms.len() != 1 {
            let path = path.child("nodeSelector").child("nodeSelectorTerms");
            let detail = "must have exactly one node selector term";
            errors.push(Error::invalid(&path, json(&selector.node_selector_terms), detail));
        }
    }
    let flags = [
        ("allNodes", "`allNodes`", spec.all_nodes),
        ("perDeviceNodeSelection", "`perDeviceNodeSelection`", spec.per_device_node_selection),
    ];
    for (field, quoted, flag) in flags {
        match flag {
            Some(true) => given.push(quoted),
            Some(false) => {
                errors.push(Error::invalid(&path.child(field), false, "must be either unset or set to true"));
            }
            None => {}
        }
    }
    let detail = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match given.len() {
        0 => errors.push(Error::required(path, detail)),
        1 => {}
        _ => {
            let detail = format!("{detail}, but multiple fields are set");
            errors.push(Error::invalid(path, format!("{{{}}}", given.join(", ")), detail));
        }
    }
}

fn device(errors: &mut Errors, path: &Path, device: &Device, old: Option<&Device>, by_device: bool) {
    named(errors, &path.child("name"), &device.name, names::dns1123_label(&device.name));
    let facts = device.attributes.iter().flatten().count() + device.capacity.iter().flatten().count();
    if facts > FACTS_MAX {
        let detail = format!("the total number of attributes and capacities must not exceed {FACTS_MAX}");
        errors.push(Error::invalid(path, facts, detail));
    }
    for (name, value) in device.attributes.iter().flatten() {
        let path = path.child("attributes").key(&shortened(name, QUALIFIED_MAX));
        qualified_name(errors, &path, name);
        attribute(errors, &path, value);
    }
    for (name, value) in device.capacity.iter().flatten() {
        let path = path.child("capacity").key(&shortened(name, QUALIFIED_MAX));
        qualified_name(errors, &path, name);
        capacity(errors, &path.child("requestPolicy"), value, device.allow_multiple_allocations == Some(true));
    }
    let (here, taints) = (path.child("taints"), device.taints.as_deref().unwrap_or_default());
    let same = old.is_some_and(|old| old.taints.as_deref().unwrap_or_default() == taints);
    if !same && short_enough(errors, &here, taints.len(), TAINTS_MAX) {
        for (at, one) in taints.iter().enumerate() {
            taint(errors, &here.index(at), one);
        }
    }
    let (here, consumed) = (path.child("consumesCounters"), device.consumes_counters.as_deref().unwrap_or_default());
    if short_enough(errors, &here, consumed.len(), CONSUMPTIONS_MAX) {
        for (at, one) in consumed.iter().enumerate() {
            counted(errors, &here.index(at), "counterSet", &one.counter_set, one.counters.keys());
        }
        unique(errors, &here, &consumed.iter().map(|one| one.counter_set.as_str()).collect::<Vec<_>>());
    }
    device_place(errors, path, device, by_device);
    binding(errors, path, device.binding_conditions.as_ref(), device.binding_failure_conditions.as_ref());
}

/// A key as paths show it: what is too long loses its middle.
fn shortened(key: &str, max: usize) -> Cow<'_, str> {
    const GAP: &str = "...";
    if key.len() <= max {
        return key.into();
    }
    let rest = max - GAP.len();
    let (head, tail) = (&key.as_bytes()[..rest.div_ceil(2)], &key.as_bytes()[key.len() - rest / 2..]);
    [&String::from_utf8_lossy(head), GAP, &String::from_utf8_lossy(tail)].concat().into()
}

/// A set of counters, by the field that names it, and the names of those in it.
fn counted<'a>(
    errors: &mut Errors,
    path: &Path,
    field: &str,
    name: &str,
    counters: impl ExactSizeIterator<Item = &'a String>,
) {
    validation::required_name(errors, &path.child(field), name, names::dns1123_label);
    let path = path.child("counters");
    if counters.len() == 0 {
        errors.push(Error::required(&path, ""));
    } else if short_enough(errors, &path, counters.len(), COUNTERS_MAX) {
        for counter in counters {
            let path = path.key(&shortened(counter, names::LABEL_MAX));
            named(errors, &path, counter, names::dns1123_label(counter));
        }
    }
}

fn device_place(errors: &mut Errors, path: &Path, device: &Device, by_device: bool) {
    if !by_device {
        if device.node_name.is_some() || device.node_selector.is_some() || device.all_nodes.is_some() {
            let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.push(Error::invalid(path, Value::Null, detail));
        }
        return;
    }
    let mut given = Vec::new();
    match device.node_name.as_deref() {
        Some("") => errors.push(Error::invalid(&path.child("nodeName"), "", "must not be empty")),
        Some(name) => {
            given.push("`nodeName`");
            named(errors, &path.child("nodeName"), name, names::dns1123_subdomain(name));
        }
        None => {}
    }
    if let Some(selector) = &device.node_selector {
        given.push("`nodeSelector`");
        pod::node_selector(errors, &path.child("nodeSelector"), selector);
    }
    match device.all_nodes {
        Some(true) => given.push("`allNodes`"),
        Some(false) => {
            errors.push(Error::invalid(&path.child("allNodes"), false, "must be either unset or set to true"));
        }
        None => {}
    }
    let detail = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    match given.len() {
        0 => errors.push(Error::required(path, detail)),
        1 => {}
        _ => errors.push(Error::invalid(path, format!("{{{}}}", given.join(", ")), detail)),
    }
}

fn attribute(errors: &mut Errors, path: &Path, attribute: &DeviceAttribute) {
    if attribute.string.as_ref().is_some_and(|value| value.len() > VALUE_MAX) {
        errors.push(Error::too_long(&path.child("string"), VALUE_MAX));
    }
    if let Some(version) = &attribute.version {
        let path = path.child("version");
        if !is_semantic_version(version) {
            let detail = "must be a string compatible with semver.org spec 2.0.0";
            errors.push(Error::invalid(&path, version.as_str(), detail));
        }
        if version.len() > VALUE_MAX {
            errors.push(Error::too_long(&path, VALUE_MAX));
        }
    }
    let shown = json(attribute);
    match shown.as_object().map_or(0, serde_json::Map::len) {
        0 => errors.push(Error::invalid(path, "", "exactly one value must be specified")),
        1 => {}
        _ => errors.push(Error::invalid(path, shown, "exactly one value must be specified")),
    }
}

/// `1.2.3-alpha.1+build.5`, as semver.org has it.
fn is_semantic_version(text: &str) -> bool {
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |part: &str| part == "0" || !part.starts_with('0');
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    core.split('.').count() == 3
        && core.split('.').all(|part| digits(part) && plain(part))
        && pre.is_none_or(|pre| pre.split('.').all(|part| word(part) && (!digits(part) || plain(part))))
        && build.is_none_or(|build| build.split('.').all(word))
}

/// How much of a capacity a request may take, where several may share the device.
fn capacity(errors: &mut Errors, path: &Path, capacity: &DeviceCapacity, shared: bool) {
    let Some(policy) = &capacity.request_policy else { return };
    if !shared {
        errors.push(Error::forbidden(path, "allowMultipleAllocations must be true"));
        return;
    }
    let values = policy.valid_values.as_deref().unwrap_or_default();
    let (Some(all), default) = (read(&capacity.value), policy.default.as_ref().and_then(read)) else { return };
    match (values, &policy.valid_range) {
        ([_, ..], Some(_)) => {
            let detail = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
            errors.push(Error::forbidden(path, detail));
        }
        ([], None) => {}
        (values, range) => {
            let Some(default) = default else {
                let field = if range.is_some() { "validRange" } else { "validValues" };
                errors.push(Error::required(&path.child("default"), format!("required when {field} is defined")));
                return;
            };
            match range {
                Some(range) => valid_range(errors, &path.child("validRange"), range, default, all),
                None => valid_values(errors, &path.child("validValues"), values, default, all),
            }
        }
    }
}

fn read(wire: &Wire) -> Option<Quantity> {
    Quantity::parse(&wire.0).ok()
}

fn valid_values(errors: &mut Errors, path: &Path, values: &[Wire], default: Quantity, all: Quantity) {
    let read: Vec<_> = values.iter().filter_map(read).collect();
    for (at, pair) in read.windows(2).enumerate().filter(|(_, pair)| pair[0] > pair[1]) {
        let detail = "values must be sorted in ascending order";
        errors.push(Error::invalid(&path.index(at + 1), pair[1].to_string(), detail));
    }
    if !short_enough(errors, path, values.len(), VALID_VALUES_MAX) {
        return;
    }
    for (at, value) in read.iter().enumerate() {
        if *value > all {
            let detail = format!("option is larger than capacity value: {all}");
            errors.push(Error::invalid(&path.index(at), value.to_string(), detail));
        }
        // Whole numbers are compared.
        if read[..at].iter().any(|before| before.value() == value.value()) {
            errors.push(Error::duplicate(&path.index(at), value.value().to_string()));
        }
    }
    if !read.contains(&default) {
        let detail = "default value is not valid according to the requestPolicy";
        errors.push(Error::invalid(path, default.to_string(), detail));
    }
}

fn valid_range(errors: &mut Errors, path: &Path, range: &CapacityRequestPolicyRange, default: Quantity, all: Quantity) {
    let Some(min) = read(&range.min) else {
        errors.push(Error::required(&path.child("min"), "required when validRange is defined"));
        return;
    };
    let mut check = |broken: bool, field: &str, shown: Quantity, detail: String| {
        if broken {
            errors.push(Error::invalid(&path.child(field), shown.to_string(), detail));
        }
    };
    check(min > all, "min", min, format!("min is larger than capacity value: {all}"));
    check(default < min, "min", default, format!("default is less than min: {min}"));
    let max = range.max.as_ref().and_then(read);
    if let Some(max) = max {
        check(min > max, "max", min, format!("min is larger than max: {max}"));
        check(max > all, "max", max, format!("max is larger than capacity value: {all}"));
        check(default > max, "max", default, format!("default is more than max: {max}"));
    }
    let Some(step) = range.step.as_ref().and_then(read).filter(|step| step.value() != 0) else { return };
    let added = min + step;
    check(added > all, "step", step, format!("one step {added} is larger than capacity value: {all}"));
    for value in [Some(default), max].into_iter().flatten() {
        let broken = value.value().saturating_sub(min.value()) % step.value() != 0;
        check(broken, "step", value, format!("value is not a multiple of a given step ({step}) from ({min})"));
    }
}

fn taint(errors: &mut Errors, path: &Path, taint: &DeviceTaint) {
    labels::label_name(errors, &path.child("key"), &taint.key);
    let value = text(&taint.value);
    named(errors, &path.child("value"), value, names::label_value(value));
    validation::one_of(errors, &path.child("effect"), &taint.effect, &["NoExecute", "NoSchedule", "None"]);
}
