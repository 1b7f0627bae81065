//! Defaults that several kinds share: quantities, pod specs and templates, claims. Called by the strategies;
//! never changes what the client has set.

pub mod job;
pub mod pod;
mod pod_level;
pub mod volumes;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaimSpec;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use crate::api::quantity::Quantity;

/// Amounts by resource name.
pub type List = BTreeMap<String, Wire>;

/// Sets a text that is absent or empty: the wire does not tell the two apart.
pub fn text(field: &mut Option<String>, value: &str) {
    if field.as_deref().is_none_or(str::is_empty) {
        *field = Some(value.to_owned());
    }
}

/// The same for a field that is always present.
pub fn required_text(field: &mut String, value: &str) {
    if field.is_empty() {
        value.clone_into(field);
    }
}

/// Sets a number for which zero means "not set".
pub fn number<T: Default + PartialEq>(field: &mut Option<T>, value: T) {
    if field.as_ref().is_none_or(|set| *set == T::default()) {
        *field = Some(value);
    }
}

/// Sets what is absent.
pub fn absent<T>(field: &mut Option<T>, value: T) {
    field.get_or_insert(value);
}

/// The same for a text whose emptiness is a choice, and mostly a wrong one: upstream's field is a pointer.
pub fn absent_text(field: &mut Option<String>, value: &str) {
    absent(field, value.to_owned());
}

/// Writes a quantity as upstream would write it back; one that cannot be read is left for validation.
pub fn quantity(wire: &mut Wire) {
    if let Ok(quantity) = Quantity::parse(&wire.0) {
        *wire = quantity.to_wire();
    }
}

/// The same for a list of resources, of which nothing finer than a thousandth is kept.
pub fn quantities(list: &mut Option<BTreeMap<String, Wire>>) {
    for wire in list.iter_mut().flat_map(BTreeMap::values_mut) {
        if let Ok(quantity) = Quantity::parse(&wire.0) {
            *wire = quantity.round_up_to_milli().to_wire();
        }
    }
}

/// Copies entries that `list` lacks.
pub fn fill(list: &mut Option<BTreeMap<String, Wire>>, from: Option<&BTreeMap<String, Wire>>) {
    let Some(from) = from.filter(|from| !from.is_empty()) else { return };
    let list = list.get_or_insert_default();
    for (name, amount) in from {
        list.entry(name.clone()).or_insert_with(|| amount.clone());
    }
}

pub fn claim_spec(spec: &mut PersistentVolumeClaimSpec) {
    text(&mut spec.volume_mode, "Filesystem");
    if let Some(resources) = &mut spec.resources {
        quantities(&mut resources.limits);
        quantities(&mut resources.requests);
    }
}
