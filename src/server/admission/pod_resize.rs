//! PodResizeValidator: a bound pod grows only where its node can resize pods at all and could ever hold it.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;

use super::{Attributes, Operation, Plugin, pod_spec};
use crate::api::object::Object;
use crate::api::pod::requests;
use crate::api::quantity::Quantity;
use crate::api::status::Result;

pub struct PodResizeValidator;

const OS: &str = "kubernetes.io/os";

#[async_trait]
impl Plugin for PodResizeValidator {
    fn name(&self) -> &'static str {
        "PodResizeValidator"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        if attributes.context.subresource != "resize" || !attributes.concerns("", "pods") {
            return Ok(());
        }
        let Some(new) = object.and_then(pod_spec) else { return Ok(()) };
        if attributes.old.and_then(pod_spec) == Some(new) {
            return Ok(());
        }
        let Some(node) = attributes.node_of(object, new)? else { return Ok(()) };
        match problem(new, &node) {
            None => Ok(()),
            Some((cause, why)) => {
                let cause = StatusCause { reason: Some(cause.to_owned()), ..Default::default() };
                Err(attributes.forbidden(object, &why).with_causes(vec![cause]))
            }
        }
    }
}

/// The cause and the words of a refusal.
fn problem(spec: &PodSpec, node: &Node) -> Option<(&'static str, String)> {
    let os = node.metadata.labels.as_ref().and_then(|labels| labels.get(OS));
    if let Some(os) = os.filter(|os| *os != "linux") {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let why = format!("pod resize is only supported on linux nodes, node {name:?} is {os:?}");
        return Some(("UnsupportedPlatform", why));
    }
    let wanted = requests(spec);
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let mut lacking = Vec::new();
    for (resource, number) in [("cpu", Quantity::milli as fn(Quantity) -> i64), ("memory", Quantity::value)] {
        let wanted = wanted.get(resource).copied().unwrap_or_default();
        let has = allocatable.and_then(|list| list.get(resource)).map(Quantity::of).unwrap_or_default();
        if wanted > has {
            lacking.push(format!("{resource}, requested: {}, allocatable: {}", number(wanted), number(has)));
        }
    }
    let why = || format!("node didn't have enough allocatable resources: {}", lacking.join("; "));
    (!lacking.is_empty()).then(|| ("NodeCapacity", why()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_that_can_never_hold_the_pod() {
        let cases = [
            (json!({}), "1", "1Gi", None),
            (json!({OS: "linux"}), "1", "1Gi", None),
            (
                json!({OS: "windows"}),
                "9",
                "1Gi",
                Some((
                    "UnsupportedPlatform",
                    "pod resize is only supported on linux nodes, node \"n\" is \"windows\"".to_owned(),
                )),
            ),
            (
                json!({}),
                "2500m",
                "2Gi",
                Some((
                    "NodeCapacity",
                    "node didn't have enough allocatable resources: cpu, requested: 2500, allocatable: 2000; memory, requested: 2147483648, allocatable: 1073741824".to_owned(),
                )),
            ),
        ];
        for (labels, cpu, memory, expected) in cases {
            let node = json!({"metadata": {"name": "n", "labels": labels}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}});
            let spec =
                json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]});
            let (node, spec) = (serde_json::from_value(node).unwrap(), serde_json::from_value(spec).unwrap());
            assert_eq!(problem(&spec, &node), expected, "{labels} {cpu} {memory}");
        }
    }
}
