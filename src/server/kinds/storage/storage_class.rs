//! StorageClass: how volumes are provisioned.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::TopologySelectorTerm;
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::Value;

use super::rules;
use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::defaults::absent_text;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;
use crate::server::validation::warnings::old_node_label;

pub struct StorageClasses;

impl Strategy for StorageClasses {
    type Kind = StorageClass;

    fn meta(&self) -> Meta {
        Meta { short_names: &["sc"], ..Meta::cluster::<StorageClass>("storageclasses") }
    }

    fn default(&self, object: &mut StorageClass) {
        absent_text(&mut object.reclaim_policy, "Delete");
        absent_text(&mut object.volume_binding_mode, "Immediate");
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Provisioner", "provisioner indicates the type of the provisioner."),
            Column::string(
                "ReclaimPolicy",
                "reclaimPolicy controls the reclaimPolicy for dynamically provisioned PersistentVolumes of this storage class. Defaults to Delete.",
            ),
            Column::string(
                "VolumeBindingMode",
                "volumeBindingMode indicates how PersistentVolumeClaims should be provisioned and bound.  When unset, VolumeBindingImmediate is used. This field is only honored by servers that enable the VolumeScheduling feature.",
            ),
            Column::string(
                "AllowVolumeExpansion",
                "allowVolumeExpansion shows whether the storage class allow volume expand.",
            ),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &StorageClass, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let annotations = object.metadata.annotations.as_ref();
        let marked = |key: &str| annotations.and_then(|found| found.get(key)).is_some_and(|value| value == "true");
        let default = marked("storageclass.kubernetes.io/is-default-class")
            || marked("storageclass.beta.kubernetes.io/is-default-class");
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let name = if default { format!("{name} (default)") } else { name.to_owned() };
        Some(vec![
            name.into(),
            object.provisioner.clone().into(),
            cell::or(object.reclaim_policy.as_deref(), "Delete").into(),
            cell::or(object.volume_binding_mode.as_deref(), "Immediate").into(),
            object.allow_volume_expansion.unwrap_or(false).into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn warnings(&self, new: &StorageClass, _old: Option<&StorageClass>) -> Vec<String> {
        let terms = new.allowed_topologies.iter().flatten().enumerate();
        let keys = terms.flat_map(|(at, term)| {
            let path = Path::new("allowedTopologies").index(at).child("matchLabelExpressions");
            let expressions = term.match_label_expressions.iter().flatten().enumerate();
            expressions.map(move |(at, expression)| (path.index(at).child("key"), &expression.key))
        });
        keys.filter_map(|(path, key)| Some(format!("{path}: {}", old_node_label(key)?))).collect()
    }

    fn validate(&self, new: &StorageClass, old: Option<&StorageClass>) -> Errors {
        let mut errors = Errors::new();
        sound(&mut errors, new);
        let Some(old) = old else { return errors };
        let frozen = [
            ("parameters", new.parameters != old.parameters),
            ("provisioner", new.provisioner != old.provisioner),
            ("reclaimPolicy", new.reclaim_policy != old.reclaim_policy),
        ];
        for (field, _) in frozen.into_iter().filter(|(_, changed)| *changed) {
            errors.push(Error::forbidden(&Path::new(field), format!("updates to {field} are forbidden.")));
        }
        let (binding, before) = (&new.volume_binding_mode, &old.volume_binding_mode);
        validation::immutable(&mut errors, &Path::new("volumeBindingMode"), binding, before);
        errors
    }
}

fn sound(errors: &mut Errors, new: &StorageClass) {
    rules::provisioner(errors, &Path::new("provisioner"), &new.provisioner);
    rules::parameters(errors, &Path::new("parameters"), new.parameters.as_ref());
    let policies = ["Delete", "Retain"];
    let policy = new.reclaim_policy.clone().filter(|policy| !policy.is_empty());
    validation::optional_one_of(errors, &Path::new("reclaimPolicy"), &policy, &policies);
    let modes = ["Immediate", "WaitForFirstConsumer"];
    validation::optional_one_of(errors, &Path::new("volumeBindingMode"), &new.volume_binding_mode, &modes);
    let path = Path::new("allowedTopologies");
    let topologies = new.allowed_topologies.as_deref().unwrap_or_default();
    for (at, term) in topologies.iter().enumerate() {
        topology(errors, &path.index(at).child("matchLabelExpressions"), term);
        // Upstream begins with as many empty terms as there are terms.
        let empty = if wanted(term).is_empty() { topologies.len() } else { 0 };
        let before = topologies[..at].iter().filter(|other| wanted(other) == wanted(term)).count();
        let duplicate = Error::duplicate(&path.index(at).child("matchLabelExpressions"), "");
        errors.extend(std::iter::repeat_n(duplicate, empty + before));
    }
}

/// The values that a term allows for each key, in no order.
fn wanted(term: &TopologySelectorTerm) -> BTreeMap<&str, BTreeSet<&str>> {
    let requirements = term.match_label_expressions.iter().flatten();
    requirements
        .map(|requirement| (requirement.key.as_str(), requirement.values.iter().map(String::as_str).collect()))
        .collect()
}

fn topology(errors: &mut Errors, path: &Path, term: &TopologySelectorTerm) {
    let requirements = term.match_label_expressions.as_deref().unwrap_or_default();
    for (at, requirement) in requirements.iter().enumerate() {
        let path = path.index(at);
        if requirement.values.is_empty() {
            errors.push(Error::required(&path.child("values"), ""));
        }
        for (at, value) in requirement.values.iter().enumerate() {
            if requirement.values[..at].contains(value) {
                errors.push(Error::duplicate(&path.child("values").index(at), value.as_str()));
            }
        }
        validation::labels::label_name(errors, &path.child("key"), &requirement.key);
        if requirements[..at].iter().any(|other| other.key == requirement.key) {
            errors.push(Error::duplicate(&path.child("key"), requirement.key.as_str()));
        }
    }
}
