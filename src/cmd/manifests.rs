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

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::server::authorization::Decision;
    use crate::server::http::route::request_info;
    use crate::server::http::{ApiServer, ApiServerConfig};
    use crate::server::pipeline::query::Query;
    use crate::server::pipeline::user::User;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn nodes_read_what_is_meant_for_all_of_them_and_nothing_else_of_the_system() {
        let server = ApiServer::new(ApiServerConfig::default(), MemoryStore::new());
        let client = crate::client::in_process(server.as_user(User::admin()));
        let values = vec![("CLUSTER_DNS", "10.43.0.10".to_owned())];
        Manifests { client, values }.start().await.unwrap();
        let may = async |user: &User, method: &Method, name: &str, query: &str| {
            let path = format!("/api/v1/namespaces/kube-system/configmaps{name}");
            let info = request_info(method, &path, &Query::parse(Some(query)));
            matches!(server.decide(user, &info).await, Decision::Allow(_))
        };
        let (node, stranger) = (User::node("n1"), User::new("system:node:n1", &["dev"]));
        let only = |name: &str| format!("fieldSelector=metadata.name%3D{name}");
        for (method, name, query, expected) in [
            (Method::GET, "/kube-dns", String::new(), true),
            (Method::GET, "", only("kube-dns"), true),
            (Method::GET, "", format!("{}&watch=1", only("kube-dns")), true),
            (Method::GET, "/orch-cluster", String::new(), true),
            (Method::GET, "/somebodys", String::new(), false),
            (Method::GET, "", String::new(), false),
            (Method::GET, "", "watch=1".to_owned(), false),
            (Method::GET, "", only("somebodys"), false),
            (Method::PUT, "/kube-dns", String::new(), false),
            (Method::DELETE, "/orch-cluster", String::new(), false),
        ] {
            assert_eq!(may(&node, &method, name, &query).await, expected, "{method} {name}?{query}");
            assert!(!may(&stranger, &method, name, &query).await, "{method} {name}?{query}");
        }
    }
}
