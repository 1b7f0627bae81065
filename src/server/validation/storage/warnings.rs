//! What upstream warns of in volumes of the cluster: old annotations, old labels of nodes, drivers that are gone.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeSpec;

use super::super::text;
use super::super::warnings::node_selector_term;
use crate::api::field::Path;

const OLD_ANNOTATIONS: [(&str, &str); 2] = [
    ("volume.beta.kubernetes.io/storage-class", r#"deprecated since v1.8; use "storageClassName" attribute instead"#),
    ("volume.beta.kubernetes.io/mount-options", r#"deprecated since v1.31; use "mountOptions" attribute instead"#),
];
const RECYCLE: &str =
    "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";

pub fn warnings(annotations: Option<&BTreeMap<String, String>>, spec: &PersistentVolumeSpec) -> Vec<String> {
    let mut warnings = Vec::new();
    let annotated = Path::new("metadata").child("annotations");
    for (key, advice) in OLD_ANNOTATIONS.iter().filter(|(key, _)| annotations.is_some_and(|a| a.contains_key(*key))) {
        warnings.push(format!("{}: {advice}", annotated.key(key)));
    }
    let path = Path::new("spec");
    if text(&spec.persistent_volume_reclaim_policy) == "Recycle" {
        warnings.push(format!("{}: {RECYCLE}", path.child("persistentVolumeReclaimPolicy")));
    }
    let required = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    let terms = path.child("nodeAffinity").child("required").child("nodeSelectorTerms");
    for (at, term) in required.iter().flat_map(|required| &required.node_selector_terms).enumerate() {
        node_selector_term(&mut warnings, &terms.index(at), term, false);
    }
    let gone = [
        ("cephfs", spec.cephfs.is_some(), "deprecated in v1.28, non-functional in v1.31+"),
        (
            "photonPersistentDisk",
            spec.photon_persistent_disk.is_some(),
            "deprecated in v1.11, non-functional in v1.16+",
        ),
        ("scaleIO", spec.scale_io.is_some(), "deprecated in v1.16, non-functional in v1.22+"),
        ("storageOS", spec.storageos.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", spec.glusterfs.is_some(), "deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", spec.rbd.is_some(), "deprecated in v1.28, non-functional in v1.31+"),
    ];
    for (field, _, why) in gone.iter().filter(|(_, present, _)| *present) {
        warnings.push(format!("{}: {why}", path.child(field)));
    }
    warnings
}
