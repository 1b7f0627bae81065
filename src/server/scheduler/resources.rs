//! What pods ask for and may use, as the scheduler sees it: upstream's `/metrics/resources`. Looked up when somebody asks.

use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

use crate::api::pod::{self, Resources};
use crate::api::quantity::Quantity;
use crate::reconcile::Informer;

pub(super) struct PodResources(pub Informer<Pod>);

impl fmt::Debug for PodResources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PodResources")
    }
}

impl Collector for PodResources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let pods = self.0.store().state();
        let mut family = |name: &str, help: &str, of: fn(&Pod) -> Resources| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            pods.iter().filter(|pod| counts(pod)).try_for_each(|pod| write(&mut family, pod, &of(pod)))
        };
        let help = "Resources requested by workloads on the cluster, broken down by pod";
        family("kube_pod_resource_request", help, |pod| pod.spec.as_ref().map(pod::requests).unwrap_or_default())?;
        let help = "Resources limit for workloads on the cluster, broken down by pod";
        family("kube_pod_resource_limit", help, |pod| pod.spec.as_ref().map(pod::limits).unwrap_or_default())
    }
}

/// What has ended on its node takes nothing of it any more.
fn counts(pod: &Pod) -> bool {
    let placed = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty());
    !(placed && pod::is_terminal(pod))
}

fn write(family: &mut MetricEncoder<'_>, pod: &Pod, resources: &Resources) -> fmt::Result {
    let (meta, spec) = (&pod.metadata, pod.spec.as_ref());
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    for (resource, amount) in resources.iter().filter(|(_, amount)| !amount.is_zero()) {
        let (unit, amount) = measured(resource, *amount);
        let labels = [
            ("namespace", text(meta.namespace.as_ref())),
            ("pod", text(meta.name.as_ref())),
            ("node", text(spec.and_then(|spec| spec.node_name.as_ref()))),
            ("scheduler", text(spec.and_then(|spec| spec.scheduler_name.as_ref()))),
            ("priority", spec.and_then(|spec| spec.priority).map(|priority| priority.to_string()).unwrap_or_default()),
            ("resource", resource.clone()),
            ("unit", unit.to_owned()),
        ];
        family.encode_family(&labels)?.encode_gauge(&amount)?;
    }
    Ok(())
}

/// In what a resource is measured, and how much that is.
fn measured(resource: &str, amount: Quantity) -> (&'static str, f64) {
    let whole = amount.value() as f64;
    match resource {
        "cpu" => ("cores", amount.milli() as f64 / 1e3),
        "memory" | "storage" | "ephemeral-storage" => ("bytes", whole),
        _ if resource.starts_with("hugepages-") => ("bytes", whole),
        _ => ("integer", whole),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn resources_have_upstreams_units() {
        for (resource, amount, unit, expected) in [
            ("cpu", "250m", "cores", 0.25),
            ("memory", "1Mi", "bytes", 1_048_576.0),
            ("hugepages-2Mi", "4Mi", "bytes", 4_194_304.0),
            ("example.com/gpu", "2", "integer", 2.0),
        ] {
            assert_eq!(measured(resource, Quantity::parse(amount).unwrap()), (unit, expected), "{resource}");
        }
    }

    #[test]
    fn what_has_ended_on_a_node_counts_no_more() {
        for (node, phase, expected) in [("", "Failed", true), ("n", "Running", true), ("n", "Succeeded", false)] {
            let pod = json!({"spec": {"nodeName": node, "containers": []}, "status": {"phase": phase}});
            assert_eq!(counts(&serde_json::from_value(pod).unwrap()), expected, "{node} {phase}");
        }
    }
}
