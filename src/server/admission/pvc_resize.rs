//! PersistentVolumeClaimResize: a claim grows only where its class allows that.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;

use super::{Attributes, Operation, Plugin};
use crate::api::object::Object;
use crate::api::quantity::Quantity;
use crate::api::status::Result;

pub struct PersistentVolumeClaimResize;

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        if !attributes.is("", "persistentvolumeclaims") {
            return Ok(());
        }
        let typed = |object: &'_ dyn Object| object.downcast_ref::<PersistentVolumeClaim>().cloned();
        let (Some(new), Some(old)) = (object.and_then(typed), attributes.old.and_then(typed)) else { return Ok(()) };
        if size(&new) <= size(&old) {
            return Ok(());
        }
        let bound = old.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
        if !bound {
            return Err(attributes.forbidden(object, "Only bound persistent volume claims can be expanded"));
        }
        let class = class(&new).filter(|name| !name.is_empty() && self::class(&old) == Some(name));
        let class = class.map(|name| attributes.reader.get::<StorageClass>("", name)).transpose()?.flatten();
        if class.is_none_or(|class| class.allow_volume_expansion != Some(true)) {
            let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
            return Err(attributes.forbidden(object, why));
        }
        Ok(())
    }
}

fn size(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let storage = resources.and_then(|resources| resources.requests.as_ref()?.get("storage"));
    storage.map(Quantity::of).unwrap_or_default()
}

fn class(claim: &PersistentVolumeClaim) -> Option<&String> {
    let annotated = claim.metadata.annotations.as_ref().and_then(|all| all.get(BETA_CLASS));
    annotated.or_else(|| claim.spec.as_ref()?.storage_class_name.as_ref())
}
