//! The resources that the API serves, as its discovery tells: for the controllers that treat all kinds alike.

use kube::Client;
use kube::core::ApiResource;
use kube::discovery::{Discovery, Scope, verbs};

/// One resource in its preferred version.
#[derive(Clone, Debug)]
pub struct Resource {
    pub api: ApiResource,
    pub namespaced: bool,
    /// Objects can be listed, watched and deleted.
    pub collectable: bool,
    pub deletes_collections: bool,
}

/// Every resource, each once.
pub async fn resources(client: &Client) -> Result<Vec<Resource>, kube::Error> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let groups = discovery.groups().flat_map(|group| group.recommended_resources());
    let resources = groups.map(|(api, capabilities)| Resource {
        api,
        namespaced: capabilities.scope == Scope::Namespaced,
        collectable: [verbs::LIST, verbs::WATCH, verbs::DELETE]
            .iter()
            .all(|verb| capabilities.supports_operation(verb)),
        deletes_collections: capabilities.supports_operation(verbs::DELETE_COLLECTION),
    });
    Ok(resources.collect())
}
