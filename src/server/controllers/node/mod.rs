//! The controllers that look after nodes and the pods on them.

pub mod eviction;
mod health;
pub mod ipam;
pub mod lifecycle;
pub mod metrics;
pub mod pod_gc;

use k8s_openapi::api::core::v1::Pod;

use crate::reconcile::{Env, Index};
pub use health::is_ready;

/// Pods by the node they are bound to.
pub type PodsOn = Index<String, Pod>;

pub fn pods_on(env: &Env) -> PodsOn {
    Index::new(&env.informers.get(), |pod: &Pod| node_of(pod).map(str::to_owned).into_iter().collect())
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty())
}
