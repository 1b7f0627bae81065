//! CSINode: the storage drivers of a node.

use k8s_openapi::api::storage::v1::{CSINode, CSINodeDriver};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation::{self, semantic};

pub struct CsiNodes;

impl Strategy for CsiNodes {
    type Kind = CSINode;

    fn meta(&self) -> Meta {
        Meta { unconditional_update: false, ..Meta::cluster::<CSINode>("csinodes") }
    }

    crate::server::kinds::spec_only!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::integer("Drivers", "Drivers indicates the number of CSI drivers registered on the node"),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &CSINode, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(vec![cell::name(&object.metadata), object.spec.drivers.len().into(), cell::age(&object.metadata, now)])
    }

    fn validate(&self, new: &CSINode, old: Option<&CSINode>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec").child("drivers");
        for (at, one) in new.spec.drivers.iter().enumerate() {
            let path = path.index(at);
            driver(&mut errors, &path, one);
            if new.spec.drivers[..at].iter().any(|other| other.name == one.name) {
                errors.push(Error::duplicate(&path.child("name"), one.name.as_str()));
            }
        }
        for before in old.iter().flat_map(|old| &old.spec.drivers) {
            for now in new.spec.drivers.iter().filter(|now| now.name == before.name) {
                // Only the number of volumes that it can take may change.
                let same = CSINodeDriver { allocatable: now.allocatable.clone(), ..before.clone() };
                if !semantic::same(now, &same) {
                    let fields = [
                        ("Name", now.name.as_str().into()),
                        ("NodeID", now.node_id.as_str().into()),
                        ("TopologyKeys", validation::json(&now.topology_keys)),
                        ("Allocatable", Value::Null),
                    ];
                    errors.push(Error::invalid_shown(&path, &validation::record(&fields), validation::IMMUTABLE));
                }
            }
        }
        errors
    }
}

const NODE_ID_MAX: usize = 256;

fn driver(errors: &mut Errors, path: &Path, driver: &CSINodeDriver) {
    validation::driver_name(errors, &path.child("name"), &driver.name);
    let here = path.child("nodeID");
    if driver.node_id.is_empty() {
        errors.push(Error::required(&here, ""));
    }
    if driver.node_id.len() > NODE_ID_MAX {
        let detail = format!("must be {NODE_ID_MAX} characters or less");
        errors.push(Error::invalid(&here, driver.node_id.as_str(), detail));
    }
    let count = driver.allocatable.as_ref().and_then(|allocatable| allocatable.count);
    validation::optional_not_negative(errors, &path.child("allocatable").child("count"), count);
    let keys = driver.topology_keys.as_deref().unwrap_or_default();
    for (at, key) in keys.iter().enumerate() {
        if key.is_empty() {
            errors.push(Error::required(path, ""));
        }
        if keys[..at].contains(key) {
            errors.push(Error::duplicate(path, key.as_str()));
        }
        validation::named(errors, path, key, names::qualified_name(key));
    }
}
