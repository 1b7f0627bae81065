//! TaintNodesByCondition: a new node gets no pods before it is ready. The node lifecycle controller takes the taint
//! away.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Taint};

use super::{Attributes, Plugin};
use crate::api::object::Object;
use crate::api::status::Result;

pub struct TaintNodesByCondition;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const NO_SCHEDULE: &str = "NoSchedule";

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        if !attributes.creates("", "nodes") {
            return Ok(());
        }
        let Some(node) = object.downcast_mut::<Node>() else { return Ok(()) };
        let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
        if !taints.iter().any(|taint| taint.key == NOT_READY && taint.effect == NO_SCHEDULE) {
            taints.push(Taint { key: NOT_READY.to_owned(), effect: NO_SCHEDULE.to_owned(), ..Taint::default() });
        }
        Ok(())
    }
}
