//! RuntimeClass: a pod carries the overhead of its runtime and goes where that runtime is.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Toleration};
use k8s_openapi::api::node::v1::RuntimeClass as Class;

use super::{Attributes, Plugin};
use crate::api::object::Object;
use crate::api::quota::amounts;
use crate::api::status::Result;

pub struct RuntimeClass;

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        let Some(pod) = object.downcast_mut::<Pod>().filter(|_| attributes.creates("", "pods")) else { return Ok(()) };
        let Some(class) = find(attributes, pod)? else { return Ok(()) };
        let mut spec = pod.spec.clone().unwrap_or_default();
        settle(&class, &mut spec).map_err(|why| attributes.forbidden(Some(pod), &why))?;
        pod.spec = Some(spec);
        Ok(())
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        let pod = object.and_then(|object| object.downcast_ref::<Pod>());
        let Some(pod) = pod.filter(|_| attributes.creates("", "pods")) else { return Ok(()) };
        let class = find(attributes, pod)?;
        let given = pod.spec.as_ref().and_then(|spec| spec.overhead.as_ref());
        let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(()) };
        let why = match class.as_ref().and_then(|class| class.overhead.as_ref()) {
            Some(wanted) if amounts(wanted.pod_fixed.as_ref()) != amounts(Some(given)) => MISMATCH,
            Some(_) => return Ok(()),
            None => "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        };
        Err(attributes.forbidden(object, why))
    }
}

fn find(attributes: &Attributes<'_>, pod: &Pod) -> Result<Option<Class>> {
    let Some(name) = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref()) else { return Ok(None) };
    let found = attributes.reader.get::<Class>("", name)?;
    let missing = || attributes.forbidden(Some(pod), &format!("pod rejected: RuntimeClass {name:?} not found"));
    found.ok_or_else(missing).map(Some)
}

/// Gives the pod what its class says, or says why the two do not fit.
fn settle(class: &Class, spec: &mut PodSpec) -> std::result::Result<(), String> {
    if let Some(overhead) = &class.overhead {
        let given = amounts(spec.overhead.as_ref());
        if !given.is_empty() && amounts(overhead.pod_fixed.as_ref()) != given {
            return Err(MISMATCH.to_owned());
        }
        spec.overhead.clone_from(&overhead.pod_fixed);
    }
    let Some(scheduling) = &class.scheduling else { return Ok(()) };
    for (key, value) in scheduling.node_selector.iter().flatten() {
        let selector = spec.node_selector.get_or_insert_default();
        if let Some(given) = selector.get(key).filter(|given| *given != value) {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {given}"
            ));
        }
        selector.insert(key.clone(), value.clone());
    }
    let own = spec.tolerations.take().unwrap_or_default();
    let merged = merge(own, scheduling.tolerations.clone().unwrap_or_default());
    spec.tolerations = (!merged.is_empty()).then_some(merged);
    Ok(())
}

/// Both lists, without those that another one covers.
fn merge(mut all: Vec<Toleration>, more: Vec<Toleration>) -> Vec<Toleration> {
    all.extend(more);
    let mut merged: Vec<Toleration> = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let earlier = merged.iter().any(|other| covers(other, one));
        // Of equal ones the first stays.
        let later = all[at + 1..].iter().any(|other| other != one && covers(other, one));
        if !earlier && !later {
            merged.push(one.clone());
        }
    }
    merged
}

/// Whether `wide` tolerates everything that `narrow` does.
fn covers(wide: &Toleration, narrow: &Toleration) -> bool {
    fn text(field: &Option<String>) -> &str {
        field.as_deref().unwrap_or_default()
    }
    if wide == narrow {
        return true;
    }
    let exists = text(&wide.operator) == "Exists";
    let every_key = text(&wide.key).is_empty() && exists;
    if text(&wide.key) != text(&narrow.key) && !every_key {
        return false;
    }
    if text(&wide.effect) != text(&narrow.effect) && !text(&wide.effect).is_empty() {
        return false;
    }
    if text(&wide.effect) == "NoExecute"
        && let Some(longest) = wide.toleration_seconds
        && narrow.toleration_seconds.is_none_or(|seconds| seconds > longest)
    {
        return false;
    }
    let equal = |field: &Option<String>| matches!(text(field), "" | "Equal");
    exists || (equal(&wide.operator) && equal(&narrow.operator) && text(&wide.value) == text(&narrow.value))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settled(class: Value, spec: Value) -> std::result::Result<Value, String> {
        let mut class = class;
        class["handler"] = json!("h");
        let mut spec: PodSpec = serde_json::from_value(spec).unwrap();
        settle(&serde_json::from_value(class).unwrap(), &mut spec)?;
        Ok(serde_json::to_value(spec).unwrap())
    }

    #[test]
    fn overhead_and_place_come_from_the_class() {
        let class = json!({
            "overhead": {"podFixed": {"cpu": "250m"}},
            "scheduling": {"nodeSelector": {"runtime": "kata"}, "tolerations": [{"key": "kata", "operator": "Exists"}]},
        });
        let given = json!({"containers": [], "nodeSelector": {"zone": "a"}, "overhead": {"cpu": "0.25"},
            "tolerations": [{"key": "kata", "operator": "Equal", "value": "x", "effect": "NoSchedule"}]});
        let found = settled(class.clone(), given).unwrap();
        assert_eq!(found["overhead"], json!({"cpu": "250m"}));
        assert_eq!(found["nodeSelector"], json!({"zone": "a", "runtime": "kata"}));
        assert_eq!(found["tolerations"], json!([{"key": "kata", "operator": "Exists"}]));
        let other = json!({"containers": [], "overhead": {"cpu": "1"}});
        assert_eq!(settled(class.clone(), other).unwrap_err(), MISMATCH);
        let elsewhere = json!({"containers": [], "nodeSelector": {"runtime": "runc"}});
        assert_eq!(
            settled(class, elsewhere).unwrap_err(),
            "conflict: runtimeClass.scheduling.nodeSelector[runtime] = kata; pod.spec.nodeSelector[runtime] = runc"
        );
    }
}
