//! The status of a claim: which devices it got, who uses them, how they are.

use k8s_openapi::api::resource::v1::{
    AllocatedDeviceStatus, AllocationResult, DeviceRequest, DeviceRequestAllocationResult, NetworkDeviceData,
    ResourceClaim, ResourceClaimConsumerReference,
};

use super::{binding, claim, pool_name, share, short_enough, unique};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::{self, conditions, named, pod, required, text};

const CONSUMERS_MAX: usize = 256;
const RESULTS_MAX: usize = 32;
const CONFIG_MAX: usize = 64;
const CONDITIONS_MAX: usize = 8;
const IPS_MAX: usize = 16;

pub fn status(new: &ResourceClaim, old: &ResourceClaim) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("status");
    let (status, before) = (new.status.clone().unwrap_or_default(), old.status.clone().unwrap_or_default());
    let consumers = status.reserved_for.as_deref().unwrap_or_default();
    reserved(&mut errors, &path.child("reservedFor"), consumers);
    let given = new.spec.devices.as_ref().and_then(|claim| claim.requests.as_deref()).unwrap_or_default();
    let results = status.allocation.as_ref().and_then(|allocation| allocation.devices.as_ref()?.results.as_deref());
    let (at_devices, devices) = (path.child("devices"), status.devices.as_deref().unwrap_or_default());
    for (at, device) in devices.iter().enumerate() {
        self::device(&mut errors, &at_devices.index(at), device, results.unwrap_or_default());
    }
    for (at, device) in devices.iter().enumerate() {
        let known = known_as(device);
        if devices[..at].iter().any(|before| known_as(before) == known) {
            errors.push(Error::duplicate_shown(&at_devices.index(at), &known));
        }
    }
    let here = path.child("reservedFor");
    if !consumers.is_empty() && status.allocation.is_none() {
        errors.push(Error::forbidden(&here, "may not be specified when `allocated` is not set"));
    } else if new.metadata.deletion_timestamp.is_some() {
        let known = before.reserved_for.as_deref().unwrap_or_default();
        if consumers.iter().any(|consumer| !known.contains(consumer)) {
            let detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.push(Error::forbidden(&here, detail));
        }
    }
    let here = path.child("allocation");
    match (&status.allocation, &before.allocation) {
        (Some(new), Some(old)) => validation::immutable(&mut errors, &here, new, old),
        (Some(new), None) => allocation(&mut errors, &here, new, given),
        (None, _) => {}
    }
    errors
}

fn reserved(errors: &mut Errors, path: &Path, consumers: &[ResourceClaimConsumerReference]) {
    if !short_enough(errors, path, consumers.len(), CONSUMERS_MAX) {
        return;
    }
    for (at, consumer) in consumers.iter().enumerate() {
        let path = path.index(at);
        required(errors, &path.child("resource"), &consumer.resource);
        required(errors, &path.child("name"), &consumer.name);
        required(errors, &path.child("uid"), &consumer.uid);
    }
    unique(errors, path, &consumers.iter().map(|consumer| consumer.uid.as_str()).collect::<Vec<_>>());
}

fn allocation(errors: &mut Errors, path: &Path, allocation: &AllocationResult, given: &[DeviceRequest]) {
    let devices = allocation.devices.clone().unwrap_or_default();
    let at_selector = path.child("nodeSelector");
    let path = path.child("devices");
    let (here, results) = (path.child("results"), devices.results.unwrap_or_default());
    if short_enough(errors, &here, results.len(), RESULTS_MAX) {
        for (at, result) in results.iter().enumerate() {
            let path = here.index(at);
            claim::reference(errors, &path.child("request"), &result.request, given);
            identity(errors, &path, &result.driver, &result.pool, &result.device);
            let (met, failed) = (&result.binding_conditions, &result.binding_failure_conditions);
            binding(errors, &path, met.as_ref(), failed.as_ref());
            share(errors, &path, result.share_id.as_ref());
        }
    }
    let (here, configuration) = (path.child("config"), devices.config.unwrap_or_default());
    if short_enough(errors, &here, configuration.len(), CONFIG_MAX) {
        for (at, one) in configuration.iter().enumerate() {
            let path = here.index(at);
            validation::one_of(errors, &path.child("source"), &one.source, &["FromClaim", "FromClass"]);
            let named = one.requests.as_deref().unwrap_or_default();
            claim::references(errors, &path.child("requests"), named, given);
            claim::opaque(errors, &path.child("opaque"), one.opaque.as_ref());
        }
    }
    if let Some(selector) = &allocation.node_selector {
        pod::node_selector(errors, &at_selector, selector);
    }
}

/// What a device is known by.
fn identity(errors: &mut Errors, path: &Path, driver: &str, pool: &str, device: &str) {
    validation::driver_name(errors, &path.child("driver"), driver);
    pool_name(errors, &path.child("pool"), pool);
    named(errors, &path.child("device"), device, names::dns1123_label(device));
}

/// `driver/pool/device`, and the share of it.
fn known_as(device: &AllocatedDeviceStatus) -> String {
    let AllocatedDeviceStatus { driver, pool, device, share_id, .. } = device;
    match text(share_id) {
        "" => format!("{driver}/{pool}/{device}"),
        share => format!("{driver}/{pool}/{device}/{share}"),
    }
}

fn device(errors: &mut Errors, path: &Path, device: &AllocatedDeviceStatus, results: &[DeviceRequestAllocationResult]) {
    identity(errors, path, &device.driver, &device.pool, &device.device);
    share(errors, path, device.share_id.as_ref());
    let is_it = |result: &DeviceRequestAllocationResult| {
        let (one, other) =
            ((&result.driver, &result.pool, &result.device), (&device.driver, &device.pool, &device.device));
        one == other && result.share_id == device.share_id
    };
    if !results.iter().any(is_it) {
        errors.push(Error::invalid_shown(path, &known_as(device), "must be an allocated device in the claim"));
    }
    let here = path.child("conditions");
    let count = device.conditions.as_ref().map_or(0, Vec::len);
    if count > CONDITIONS_MAX {
        errors.push(Error::too_many(&here, count, CONDITIONS_MAX));
    }
    conditions::conditions(errors, &here, device.conditions.as_ref());
    if let Some(data) = &device.data {
        claim::raw(errors, &path.child("data"), data);
    }
    if let Some(network) = &device.network_data {
        interface(errors, &path.child("networkData"), network);
    }
}

fn interface(errors: &mut Errors, path: &Path, network: &NetworkDeviceData) {
    let texts = [("interfaceName", &network.interface_name, 256), ("hardwareAddress", &network.hardware_address, 128)];
    for (field, value, max) in texts {
        if text(value).len() > max {
            errors.push(Error::too_long(&path.child(field), max));
        }
    }
    let (path, addresses) = (path.child("ips"), network.ips.as_deref().unwrap_or_default());
    if !short_enough(errors, &path, addresses.len(), IPS_MAX) {
        return;
    }
    for (at, address) in addresses.iter().enumerate() {
        validation::network::interface_address(errors, &path.index(at), address);
    }
    unique(errors, &path, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
}
