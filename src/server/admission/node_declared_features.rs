//! NodeDeclaredFeatureValidator: a bound pod changes only in ways that its node says it can follow.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::PodSpec;

use super::{Attributes, Operation, Plugin, pod_spec};
use crate::api::object::Object;
use crate::api::pod::is_sidecar;
use crate::api::status::Result;

pub struct NodeDeclaredFeatureValidator;

const RESIZES_INIT_CONTAINERS: &str = "InPlacePodVerticalScalingInitContainers";

#[async_trait]
impl Plugin for NodeDeclaredFeatureValidator {
    fn name(&self) -> &'static str {
        "NodeDeclaredFeatureValidator"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        let subresource = attributes.context.subresource.as_str();
        if !attributes.concerns("", "pods") || !matches!(subresource, "" | "resize") {
            return Ok(());
        }
        let (Some(new), Some(old)) = (object.and_then(pod_spec), attributes.old.and_then(pod_spec)) else {
            return Ok(());
        };
        if !resizes_init_containers(new, old) {
            return Ok(());
        }
        let Some(node) = attributes.node_of(object, new)? else { return Ok(()) };
        let declared = node.status.and_then(|status| status.declared_features).unwrap_or_default();
        if declared.iter().any(|feature| feature == RESIZES_INIT_CONTAINERS) {
            return Ok(());
        }
        let name = node.metadata.name.unwrap_or_default();
        let why =
            format!("pod update requires features {RESIZES_INIT_CONTAINERS} which are not available on node {name:?}");
        Err(attributes.forbidden(object, &why))
    }
}

fn resizes_init_containers(new: &PodSpec, old: &PodSpec) -> bool {
    let (new, old) = (new.init_containers.iter().flatten(), old.init_containers.iter().flatten());
    old.zip(new).any(|(old, new)| !is_sidecar(old) && old.resources != new.resources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn only_init_containers_that_end_need_a_node_that_says_so() {
        let spec = |sidecar: &str, init: &str| -> PodSpec {
            let container = |name: &str, cpu: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
            let mut first: Value = container("s", sidecar);
            first["restartPolicy"] = json!("Always");
            serde_json::from_value(json!({"containers": [], "initContainers": [first, container("i", init)]})).unwrap()
        };
        let old = spec("1", "1");
        assert!(!resizes_init_containers(&spec("2", "1"), &old));
        assert!(resizes_init_containers(&spec("1", "2"), &old));
    }
}
