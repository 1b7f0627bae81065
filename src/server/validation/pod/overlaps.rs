//! Files of one volume that cannot all be there: the same path twice, or a file where others need a directory.

use std::fmt;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection};

use super::super::text;

/// A file, and what it comes from where one volume has several sources.
#[derive(PartialEq)]
struct File {
    path: String,
    source: String,
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.source.as_str() {
            "" => write!(f, "{:?}", self.path),
            source => write!(f, "{:?} ({source})", self.path),
        }
    }
}

pub fn warnings(warnings: &mut Vec<String>, volumes: &[Volume]) {
    for volume in volumes {
        let mut look = |what: String, files: Vec<File>| overlaps(warnings, &volume.name, &what, files);
        if let Some(map) = &volume.config_map {
            look(format!("ConfigMap {:?}", map.name), keys(&map.items, ""));
        }
        if let Some(secret) = &volume.secret {
            look(format!("Secret {:?}", text(&secret.secret_name)), keys(&secret.items, ""));
        }
        if let Some(downward) = &volume.downward_api {
            look("DownwardAPI".to_owned(), fields(&downward.items, ""));
        }
        let Some(projected) = &volume.projected else { continue };
        let sources = projected.sources.as_deref().unwrap_or_default();
        for _ in sources.iter().filter(|source| **source == VolumeProjection::default()) {
            warnings.push(format!("volume {:?} (Projected) has no sources provided", volume.name));
        }
        overlaps(warnings, &volume.name, "Projected", sources.iter().flat_map(projection).collect());
    }
}

fn overlaps(warnings: &mut Vec<String>, volume: &str, what: &str, files: Vec<File>) {
    let files: Vec<_> = files.into_iter().filter(|file| !file.path.is_empty()).collect();
    for (at, file) in files.iter().enumerate() {
        for other in files[..at].iter().filter(|other| clash(&other.path, &file.path)) {
            warnings.push(format!("volume {volume:?} ({what}): overlapping paths: {file} with {other}"));
        }
    }
}

/// Whether one of both is the other or above it.
fn clash(one: &str, other: &str) -> bool {
    let (one, other) = (format!("{one}/"), format!("{other}/"));
    one.starts_with(&other) || other.starts_with(&one)
}

fn file(path: &str, source: &str) -> File {
    File { path: path.trim_end_matches('/').to_owned(), source: source.to_owned() }
}

fn keys(items: &Option<Vec<KeyToPath>>, source: &str) -> Vec<File> {
    items.iter().flatten().map(|item| file(&item.path, source)).collect()
}

fn fields(items: &Option<Vec<DownwardAPIVolumeFile>>, source: &str) -> Vec<File> {
    items.iter().flatten().map(|item| file(&item.path, source)).collect()
}

/// The files of the first source that is set, in upstream's order.
fn projection(source: &VolumeProjection) -> Vec<File> {
    if let Some(map) = source.config_map.as_ref().filter(|map| map.items.is_some()) {
        keys(&map.items, &format!("ConfigMap {:?}", map.name))
    } else if let Some(secret) = source.secret.as_ref().filter(|secret| secret.items.is_some()) {
        keys(&secret.items, &format!("Secret {:?}", secret.name))
    } else if let Some(downward) = source.downward_api.as_ref().filter(|downward| downward.items.is_some()) {
        fields(&downward.items, "DownwardAPI")
    } else if let Some(token) = &source.service_account_token {
        vec![file(&token.path, "ServiceAccountToken")]
    } else if let Some(bundle) = &source.cluster_trust_bundle {
        let name = bundle.name.as_ref().or(bundle.signer_name.as_ref());
        vec![file(&bundle.path, &format!("ClusterTrustBundle {:?}", name.map_or("", String::as_str)))]
    } else if let Some(certificate) = &source.pod_certificate {
        let files = [
            (&certificate.certificate_chain_path, "PodCertificate chain"),
            (&certificate.key_path, "PodCertificate key"),
            (&certificate.credential_bundle_path, "PodCertificate credential bundle"),
        ];
        files.into_iter().map(|(path, source)| file(text(path), source)).collect()
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    #[test]
    fn files_over_files() {
        let item = |path: &str| json!({"key": "k", "path": path});
        let map = |path: &str| json!({"configMap": {"name": "m", "items": [item(path)]}});
        let token = |path: &str| json!({"serviceAccountToken": {"path": path}});
        let cases: [(Value, &[&str]); 6] = [
            (json!({"configMap": {"name": "m", "items": [item("a"), item("b/c"), item("ab")]}}), &[]),
            (
                json!({"configMap": {"name": "m", "items": [item("a"), item("a/b/")]}}),
                &["volume \"v\" (ConfigMap \"m\"): overlapping paths: \"a/b\" with \"a\""],
            ),
            (
                json!({"secret": {"secretName": "s", "items": [item("a"), item("a")]}}),
                &["volume \"v\" (Secret \"s\"): overlapping paths: \"a\" with \"a\""],
            ),
            (
                json!({"projected": {"sources": [map("a/b"), token("a"), map("a")]}}),
                &[
                    "volume \"v\" (Projected): overlapping paths: \"a\" (ServiceAccountToken) with \"a/b\" (ConfigMap \"m\")",
                    "volume \"v\" (Projected): overlapping paths: \"a\" (ConfigMap \"m\") with \"a/b\" (ConfigMap \"m\")",
                    "volume \"v\" (Projected): overlapping paths: \"a\" (ConfigMap \"m\") with \"a\" (ServiceAccountToken)",
                ],
            ),
            (json!({"projected": {"sources": [{}]}}), &["volume \"v\" (Projected) has no sources provided"]),
            (
                json!({"projected": {"sources": [token("a"), {"podCertificate": {"signerName": "a.io/b", "keyType": "ED25519", "keyPath": "a"}}]}}),
                &[
                    "volume \"v\" (Projected): overlapping paths: \"a\" (PodCertificate key) with \"a\" (ServiceAccountToken)",
                ],
            ),
        ];
        for (mut volume, expected) in cases {
            volume["name"] = json!("v");
            let mut given = Vec::new();
            super::warnings(&mut given, &[serde_json::from_value(volume.clone()).unwrap()]);
            assert_eq!(given, expected, "{volume}");
        }
    }
}
