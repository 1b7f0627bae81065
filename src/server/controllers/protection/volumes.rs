//! Volumes are used while they are bound to a claim.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::PersistentVolume;

use super::Protected;
use crate::reconcile::{Context, Error, Writer};

#[async_trait]
impl Protected for PersistentVolume {
    const NAME: &'static str = "persistentvolume-protection";
    const FINALIZER: &'static str = "kubernetes.io/pv-protection";

    fn writer<'a>(cx: &'a Context, _: &str) -> Writer<'a, Self> {
        cx.cluster()
    }

    async fn in_use(&self, _: &Context) -> Result<bool, Error> {
        Ok(self.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound"))
    }
}
