//! NodeUnschedulable: a cordoned node takes only pods that tolerate that.

use k8s_openapi::api::core::v1::Taint;

use super::taint_toleration::tolerates;
use crate::server::scheduler::framework::{Filter, Reason, Wake};
use crate::server::scheduler::snapshot::{NodeInfo, PodInfo};

pub struct NodeUnschedulable;

impl Filter for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn reject(&self, pod: &PodInfo, node: &NodeInfo) -> Vec<Reason> {
        let cordoned = node.node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
        if !cordoned {
            return Vec::new();
        }
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        let tolerations = pod.spec().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
        match tolerates(tolerations, &taint) {
            true => Vec::new(),
            false => vec!["node(s) were unschedulable".into()],
        }
    }

    fn woken_by(&self, wake: Wake) -> bool {
        wake == Wake::Node
    }
}
