//! The objects that every cluster has from its first second: `manifests/*.yaml`, compiled in and
//! server-side applied at each start, so that an upgrade brings its own changes.

use async_trait::async_trait;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde::Deserialize;

use crate::api::gvk::split_api_version;
use crate::lifecycle::{Component, StartError};
use crate::server::catalog::catalog;

/// In the order they are applied.
const FILES: &[(&str, &str)] = &[
    ("namespaces.yaml", include_str!("../../manifests/namespaces.yaml")),
    ("dns.yaml", include_str!("../../manifests/dns.yaml")),
    ("bootstrap-tokens.yaml", include_str!("../../manifests/bootstrap-tokens.yaml")),
    ("nodes.yaml", include_str!("../../manifests/nodes.yaml")),
];

/// Applies the manifests once, as a part of starting.
pub struct Manifests {
    pub client: kube::Client,
    /// What stands in them as `${NAME}`.
    pub values: Vec<(&'static str, String)>,
}

#[async_trait]
impl Component for Manifests {
    fn name(&self) -> &'static str {
        "manifests"
    }

    async fn start(&mut self) -> Result<(), StartError> {
        for (file, text) in FILES {
            let fill = |text: String, (name, value): &(&str, String)| text.replace(&format!("${{{name}}}"), value);
            let text = self.values.iter().fold((*text).to_owned(), fill);
            let documents = serde_yaml_ng::Deserializer::from_str(&text).map(DynamicObject::deserialize);
            for object in documents.collect::<Vec<_>>() {
                let object = object.map_err(|error| StartError::new("manifests", format!("{file}: {error}")))?;
                let applied = apply(self.client.clone(), &object).await;
                applied.map_err(|error| StartError::new("manifests", format!("{file}: {error}")))?;
            }
        }
        Ok(())
    }

    async fn stop(&mut self) {}
}

async fn apply(client: kube::Client, object: &DynamicObject) -> Result<(), kube::Error> {
    let types = object.types.clone().unwrap_or_default();
    let (group, version) = split_api_version(&types.api_version).unwrap_or_default();
    let kind = catalog().find_kind(group, version, &types.kind);
    let plural = kind.map(|kind| kind.meta().plural).unwrap_or_default();
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &types.kind), plural);
    let api: Api<DynamicObject> = match object.metadata.namespace.as_deref() {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let name = object.metadata.name.as_deref().unwrap_or_default();
    api.patch(name, &PatchParams::apply("orch").force(), &Patch::Apply(object)).await.map(drop)
}
