//! A connection to the cluster, with the namespace to work in. Finds the kubeconfig by itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use super::resources::{Resource, Resources};

/// Where `orch server` writes its kubeconfig unless told otherwise.
const WRITTEN: &str = "/etc/orch/orch.yaml";

pub struct Session {
    pub client: kube::Client,
    pub namespace: String,
}

impl Session {
    pub async fn open(kubeconfig: Option<&Path>, namespace: Option<String>) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let path = find(kubeconfig)?;
        let file = Kubeconfig::read_from(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        Ok(Self { client: kube::Client::try_from(config)?, namespace })
    }

    /// A GET whose answer is JSON, in the first of `accept` that the server has.
    pub async fn get(&self, path: &str, accept: &str) -> anyhow::Result<Value> {
        let request = Request::get(path).header("accept", accept).body(Vec::new())?;
        self.client.request(request).await.map_err(worded)
    }

    pub async fn send(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> anyhow::Result<Value> {
        let request = Request::builder().method(method).uri(path).header("content-type", kind).body(body)?;
        self.client.request(request).await.map_err(worded)
    }

    pub async fn text(&self, path: &str) -> anyhow::Result<String> {
        self.client.request_text(Request::get(path).body(Vec::new())?).await.map_err(worded)
    }

    pub async fn resources(&self) -> anyhow::Result<Resources> {
        Resources::discover(self).await
    }

    /// The path of a resource's collection, or of one object in it.
    pub fn path(&self, resource: &Resource, all: bool, name: Option<&str>) -> String {
        resource.path((!all).then_some(self.namespace.as_str()), name)
    }
}

/// A failure of the server in kubectl's words.
pub fn worded(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow!("Error from server ({}): {}", status.reason, status.message),
        kube::Error::Service(cause) => anyhow!("cannot reach the server: {cause}"),
        other => anyhow!(other),
    }
}

fn find(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    if let Some(path) = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) {
        return std::env::split_paths(&path).next().context("KUBECONFIG is empty");
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let candidates = [PathBuf::from(WRITTEN), home.join(".kube/config")];
    match candidates.into_iter().find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => bail!("found no kubeconfig; start a server, set KUBECONFIG or pass --kubeconfig"),
    }
}
