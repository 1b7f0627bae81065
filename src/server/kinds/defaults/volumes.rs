//! The defaults of a pod's volumes.

use k8s_openapi::api::core::v1::{
    AzureDiskVolumeSource, DownwardAPIVolumeFile, PersistentVolumeSpec, Volume, VolumeProjection,
};

use super::{absent, claim_spec, number, pod::IntoQuantity, pod::pull_policy_of, quantity, text};

/// Files of volumes are readable by all unless told otherwise: 0644.
const FILE_MODE: i32 = 0o644;

pub fn volume(volume: &mut Volume) {
    if let Some(secret) = &mut volume.secret {
        absent(&mut secret.default_mode, FILE_MODE);
    }
    if let Some(config_map) = &mut volume.config_map {
        absent(&mut config_map.default_mode, FILE_MODE);
    }
    if let Some(downward) = &mut volume.downward_api {
        absent(&mut downward.default_mode, FILE_MODE);
        downward.items.iter_mut().flatten().for_each(downward_file);
    }
    if let Some(projected) = &mut volume.projected {
        absent(&mut projected.default_mode, FILE_MODE);
        projected.sources.iter_mut().flatten().for_each(projection);
    }
    if let Some(host_path) = &mut volume.host_path {
        absent(&mut host_path.type_, String::new());
    }
    if let Some(size) = volume.empty_dir.as_mut().and_then(|dir| dir.size_limit.as_mut()) {
        quantity(size);
    }
    if let Some(template) = volume.ephemeral.as_mut().and_then(|ephemeral| ephemeral.volume_claim_template.as_mut()) {
        claim_spec(&mut template.spec);
    }
    if let Some(image) = &mut volume.image {
        let policy = pull_policy_of(image.reference.as_deref().unwrap_or_default());
        text(&mut image.pull_policy, policy);
    }
    network_storage(volume);
    if has_no_source(volume) {
        volume.empty_dir = Some(Default::default());
    }
}

fn network_storage(volume: &mut Volume) {
    if let Some(iscsi) = &mut volume.iscsi {
        text(&mut iscsi.iscsi_interface, "default");
    }
    if let Some(rbd) = &mut volume.rbd {
        ceph_disk(&mut rbd.pool, &mut rbd.user, &mut rbd.keyring);
    }
    volume.azure_disk.iter_mut().for_each(azure_disk);
    if let Some(scale_io) = &mut volume.scale_io {
        text(&mut scale_io.storage_mode, "ThinProvisioned");
        text(&mut scale_io.fs_type, "xfs");
    }
}

fn ceph_disk(pool: &mut Option<String>, user: &mut Option<String>, keyring: &mut Option<String>) {
    text(pool, "rbd");
    text(user, "admin");
    text(keyring, "/etc/ceph/keyring");
}

fn azure_disk(disk: &mut AzureDiskVolumeSource) {
    text(&mut disk.caching_mode, "ReadWrite");
    text(&mut disk.kind, "Shared");
    text(&mut disk.fs_type, "ext4");
    absent(&mut disk.read_only, false);
}

/// The sources of volumes of the cluster.
pub fn persistent(spec: &mut PersistentVolumeSpec) {
    if let Some(host_path) = &mut spec.host_path {
        absent(&mut host_path.type_, String::new());
    }
    if let Some(iscsi) = &mut spec.iscsi {
        text(&mut iscsi.iscsi_interface, "default");
    }
    if let Some(rbd) = &mut spec.rbd {
        ceph_disk(&mut rbd.pool, &mut rbd.user, &mut rbd.keyring);
    }
    spec.azure_disk.iter_mut().for_each(azure_disk);
    if let Some(scale_io) = &mut spec.scale_io {
        text(&mut scale_io.storage_mode, "ThinProvisioned");
        text(&mut scale_io.fs_type, "xfs");
    }
}

fn projection(source: &mut VolumeProjection) {
    if let Some(downward) = &mut source.downward_api {
        downward.items.iter_mut().flatten().for_each(downward_file);
    }
    if let Some(token) = &mut source.service_account_token {
        absent(&mut token.expiration_seconds, 3600);
    }
    if let Some(certificate) = &mut source.pod_certificate {
        number(&mut certificate.max_expiration_seconds, 86400);
    }
}

fn downward_file(file: &mut DownwardAPIVolumeFile) {
    if let Some(field) = &mut file.field_ref {
        text(&mut field.api_version, "v1");
    }
    if let Some(resource) = &mut file.resource_field_ref {
        quantity(resource.divisor.get_or_insert_with(|| "0".to_owned().into_quantity()));
    }
}

/// A volume that names no source is an emptyDir.
fn has_no_source(volume: &Volume) -> bool {
    let bare = Volume { name: volume.name.clone(), ..Default::default() };
    *volume == bare
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn volumes_get_modes_and_a_source() {
        let cases = [
            (json!({"name": "a"}), json!({"name": "a", "emptyDir": {}})),
            (
                json!({"name": "a", "configMap": {"name": "b"}}),
                json!({"name": "a", "configMap": {"name": "b", "defaultMode": 420}}),
            ),
            (
                json!({"name": "a", "secret": {"secretName": "b", "defaultMode": 256}}),
                json!({"name": "a", "secret": {"secretName": "b", "defaultMode": 256}}),
            ),
            (
                json!({"name": "a", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
                json!({"name": "a", "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}}),
            ),
            (
                json!({"name": "a", "hostPath": {"path": "/x"}}),
                json!({"name": "a", "hostPath": {"path": "/x", "type": ""}}),
            ),
            (
                json!({"name": "a", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}}),
                json!({"name": "a", "downwardAPI": {"defaultMode": 420, "items": [
                    {"path": "p", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}]}}),
            ),
        ];
        for (given, expected) in cases {
            let mut parsed: Volume = serde_json::from_value(given).unwrap();
            volume(&mut parsed);
            let got: Value = serde_json::to_value(&parsed).unwrap();
            assert_eq!(got, expected);
        }
    }
}
