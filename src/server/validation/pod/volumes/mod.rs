//! Volumes of a pod: one source each.

mod local;
mod projected;

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, EphemeralVolumeSource, ISCSIVolumeSource, ImageVolumeSource, Volume,
};

use super::super::union::Union;
use super::super::volume_source::{self as source, Iscsi};
use super::super::{labels, named, one_of, required, required_name, storage, text};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

pub use local::host_path;

const EXTRA: &str = "may not specify more than 1 volume type";

/// The volumes, and those without errors by name: containers may mount only these. `pod` is the name of the pod,
/// which a template does not have.
pub fn volumes<'a>(
    errors: &mut Errors,
    path: &Path,
    volumes: &'a [Volume],
    pod: Option<&str>,
) -> BTreeMap<&'a str, &'a Volume> {
    let mut good = BTreeMap::new();
    let mut created = HashSet::new();
    if let Some(pod) = pod.filter(|pod| !pod.is_empty()) {
        created.extend(volumes.iter().filter(|volume| volume.ephemeral.is_some()).map(|volume| claim(pod, volume)));
    }
    for (at, volume) in volumes.iter().enumerate() {
        let path = path.index(at);
        let mut found = Errors::new();
        one_source(&mut found, &path, volume, pod);
        required_name(&mut found, &path.child("name"), &volume.name, names::dns1123_label);
        if good.contains_key(volume.name.as_str()) {
            found.push(Error::duplicate(&path.child("name"), volume.name.as_str()));
        }
        if found.is_empty() {
            good.insert(volume.name.as_str(), volume);
        }
        errors.extend(found);
        if let Some(wanted) = volume.persistent_volume_claim.as_ref().filter(|it| created.contains(&it.claim_name)) {
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            let path = path.child("persistentVolumeClaim").child("claimName");
            errors.push(Error::invalid(&path, wanted.claim_name.as_str(), detail));
        }
    }
    good
}

/// The claim that is made for an ephemeral volume.
fn claim(pod: &str, volume: &Volume) -> String {
    format!("{pod}-{}", volume.name)
}

/// In the order in which upstream asks: the first source is looked at, every other refused.
fn one_source(errors: &mut Errors, path: &Path, volume: &Volume, pod: Option<&str>) {
    let mut union = Union::new(errors, path, EXTRA);
    union.member("emptyDir", volume.empty_dir.as_ref(), local::empty_dir);
    union.member("hostPath", volume.host_path.as_ref(), local::host_path);
    union.member("gitRepo", volume.git_repo.as_ref(), local::git_repo);
    union.named("gcePersistentDisk", "persistentDisk", volume.gce_persistent_disk.as_ref(), source::gce);
    union.member("awsElasticBlockStore", volume.aws_elastic_block_store.as_ref(), source::aws);
    union.member("secret", volume.secret.as_ref(), local::secret);
    union.member("nfs", volume.nfs.as_ref(), source::nfs);
    union.member("iscsi", volume.iscsi.as_ref(), iscsi);
    union.member("glusterfs", volume.glusterfs.as_ref(), |errors, path, gluster| {
        source::glusterfs(errors, path, &gluster.endpoints, &gluster.path);
    });
    union.member("flocker", volume.flocker.as_ref(), source::flocker);
    union.member("persistentVolumeClaim", volume.persistent_volume_claim.as_ref(), |errors, path, claim| {
        required(errors, &path.child("claimName"), &claim.claim_name);
    });
    network_source(&mut union, volume);
    union.member("projected", volume.projected.as_ref(), projected::projected);
    union.member("scaleIO", volume.scale_io.as_ref(), |errors, path, it| {
        source::scale_io(errors, path, &it.gateway, &it.system, &it.volume_name);
    });
    union.member("csi", volume.csi.as_ref(), csi);
    union.member("ephemeral", volume.ephemeral.as_ref(), |errors, here, source| {
        ephemeral(errors, here, source);
        ephemeral_claim(errors, path, volume, pod);
    });
    union.member("image", volume.image.as_ref(), |errors, path, source| image(errors, path, source, pod.is_some()));
    union.end("must specify a volume type");
    let long = volume.iscsi.as_ref().filter(|it| it.initiator_name.is_some());
    if long.is_some_and(|it| volume.name.len() + 1 + it.target_portal.len() > 64) {
        let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        errors.push(Error::invalid(&path.child("name"), volume.name.as_str(), detail));
    }
}

/// Those in the middle: storage of clouds and clusters, the downward API, config maps.
fn network_source(union: &mut Union, volume: &Volume) {
    union.member("rbd", volume.rbd.as_ref(), |errors, path, it| source::rbd(errors, path, &it.monitors, &it.image));
    union.member("cinder", volume.cinder.as_ref(), |errors, path, it| {
        required(errors, &path.child("volumeID"), &it.volume_id);
        if let Some(secret) = &it.secret_ref {
            required(errors, &path.child("secretRef").child("name"), &secret.name);
        }
    });
    union.named("cephFS", "cephfs", volume.cephfs.as_ref(), |errors, path, it| {
        source::ceph(errors, path, &it.monitors);
    });
    union.member("quobyte", volume.quobyte.as_ref(), source::quobyte);
    union.named("downwarAPI", "downwardAPI", volume.downward_api.as_ref(), local::downward_api);
    union.member("fc", volume.fc.as_ref(), source::fibre_channel);
    union.member("flexVolume", volume.flex_volume.as_ref(), |errors, path, it| {
        source::flex(errors, path, &it.driver, it.options.iter().flat_map(BTreeMap::keys));
    });
    union.member("configMap", volume.config_map.as_ref(), local::config_map);
    union.member("azureFile", volume.azure_file.as_ref(), |errors, path, it| {
        source::azure_file(errors, path, &it.secret_name, &it.share_name);
    });
    union.member("vsphereVolume", volume.vsphere_volume.as_ref(), source::vsphere);
    union.member("photonPersistentDisk", volume.photon_persistent_disk.as_ref(), source::photon);
    union.member("portworxVolume", volume.portworx_volume.as_ref(), source::portworx);
    union.member("azureDisk", volume.azure_disk.as_ref(), source::azure_disk);
    union.member("storageos", volume.storageos.as_ref(), |errors, path, it| {
        source::storage_os(errors, path, &it.volume_name, &it.volume_namespace);
        if let Some(secret) = &it.secret_ref {
            required(errors, &path.child("secretRef").child("name"), &secret.name);
        }
    });
}

fn iscsi(errors: &mut Errors, path: &Path, it: &ISCSIVolumeSource) {
    let target = Iscsi {
        portal: &it.target_portal,
        iqn: &it.iqn,
        lun: it.lun,
        chap: it.chap_auth_discovery == Some(true) || it.chap_auth_session == Some(true),
        has_secret: it.secret_ref.is_some(),
        initiator: it.initiator_name.as_deref(),
        wrong_start: "must be valid format starting with iqn, eui, or naa",
    };
    source::iscsi(errors, path, &target);
}

fn csi(errors: &mut Errors, path: &Path, csi: &CSIVolumeSource) {
    super::super::driver_name(errors, &path.child("driver"), &csi.driver);
    if let Some(secret) = &csi.node_publish_secret_ref {
        if secret.name.is_empty() {
            errors.push(Error::required(&path.child("nodePublishSecretRef").child("name"), ""));
        } else {
            named(errors, &path.child("name"), &secret.name, names::dns1123_subdomain(&secret.name));
        }
    }
}

fn ephemeral(errors: &mut Errors, path: &Path, ephemeral: &EphemeralVolumeSource) {
    let path = path.child("volumeClaimTemplate");
    let Some(template) = &ephemeral.volume_claim_template else {
        return errors.push(Error::required(&path, ""));
    };
    if let Some(metadata) = &template.metadata {
        labels::template_metadata(errors, &path.child("metadata"), metadata);
    }
    storage::claim(errors, &path.child("spec"), &template.spec);
}

fn ephemeral_claim(errors: &mut Errors, path: &Path, volume: &Volume, pod: Option<&str>) {
    let Some(pod) = pod.filter(|pod| !pod.is_empty() && !volume.name.is_empty()) else { return };
    let claim = claim(pod, volume);
    let detail = |problem| format!("PVC name {claim:?}: {problem}");
    let problems = names::dns1123_subdomain(&claim).into_iter().map(detail).collect();
    named(errors, &path.child("name"), &volume.name, problems);
}

/// A template may leave the image to whoever makes the pod.
fn image(errors: &mut Errors, path: &Path, image: &ImageVolumeSource, is_pod: bool) {
    if is_pod {
        required(errors, &path.child("reference"), text(&image.reference));
    }
    let policies = ["Always", "IfNotPresent", "Never"];
    one_of(errors, &path.child("pullPolicy"), text(&image.pull_policy), &policies);
}
