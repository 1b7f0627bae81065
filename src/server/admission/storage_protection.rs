//! StorageObjectInUseProtection: claims, volumes and attribute classes stay, once deleted, until nobody uses them. The
//! protection controllers take the finalizers away.

use async_trait::async_trait;

use super::{Attributes, Operation, Plugin};
use crate::api::object::Object;
use crate::api::status::Result;

pub struct StorageObjectInUseProtection;

/// Group, resource and finalizer.
const PROTECTED: [(&str, &str, &str); 3] = [
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection"),
];

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        let protected = PROTECTED.iter().find(|(group, resource, _)| attributes.is(group, resource));
        let Some((.., finalizer)) = protected else { return Ok(()) };
        let finalizers = object.meta_mut().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|name| name == finalizer) {
            finalizers.push((*finalizer).to_owned());
        }
        Ok(())
    }
}
