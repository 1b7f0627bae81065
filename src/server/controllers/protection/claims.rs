//! Claims are used by the pods that run with them.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::ListParams;

use super::Protected;
use crate::api::pod::is_terminal;
use crate::reconcile::{Change, Context, Error, Key, Writer};

#[async_trait]
impl Protected for PersistentVolumeClaim {
    const NAME: &'static str = "persistentvolumeclaim-protection";
    const FINALIZER: &'static str = "kubernetes.io/pvc-protection";

    fn writer<'a>(cx: &'a Context, namespace: &str) -> Writer<'a, Self> {
        cx.namespaced(namespace)
    }

    async fn in_use(&self, cx: &Context) -> Result<bool, Error> {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let pods = cx.namespaced::<Pod>(namespace);
        let pods = pods.api().list(&ListParams::default()).await?;
        Ok(pods.iter().any(|pod| uses(pod) && claims_of(pod).any(|claim| claim == name)))
    }
}

/// A pod uses its claims from when it has a node until it has ended. Before that, no kubelet would start it with a
/// claim that is being deleted.
fn uses(pod: &Pod) -> bool {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    node.is_some_and(|node| !node.is_empty()) && !is_terminal(pod)
}

/// The names of a pod's claims, also of those made for it.
fn claims_of(pod: &Pod) -> impl Iterator<Item = String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(move |volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{name}-{}", volume.name)),
        (None, None) => None,
    })
}

/// The claims that a change of a pod may have freed.
pub(super) fn freed(change: &Change<Pod>) -> Vec<Key> {
    if change.new.as_ref().is_some_and(|pod| uses(pod)) {
        return Vec::new();
    }
    let pod = change.object();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    claims_of(pod).map(|claim| Key::new(namespace.clone(), claim)).collect()
}
