//! Priority: the number behind a pod's priority class; and only one class may be the default.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{Attributes, Operation, Plugin};
use crate::api::object::Object;
use crate::api::status::{Failure, Result};

pub struct Priority;

const DEFAULT_POLICY: &str = "PreemptLowerPriority";
/// Classes that exist even before somebody stores them.
const SYSTEM: [(&str, i32); 2] = [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        if !attributes.is("", "pods") {
            return Ok(());
        }
        let Some(pod) = object.downcast_mut::<Pod>() else { return Ok(()) };
        match attributes.operation {
            Operation::Create => resolve(attributes, pod).await,
            Operation::Update => {
                let old = attributes.old.and_then(|old| old.downcast_ref::<Pod>()).and_then(|old| old.spec.as_ref());
                if let (Some(spec), Some(old)) = (&mut pod.spec, old) {
                    spec.priority = spec.priority.or(old.priority);
                    if spec.preemption_policy.is_none() {
                        spec.preemption_policy.clone_from(&old.preemption_policy);
                    }
                }
                Ok(())
            }
            Operation::Delete | Operation::Connect => Ok(()),
        }
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        let class = object.and_then(|object| object.downcast_ref::<PriorityClass>());
        let Some(class) = class.filter(|class| class.global_default == Some(true)) else { return Ok(()) };
        for other in attributes.reader.list::<PriorityClass>("").await? {
            if other.global_default == Some(true) && other.metadata.name != class.metadata.name {
                let other = other.metadata.name.unwrap_or_default();
                let why = format!("PriorityClass {other} is already marked as default. Only one default can exist");
                let name = class.metadata.name.as_deref().unwrap_or_default();
                return Err(Failure::forbidden(attributes.context.kind.meta().resource(), name, &why));
            }
        }
        Ok(())
    }
}

struct Resolved {
    value: i32,
    policy: String,
}

async fn resolve(attributes: &Attributes<'_>, pod: &mut Pod) -> Result<()> {
    let pod_name = pod.metadata.name.clone().unwrap_or_default();
    let refuse = |why: String| Err(Failure::forbidden(attributes.context.kind.meta().resource(), &pod_name, &why));
    let spec = pod.spec.get_or_insert_with(Default::default);
    let name = spec.priority_class_name.clone().unwrap_or_default();
    let found = if name.is_empty() {
        let (class, resolved) = default_class(attributes).await?;
        spec.priority_class_name = class;
        resolved
    } else if let Some(class) = attributes.reader.get::<PriorityClass>("", &name)? {
        Resolved { value: class.value.unwrap_or(0), policy: policy(&class) }
    } else if let Some((_, value)) = SYSTEM.iter().find(|(system, _)| *system == name) {
        Resolved { value: *value, policy: DEFAULT_POLICY.to_owned() }
    } else {
        return refuse(format!("no PriorityClass with name {name} was found"));
    };
    if let Some(given) = spec.priority.filter(|given| *given != found.value) {
        return refuse(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {} from the given PriorityClass name",
            found.value
        ));
    }
    if let Some(given) = spec.preemption_policy.as_ref().filter(|given| **given != found.policy) {
        return refuse(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {} from the given PriorityClass name",
            found.policy
        ));
    }
    spec.priority = Some(found.value);
    spec.preemption_policy = Some(found.policy);
    Ok(())
}

fn policy(class: &PriorityClass) -> String {
    class.preemption_policy.clone().unwrap_or_else(|| DEFAULT_POLICY.to_owned())
}

/// The lowest of the classes marked as default; without one, zero.
async fn default_class(attributes: &Attributes<'_>) -> Result<(Option<String>, Resolved)> {
    let classes = attributes.reader.list::<PriorityClass>("").await?;
    let lowest = classes.into_iter().filter(|class| class.global_default == Some(true)).min_by_key(|class| class.value);
    Ok(match lowest {
        Some(class) => {
            (class.metadata.name.clone(), Resolved { value: class.value.unwrap_or(0), policy: policy(&class) })
        }
        None => (None, Resolved { value: 0, policy: DEFAULT_POLICY.to_owned() }),
    })
}
