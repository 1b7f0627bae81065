//! DefaultStorageClass: a claim that names no class gets the default one.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;

use super::{Attributes, Plugin, newest};
use crate::api::object::Object;
use crate::api::status::Result;

pub struct DefaultStorageClass;

/// The class of a claim from before `spec.storageClassName`.
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        if !attributes.creates("", "persistentvolumeclaims") {
            return Ok(());
        }
        let Some(claim) = object.downcast_mut::<PersistentVolumeClaim>() else { return Ok(()) };
        let spec = claim.spec.get_or_insert_default();
        let annotated = claim.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(BETA_CLASS));
        if annotated || spec.storage_class_name.is_some() {
            return Ok(());
        }
        let classes = attributes.reader.list::<StorageClass>("").await?;
        let defaults = classes.iter().map(|class| &class.metadata).filter(|meta| is_default(meta.annotations.as_ref()));
        spec.storage_class_name = newest(defaults);
        Ok(())
    }
}

fn is_default(annotations: Option<&std::collections::BTreeMap<String, String>>) -> bool {
    let says = |key: &str| annotations.and_then(|all| all.get(key)).is_some_and(|value| value == "true");
    DEFAULT.into_iter().any(says)
}
