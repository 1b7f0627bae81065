//! Manifests, indexes and image configurations (OCI image specification and docker's schema 2), read
//! tolerantly: docker writes `null` where OCI wants nothing. Pure; used by the runtime and the importer.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use crate::agent::runtime::ImageConfig;
use crate::api::hex::hex;

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A reference to content by its digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub fn of(media_type: &str, content: &[u8]) -> Self {
        let (digest, size) = (sha256(content), content.len() as u64);
        Self { media_type: media_type.to_owned(), digest, size, ..Self::default() }
    }

    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: String,
    pub config: Descriptor,
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Configuration {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub config: Execution,
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: RootFs,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, serde_json::Value>,
}

impl From<Execution> for ImageConfig {
    fn from(execution: Execution) -> Self {
        Self {
            entrypoint: execution.entrypoint,
            cmd: execution.cmd,
            env: execution.env,
            user: execution.user,
            working_dir: execution.working_dir,
            stop_signal: execution.stop_signal.filter(|signal| !signal.is_empty()),
            volumes: execution.volumes.into_keys().collect(),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<String>,
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

pub fn sha256(content: &[u8]) -> String {
    hex_digest(&Sha256::digest(content))
}

/// `sha256:` and the hexadecimal form of a finished hash.
pub fn hex_digest(hash: &[u8]) -> String {
    format!("sha256:{}", hex(hash))
}

/// The snapshot names of a stack of layers, bottom first (OCI image specification, "Layer ChainID").
pub fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::with_capacity(diff_ids.len());
    for diff in diff_ids {
        let next = chain.last().map_or_else(|| diff.clone(), |last| sha256(format!("{last} {diff}").as_bytes()));
        chain.push(next);
    }
    chain
}

/// This machine as images name it.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The manifest of an index that runs here. 32-bit arm takes the highest variant up to v7; an entry
/// without a platform is taken only when it is alone.
pub fn select(manifests: &[Descriptor]) -> Option<&Descriptor> {
    select_for(manifests, host_architecture())
}

fn select_for<'a>(manifests: &'a [Descriptor], architecture: &str) -> Option<&'a Descriptor> {
    let fits = |descriptor: &&Descriptor| {
        descriptor.platform.as_ref().is_some_and(|platform| {
            let variant = platform.variant.as_deref().unwrap_or_default();
            platform.os == "linux"
                && platform.architecture == architecture
                && (architecture != "arm" || variant <= "v7")
        })
    };
    let rank = |descriptor: &&Descriptor| descriptor.platform.as_ref().and_then(|platform| platform.variant.clone());
    // Higher variants first; among equals the first listed wins, as containerd does.
    let fitting = manifests.iter().filter(fits).rev().max_by_key(|descriptor| match architecture {
        "arm" => rank(descriptor),
        _ => None,
    });
    fitting.or_else(|| manifests.first().filter(|only| manifests.len() == 1 && only.platform.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(digest: &str, os: &str, architecture: &str, variant: Option<&str>) -> Descriptor {
        let platform = Platform { os: os.into(), architecture: architecture.into(), variant: variant.map(Into::into) };
        Descriptor { digest: digest.into(), platform: Some(platform), ..Descriptor::default() }
    }

    #[test]
    fn chooses_the_platform() {
        let list = [
            entry("unknown", "unknown", "unknown", None),
            entry("amd", "linux", "amd64", None),
            entry("amd-again", "linux", "amd64", None),
            entry("v5", "linux", "arm", Some("v5")),
            entry("v7", "linux", "arm", Some("v7")),
            entry("v8", "linux", "arm", Some("v8")),
        ];
        let chosen = |architecture| select_for(&list, architecture).map(|descriptor| descriptor.digest.as_str());
        assert_eq!(chosen("amd64"), Some("amd"));
        assert_eq!(chosen("arm"), Some("v7"));
        assert_eq!(chosen("riscv64"), None);
        assert!(select_for(&[Descriptor::default()], "amd64").is_some());
    }

    #[test]
    fn reads_docker_nulls() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"],"Entrypoint":null,"Volumes":null,"Env":null},"rootfs":{"type":"layers","diff_ids":["sha256:a"]}}"#;
        let configuration: Configuration = serde_json::from_str(text).unwrap();
        let config = ImageConfig::from(configuration.config);
        assert_eq!((config.cmd, config.entrypoint), (vec!["sh".to_owned()], vec![]));
    }

    #[test]
    fn chains_as_the_specification_says() {
        let ids = ["sha256:a".to_owned(), "sha256:b".to_owned()];
        let chain = chain_ids(&ids);
        assert_eq!(chain[0], "sha256:a");
        assert_eq!(chain[1], sha256(b"sha256:a sha256:b"));
        assert!(chain_ids(&[]).is_empty());
    }
}
