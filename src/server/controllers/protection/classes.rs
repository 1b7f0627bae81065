//! Attribute classes are used by the claims and volumes that name them.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kube::Api;
use kube::api::ListParams;

use super::Protected;
use crate::reconcile::{Change, Context, Error, Key, Writer};

#[async_trait]
impl Protected for VolumeAttributesClass {
    const NAME: &'static str = "volumeattributesclass-protection";
    const FINALIZER: &'static str = "kubernetes.io/vac-protection";

    fn writer<'a>(cx: &'a Context, _: &str) -> Writer<'a, Self> {
        cx.cluster()
    }

    async fn in_use(&self, cx: &Context) -> Result<bool, Error> {
        let name = self.metadata.name.clone().unwrap_or_default();
        let claims: Api<PersistentVolumeClaim> = Api::all(cx.env.client.clone());
        if claims.list(&ListParams::default()).await?.iter().any(|claim| of_claim(claim).contains(&name)) {
            return Ok(true);
        }
        let volumes: Api<PersistentVolume> = Api::all(cx.env.client.clone());
        Ok(volumes.list(&ListParams::default()).await?.iter().any(|volume| of_volume(volume) == Some(&name)))
    }
}

fn of_volume(volume: &PersistentVolume) -> Option<&String> {
    volume.spec.as_ref()?.volume_attributes_class_name.as_ref()
}

/// The class it wants, the one it has, and the one it is being given.
fn of_claim(claim: &PersistentVolumeClaim) -> Vec<String> {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.clone());
    let status = claim.status.as_ref();
    let current = status.and_then(|status| status.current_volume_attributes_class_name.clone());
    let target = status.and_then(|status| status.modify_volume_status.as_ref());
    let target = target.and_then(|status| status.target_volume_attributes_class_name.clone());
    wanted.into_iter().chain(current).chain(target).collect()
}

/// The classes that a volume named before.
pub(super) fn named_by_volume(change: &Change<PersistentVolume>) -> Option<Key> {
    let name = of_volume(change.old.as_ref()?)?;
    Some(Key::new("", name.clone()))
}

pub(super) fn named_by_claim(change: &Change<PersistentVolumeClaim>) -> Vec<Key> {
    let old = change.old.as_ref().map(|claim| of_claim(claim)).unwrap_or_default();
    old.into_iter().map(|name| Key::new("", name)).collect()
}
