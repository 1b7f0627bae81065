//! Claims: their number and their storage, in all and for each storage class.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::count;
use crate::api::pod::Resources;
use crate::api::quantity::Quantity;

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

pub(super) fn is_limited_by(name: &str) -> bool {
    let of_class = name.split_once(OF_CLASS).map(|(_, rest)| rest);
    matches!(name, "persistentvolumeclaims" | "count/persistentvolumeclaims" | "requests.storage")
        || matches!(of_class, Some("persistentvolumeclaims" | "requests.storage"))
}

pub(super) fn usage(claim: &PersistentVolumeClaim) -> Resources {
    let names = ["persistentvolumeclaims", "count/persistentvolumeclaims"];
    let mut usage: Resources = names.into_iter().map(|name| (name.to_owned(), count(1))).collect();
    let storage = storage(claim);
    usage.extend(storage.map(|amount| ("requests.storage".to_owned(), amount)));
    let annotated = claim.metadata.annotations.as_ref().and_then(|all| all.get(BETA_CLASS));
    let class = annotated.or_else(|| claim.spec.as_ref()?.storage_class_name.as_ref());
    if let Some(class) = class.filter(|class| !class.is_empty()) {
        usage.insert(format!("{class}{OF_CLASS}persistentvolumeclaims"), count(1));
        usage.extend(storage.map(|amount| (format!("{class}{OF_CLASS}requests.storage"), amount)));
    }
    usage
}

/// What is asked for, or what is being given where that is more; whole bytes.
fn storage(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let asked = Quantity::of(resources?.requests.as_ref()?.get("storage")?);
    let given = claim.status.as_ref().and_then(|status| status.allocated_resources.as_ref()?.get("storage"));
    let most = given.map_or(asked, |given| asked.max(Quantity::of(given)));
    Some(if most.is_integer() { most } else { Quantity::from_value(most.value(), most.format()) })
}
