//! The same with kube's dynamic client, over HTTPS.

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use orch::lifecycle::Component;
use orch::server::catalog::catalog;
use serde_json::json;

use super::objects;
use crate::cluster::Cluster;
use crate::wire::listening;

#[tokio::test]
async fn kubes_dynamic_client_knows_every_kind() {
    let (_dir, server, mut listener, kubeconfig) = listening().await;
    let _cluster = Cluster::over(server).await;
    let client = orch::client::from_kubeconfig(&kubeconfig).await.unwrap();
    for kind in catalog().kinds().filter(|kind| objects::is_stored(kind.meta())) {
        let meta = kind.meta();
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(meta.group, meta.version, meta.kind), meta.plural);
        let api: Api<DynamicObject> = match meta.namespaced {
            true => Api::namespaced_with(client.clone(), "default", &resource),
            false => Api::all_with(client.clone(), &resource),
        };
        let name = objects::name(meta);
        let object: DynamicObject = serde_json::from_value(objects::minimal(meta)).unwrap();
        let created = api.create(&PostParams::default(), &object).await;
        let created = created.unwrap_or_else(|error| panic!("{}: {error}", meta.plural));
        assert_eq!(api.get(name).await.unwrap().metadata, created.metadata);
        assert!(
            api.list(&ListParams::default()).await.unwrap().items.iter().any(|item| item.metadata == created.metadata)
        );
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
        assert_eq!(patched.metadata.labels.as_ref().map(|labels| labels["a"].as_str()), Some("b"));
        let replaced = api.replace(name, &PostParams::default(), &patched).await.unwrap();
        assert_eq!(replaced.metadata.resource_version, patched.metadata.resource_version);
        api.delete(name, &DeleteParams::background()).await.unwrap_or_else(|error| panic!("{}: {error}", meta.plural));
    }
    listener.stop().await;
}
