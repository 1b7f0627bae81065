//! CSIStorageCapacity: how much a driver could still provision somewhere.

use k8s_openapi::api::storage::v1::CSIStorageCapacity;
use serde_json::Value;

use crate::api::field::{Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;
use crate::server::validation::warnings::old_node_label;

pub struct CsiStorageCapacities;

impl Strategy for CsiStorageCapacities {
    type Kind = CSIStorageCapacity;

    fn meta(&self) -> Meta {
        Meta { unconditional_update: false, ..Meta::namespaced::<CSIStorageCapacity>("csistoragecapacities") }
    }

    fn default(&self, object: &mut CSIStorageCapacity) {
        let amounts = [&mut object.capacity, &mut object.maximum_volume_size];
        amounts.into_iter().flatten().for_each(defaults::quantity);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "StorageClassName",
                "storageClassName represents the name of the StorageClass that the reported capacity applies to. It must meet the same requirements as the name of a StorageClass object (non-empty, DNS subdomain). If that object no longer exists, the CSIStorageCapacity object is obsolete and should be removed by its creator. This field is immutable.",
            ),
            Column::string(
                "Capacity",
                "capacity is the value reported by the CSI driver in its GetCapacityResponse for a GetCapacityRequest with topology and parameters that match the previous fields.\n\nThe semantic is currently (CSI spec 1.2) defined as: The available capacity, in bytes, of the storage that can be used to provision volumes. If not set, that information is currently unavailable.",
            ),
        ];
        COLUMNS
    }

    fn cells(&self, object: &CSIStorageCapacity, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let _ = now;
        Some(vec![
            cell::name(&object.metadata),
            object.storage_class_name.clone().into(),
            object.capacity.as_ref().map_or("", |capacity| &capacity.0).into(),
        ])
    }

    fn warnings(&self, new: &CSIStorageCapacity, _old: Option<&CSIStorageCapacity>) -> Vec<String> {
        let path = Path::new("nodeTopology");
        let Some(selector) = &new.node_topology else { return Vec::new() };
        let labels = selector.match_labels.iter().flatten();
        let labels = labels.map(|(key, _)| (path.child("matchLabels").key(key), key));
        let expressions = selector.match_expressions.iter().flatten().enumerate();
        let expressions =
            expressions.map(|(at, found)| (path.child("matchExpressions").index(at).child("key"), &found.key));
        let keys = labels.chain(expressions);
        keys.filter_map(|(path, key)| Some(format!("{path}: {}", old_node_label(key)?))).collect()
    }

    fn validate(&self, new: &CSIStorageCapacity, old: Option<&CSIStorageCapacity>) -> Errors {
        let mut errors = Errors::new();
        let (topology, class) = (Path::new("nodeTopology"), Path::new("storageClassName"));
        validation::labels::selector(&mut errors, &topology, new.node_topology.as_ref());
        let name = &new.storage_class_name;
        validation::named(&mut errors, &class, name, names::dns1123_subdomain(name));
        if let Some(capacity) = &new.capacity {
            validation::quantity_not_negative(&mut errors, &Path::new("capacity"), capacity);
        }
        let Some(old) = old else { return errors };
        // What was asked for stays; what is answered may change.
        validation::immutable(&mut errors, &topology, &new.node_topology, &old.node_topology);
        validation::immutable(&mut errors, &class, &new.storage_class_name, &old.storage_class_name);
        errors
    }
}
