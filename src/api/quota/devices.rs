//! Claims to devices: their number, and of each class as many devices as they may get at most.

use std::collections::BTreeMap;

use k8s_openapi::api::resource::v1::{DeviceRequest, ResourceClaim};

use super::{add, count};
use crate::api::pod::Resources;

const COUNT: &str = "count/resourceclaims.resource.k8s.io";
const OF_CLASS: &str = ".deviceclass.resource.k8s.io/devices";
/// What a claim to all devices may get (upstream's `AllocationResultsMaxSize`).
const MOST: usize = 32;

pub(super) fn is_limited_by(name: &str) -> bool {
    name == COUNT || name.ends_with(OF_CLASS)
}

pub(super) fn usage(claim: &ResourceClaim) -> Resources {
    let requests = claim.spec.devices.iter().flat_map(|devices| devices.requests.iter().flatten());
    let number = Resources::from([(COUNT.to_owned(), count(1))]);
    requests.map(of_request).fold(number, |sum, of_request| add(sum, &of_request))
}

/// Of several ways to satisfy it, the one that takes most of each class.
fn of_request(request: &DeviceRequest) -> Resources {
    let mut devices: BTreeMap<&str, usize> = BTreeMap::new();
    if let Some(exactly) = &request.exactly {
        devices.insert(&exactly.device_class_name, number(exactly.allocation_mode.as_deref(), exactly.count));
    }
    for choice in request.first_available.iter().flatten() {
        let number = number(choice.allocation_mode.as_deref(), choice.count);
        let most = devices.entry(&choice.device_class_name).or_default();
        *most = number.max(*most);
    }
    devices.into_iter().map(|(class, number)| (format!("{class}{OF_CLASS}"), count(number))).collect()
}

fn number(mode: Option<&str>, asked: Option<i64>) -> usize {
    match mode.unwrap_or("ExactCount") {
        "ExactCount" => asked.and_then(|asked| usize::try_from(asked).ok()).unwrap_or(1),
        "All" => MOST,
        // Modes that nobody knows are not charged.
        _ => 0,
    }
}
