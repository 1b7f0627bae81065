//! Sources of storage that both pods and persistent volumes name: disks of clouds, network file systems, iSCSI.

use k8s_openapi::api::core::v1::{
    AWSElasticBlockStoreVolumeSource, AzureDiskVolumeSource, FCVolumeSource, FlockerVolumeSource,
    GCEPersistentDiskVolumeSource, NFSVolumeSource, PhotonPersistentDiskVolumeSource, PortworxVolumeSource,
    QuobyteVolumeSource, VsphereVirtualDiskVolumeSource,
};

use super::{json, named, required, text};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

fn partition(errors: &mut Errors, path: &Path, partition: Option<i32>) {
    if let Some(partition) = partition.filter(|partition| !(0..=255).contains(partition)) {
        errors.push(Error::invalid(&path.child("partition"), partition, names::inclusive_range_error(1, 255)));
    }
}

fn lun(errors: &mut Errors, path: &Path, lun: i32) {
    if !(0..=255).contains(&lun) {
        errors.push(Error::invalid(&path.child("lun"), lun, names::inclusive_range_error(0, 255)));
    }
}

pub fn gce(errors: &mut Errors, path: &Path, disk: &GCEPersistentDiskVolumeSource) {
    required(errors, &path.child("pdName"), &disk.pd_name);
    partition(errors, path, disk.partition);
}

pub fn aws(errors: &mut Errors, path: &Path, disk: &AWSElasticBlockStoreVolumeSource) {
    required(errors, &path.child("volumeID"), &disk.volume_id);
    partition(errors, path, disk.partition);
}

pub fn nfs(errors: &mut Errors, path: &Path, nfs: &NFSVolumeSource) {
    required(errors, &path.child("server"), &nfs.server);
    required(errors, &path.child("path"), &nfs.path);
    if !nfs.path.starts_with('/') {
        errors.push(Error::invalid(&path.child("path"), nfs.path.as_str(), "must be an absolute path"));
    }
}

pub fn quobyte(errors: &mut Errors, path: &Path, quobyte: &QuobyteVolumeSource) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    if quobyte.registry.is_empty() {
        errors.push(Error::required(&path.child("registry"), PAIRS));
    } else if text(&quobyte.tenant).len() >= 65 {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(Error::required(&path.child("tenant"), detail));
    } else {
        let bad = quobyte.registry.split(',').filter(|pair| !is_host_port(pair));
        let error = |_| Error::invalid(&path.child("registry"), quobyte.registry.as_str(), PAIRS);
        errors.extend(bad.map(error));
    }
    required(errors, &path.child("volume"), &quobyte.volume);
}

/// `host:port`, with an IPv6 address in brackets.
fn is_host_port(pair: &str) -> bool {
    match pair.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some((_, port)) => !port.contains(':'),
        None => pair.matches(':').count() == 1 && !pair.contains(['[', ']']),
    }
}

pub fn glusterfs(errors: &mut Errors, path: &Path, endpoints: &str, directory: &str) {
    required(errors, &path.child("endpoints"), endpoints);
    required(errors, &path.child("path"), directory);
}

pub fn flocker(errors: &mut Errors, path: &Path, flocker: &FlockerVolumeSource) {
    let (name, uuid) = (text(&flocker.dataset_name), text(&flocker.dataset_uuid));
    if name.is_empty() && uuid.is_empty() {
        errors.push(Error::required(path, "one of datasetName and datasetUUID is required"));
    }
    if !name.is_empty() && !uuid.is_empty() {
        let detail = "datasetName and datasetUUID can not be specified simultaneously";
        errors.push(Error::invalid(path, "resource", detail));
    }
    if name.contains('/') {
        errors.push(Error::invalid(&path.child("datasetName"), name, "must not contain '/'"));
    }
}

pub fn rbd(errors: &mut Errors, path: &Path, monitors: &[String], image: &str) {
    ceph(errors, path, monitors);
    required(errors, &path.child("image"), image);
}

pub fn ceph(errors: &mut Errors, path: &Path, monitors: &[String]) {
    if monitors.is_empty() {
        errors.push(Error::required(&path.child("monitors"), ""));
    }
}

pub fn fibre_channel(errors: &mut Errors, path: &Path, fc: &FCVolumeSource) {
    let names = fc.target_wwns.as_deref().unwrap_or_default();
    let ids = fc.wwids.as_deref().unwrap_or_default();
    let here = path.child("targetWWNs");
    if names.is_empty() && ids.is_empty() {
        errors.push(Error::required(&here, "must specify either targetWWNs or wwids, but not both"));
    }
    if !names.is_empty() && !ids.is_empty() {
        let detail = "targetWWNs and wwids can not be specified simultaneously";
        errors.push(Error::invalid(&here, json(&names), detail));
    }
    if !names.is_empty() {
        match fc.lun {
            None => errors.push(Error::required(&path.child("lun"), "lun is required if targetWWNs is specified")),
            Some(number) => lun(errors, path, number),
        }
    }
}

/// A flex driver and its options, in which the cluster's own domains are reserved.
pub fn flex<'a>(errors: &mut Errors, path: &Path, driver: &str, options: impl Iterator<Item = &'a String>) {
    required(errors, &path.child("driver"), driver);
    for key in options {
        let domain = key.split_once('/').map_or(key.as_str(), |(domain, _)| domain).to_lowercase();
        if ["kubernetes.io", "k8s.io"].iter().any(|own| domain == *own || domain.ends_with(&format!(".{own}"))) {
            let detail = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(Error::invalid(&path.child("options").key(key), key.as_str(), detail));
        }
    }
}

pub fn azure_file(errors: &mut Errors, path: &Path, secret: &str, share: &str) {
    required(errors, &path.child("secretName"), secret);
    required(errors, &path.child("shareName"), share);
}

pub fn vsphere(errors: &mut Errors, path: &Path, disk: &VsphereVirtualDiskVolumeSource) {
    required(errors, &path.child("volumePath"), &disk.volume_path);
}

pub fn photon(errors: &mut Errors, path: &Path, disk: &PhotonPersistentDiskVolumeSource) {
    required(errors, &path.child("pdID"), &disk.pd_id);
}

pub fn portworx(errors: &mut Errors, path: &Path, volume: &PortworxVolumeSource) {
    required(errors, &path.child("volumeID"), &volume.volume_id);
}

pub fn azure_disk(errors: &mut Errors, path: &Path, disk: &AzureDiskVolumeSource) {
    required(errors, &path.child("diskName"), &disk.disk_name);
    required(errors, &path.child("diskURI"), &disk.disk_uri);
    super::optional_one_of(errors, &path.child("cachingMode"), &disk.caching_mode, &["None", "ReadOnly", "ReadWrite"]);
    super::optional_one_of(errors, &path.child("kind"), &disk.kind, &["Dedicated", "Managed", "Shared"]);
    let Some(kind) = disk.kind.as_deref() else { return };
    let (start, form) = match kind {
        "Managed" => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        _ => ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"),
    };
    if !disk.disk_uri.starts_with(start) {
        errors.push(Error::not_supported(&path.child("diskURI"), disk.disk_uri.as_str(), &[form]));
    }
}

pub fn scale_io(errors: &mut Errors, path: &Path, gateway: &str, system: &str, volume: &Option<String>) {
    required(errors, &path.child("gateway"), gateway);
    required(errors, &path.child("system"), system);
    required(errors, &path.child("volumeName"), text(volume));
}

pub fn storage_os(errors: &mut Errors, path: &Path, volume: &Option<String>, namespace: &Option<String>) {
    super::required_name(errors, &path.child("volumeName"), text(volume), names::dns1123_label);
    let namespace = text(namespace);
    if !namespace.is_empty() {
        named(errors, &path.child("volumeNamespace"), namespace, names::dns1123_label(namespace));
    }
}

/// What pods and volumes say of an iSCSI target.
pub struct Iscsi<'a> {
    pub portal: &'a str,
    pub iqn: &'a str,
    pub lun: i32,
    pub chap: bool,
    pub has_secret: bool,
    pub initiator: Option<&'a str>,
    /// What is said of a name that starts with none of them.
    pub wrong_start: &'static str,
}

pub fn iscsi(errors: &mut Errors, path: &Path, target: &Iscsi) {
    required(errors, &path.child("targetPortal"), target.portal);
    if target.iqn.is_empty() {
        errors.push(Error::required(&path.child("iqn"), ""));
    } else {
        iscsi_name(errors, &path.child("iqn"), target.iqn, target.wrong_start);
    }
    lun(errors, path, target.lun);
    if target.chap && !target.has_secret {
        errors.push(Error::required(&path.child("secretRef"), ""));
    }
    if let Some(initiator) = target.initiator {
        iscsi_name(errors, &path.child("initiatorname"), initiator, target.wrong_start);
    }
}

fn iscsi_name(errors: &mut Errors, path: &Path, name: &str, wrong_start: &str) {
    let good = match name.get(..3) {
        Some("iqn") => is_iqn(name),
        Some("eui") => is_hex_name(name, 16),
        Some("naa") => is_hex_name(name, 32),
        _ => return errors.push(Error::invalid(path, name, wrong_start)),
    };
    if !good {
        errors.push(Error::invalid(path, name, "must be valid format"));
    }
}

/// `iqn.2001-04.com.example:storage`.
fn is_iqn(name: &str) -> bool {
    let Some((head, tail)) = name.split_once(':') else { return false };
    let Some((date, authority)) = head.strip_prefix("iqn.").and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    let date = date.split_once('-').is_some_and(|(year, month)| is_digits(year, 4) && is_digits(month, 2));
    let authority = !authority.is_empty()
        && authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    let tail =
        !tail.is_empty() && !tail.contains([',', ';', '*', '&', '$', '|']) && !tail.contains(char::is_whitespace);
    date && authority && tail
}

fn is_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A kind of three letters, any character, then `count` letters or digits.
fn is_hex_name(name: &str, count: usize) -> bool {
    let rest = name.get(4..).unwrap_or_default();
    rest.len() == count && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iscsi_names() {
        let cases = [
            ("iqn.2001-04.com.example:storage.disk1", true),
            ("iqn.2001-4.com.example:storage", false),
            ("iqn.2001-04.com.example", false),
            ("eui.0123456789abcdef", true),
            ("eui.0123", false),
            ("naa.62004567BA64678D0123456789ABCDEF", true),
            ("foo", false),
        ];
        for (name, good) in cases {
            let mut errors = Errors::new();
            iscsi_name(&mut errors, &Path::new("iqn"), name, "must be valid format");
            assert_eq!(errors.is_empty(), good, "{name}");
        }
    }
}
