//! Several sources in one directory: no two of them may write the same file.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, PodCertificateProjection, ProjectedVolumeSource, ServiceAccountTokenProjection,
    VolumeProjection,
};
use serde_json::Value;

use super::super::super::{json, labels, named, paths, required, signer_name, text};
use super::local::{downward_file, item};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

/// How long a pod's certificate may live at least and at most, in seconds: 91 days, but a day from the cluster's own
/// signers.
const SHORTEST: i32 = 3600;
const LONGEST: i32 = 91 * 86_400;
const LONGEST_OWN: i32 = 86_400;

/// The files that are taken, and where clashes are told.
struct Files<'a> {
    taken: HashSet<&'a str>,
    path: &'a Path,
}

impl<'a> Files<'a> {
    /// `shown` is the value that upstream tells of a clash.
    fn take(&mut self, errors: &mut Errors, file: &'a str, shown: &str) {
        if !file.is_empty() && !self.taken.insert(file) {
            errors.push(Error::invalid(self.path, shown, "conflicting duplicate paths"));
        }
    }
}

pub fn projected(errors: &mut Errors, path: &Path, projected: &ProjectedVolumeSource) {
    paths::mode(errors, &path.child("defaultMode"), projected.default_mode);
    let mut files = Files { taken: HashSet::new(), path };
    for (at, source) in projected.sources.iter().flatten().enumerate() {
        let here = path.child("sources").index(at);
        projection(errors, &here, source, &mut files);
        // Every field is a source; the wire form tells which are set.
        if matches!(json(source), Value::Object(fields) if fields.len() > 1) {
            errors.push(Error::forbidden(&here, "may not specify more than 1 volume type per source"));
        }
    }
}

fn projection<'a>(errors: &mut Errors, path: &Path, source: &'a VolumeProjection, files: &mut Files<'a>) {
    let keyed = [
        ("secret", source.secret.as_ref().map(|it| (&it.name, &it.items))),
        ("configMap", source.config_map.as_ref().map(|it| (&it.name, &it.items))),
    ];
    for (field, keyed) in keyed {
        let Some((name, items)) = keyed else { continue };
        let path = path.child(field);
        required(errors, &path.child("name"), name);
        for (at, one) in items.iter().flatten().enumerate() {
            item(errors, &path.child("items").index(at), one);
            files.take(errors, &one.path, name);
        }
    }
    for file in source.downward_api.iter().flat_map(|downward| downward.items.iter().flatten()) {
        downward_file(errors, &path.child("downwardAPI"), file);
        files.take(errors, &file.path, &file.path);
    }
    if let Some(token) = &source.service_account_token {
        service_account_token(errors, &path.child("serviceAccountToken"), files.path, token);
    }
    if let Some(bundle) = &source.cluster_trust_bundle {
        trust_bundle(errors, &path.child("clusterTrustBundle"), bundle);
        files.take(errors, &bundle.path, &bundle.path);
    }
    if let Some(certificate) = &source.pod_certificate {
        pod_certificate(errors, &path.child("podCertificate"), certificate);
        let written = [&certificate.credential_bundle_path, &certificate.key_path, &certificate.certificate_chain_path];
        for file in written.into_iter().flatten() {
            files.take(errors, file, file);
        }
    }
}

/// Upstream tells of the token's path at the volume itself.
fn service_account_token(errors: &mut Errors, path: &Path, volume: &Path, token: &ServiceAccountTokenProjection) {
    let seconds = token.expiration_seconds.unwrap_or(3600);
    if seconds < 600 {
        let detail = "may not specify a duration less than 10 minutes";
        errors.push(Error::invalid(&path.child("expirationSeconds"), seconds, detail));
    }
    if seconds > 1 << 32 {
        let detail = "may not specify a duration larger than 2^32 seconds";
        errors.push(Error::invalid(&path.child("expirationSeconds"), seconds, detail));
    }
    paths::file(errors, &volume.child("path"), &token.path);
}

fn trust_bundle(errors: &mut Errors, path: &Path, bundle: &ClusterTrustBundleProjection) {
    match (bundle.name.as_deref(), bundle.signer_name.as_deref()) {
        (Some(_), Some(_)) => {
            errors.push(Error::invalid(path, json(bundle), "only one of name and signerName may be used"));
        }
        (Some(name), None) => {
            if name.is_empty() {
                errors.push(Error::required(&path.child("name"), "must be a valid object name"));
            }
            let wrong = names::dns1123_subdomain(name.rsplit(':').next().unwrap_or_default());
            let detail = |problem| format!("not a valid clustertrustbundlename: {problem}");
            named(errors, &path.child("name"), name, wrong.into_iter().map(detail).collect());
            if let Some(selector) = &bundle.label_selector {
                let detail = "labelSelector must be unset if name is specified";
                errors.push(Error::invalid(&path.child("labelSelector"), json(selector), detail));
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.push(Error::required(&path.child("signerName"), "must be a valid signer name"));
            }
            signer_name::signer(errors, &path.child("signerName"), signer);
            labels::selector(errors, &path.child("labelSelector"), bundle.label_selector.as_ref());
        }
        (None, None) => errors.push(Error::required(path, "either name or signerName must be specified")),
    }
    paths::file(errors, &path.child("path"), &bundle.path);
}

fn pod_certificate(errors: &mut Errors, path: &Path, certificate: &PodCertificateProjection) {
    let signer = certificate.signer_name.as_str();
    signer_name::signer(errors, &path.child("signerName"), signer);
    let types = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
    if !types.contains(&certificate.key_type.as_str()) {
        errors.push(Error::not_supported_in_order(&path.child("keyType"), certificate.key_type.as_str(), &types));
    }
    if let Some(seconds) = certificate.max_expiration_seconds {
        let path = path.child("maxExpirationSeconds");
        if seconds < SHORTEST {
            let detail = format!("if provided, maxExpirationSeconds must be >= {SHORTEST}");
            errors.push(Error::invalid(&path, seconds, detail));
        }
        let domain = signer.split('/').next().unwrap_or_default();
        let own = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
        let longest = if own { LONGEST_OWN } else { LONGEST };
        if seconds > longest {
            let detail = format!("if provided, maxExpirationSeconds must be <= {longest}");
            errors.push(Error::invalid(&path, seconds, detail));
        }
    }
    let written = [
        ("credentialBundlePath", &certificate.credential_bundle_path),
        ("keyPath", &certificate.key_path),
        ("certificateChainPath", &certificate.certificate_chain_path),
    ];
    if written.iter().all(|(_, file)| text(file).is_empty()) {
        errors.push(Error::required(
            path,
            "specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
        ));
    }
    for (field, file) in written.into_iter().filter(|(_, file)| !text(file).is_empty()) {
        paths::not_reserved(errors, &path.child(field), text(file));
    }
}
