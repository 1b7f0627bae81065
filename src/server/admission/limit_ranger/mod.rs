//! LimitRanger: fills in the defaults of a namespace's LimitRanges and refuses what is beyond their bounds.
//!
//! Pods are looked at when they are created or resized, claims also when they are updated.

mod bounds;
mod defaults;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{LimitRange, PersistentVolumeClaim, Pod};

use super::{Attributes, Operation, Plugin};
use crate::api::object::Object;
use crate::api::status::Result;

pub struct LimitRanger;

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        if !concerns(attributes, object) || !attributes.concerns("", "pods") {
            return Ok(());
        }
        let ranges = attributes.reader.list::<LimitRange>(&attributes.context.namespace).await?;
        let Some(pod) = object.downcast_mut::<Pod>() else { return Ok(()) };
        ranges.iter().for_each(|range| defaults::fill(range, pod));
        Ok(())
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        let Some(object) = object.filter(|object| concerns(attributes, *object)) else { return Ok(()) };
        for range in attributes.reader.list::<LimitRange>(&attributes.context.namespace).await? {
            let wrong = if let Some(pod) = object.downcast_ref::<Pod>() {
                bounds::pod(&range, pod)
            } else if let Some(claim) = object.downcast_ref::<PersistentVolumeClaim>() {
                bounds::claim(&range, claim)
            } else {
                Vec::new()
            };
            if let Some(why) = aggregate(wrong) {
                return Err(attributes.forbidden(Some(object), &why));
            }
        }
        Ok(())
    }
}

/// Whether this write can change what is limited. What is being deleted is let go.
fn concerns(attributes: &Attributes<'_>, object: &dyn Object) -> bool {
    let creates = attributes.operation == Operation::Create;
    if !creates && object.meta().deletion_timestamp.is_some() {
        return false;
    }
    match attributes.context.subresource.as_str() {
        "" if attributes.concerns("", "pods") => creates,
        "" => attributes.concerns("", "persistentvolumeclaims"),
        "resize" => attributes.concerns("", "pods"),
        _ => false,
    }
}

/// Several reasons as one, as `utilerrors.NewAggregate` words them; `None` where there is none.
fn aggregate(mut wrong: Vec<String>) -> Option<String> {
    let mut seen = std::collections::HashSet::new();
    wrong.retain(|why| seen.insert(why.clone()));
    match wrong.len() {
        0 => None,
        1 => wrong.pop(),
        _ => Some(format!("[{}]", wrong.join(", "))),
    }
}
