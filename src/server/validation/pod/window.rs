//! What `pods/ephemeralcontainers` and `pods/resize` may change: debuggers come and stay, and CPU and memory change
//! within a pod's class.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::field::{Error, Errors, Path};
use crate::api::pod::qos_class;

type List = BTreeMap<String, Quantity>;

pub fn window(new: &Pod, old: &Pod) -> Errors {
    let mut errors = Errors::new();
    let (Some(new_spec), Some(old_spec)) = (&new.spec, &old.spec) else { return errors };
    if new_spec == old_spec {
        return errors;
    }
    let path = Path::new("spec");
    super::pod_spec(&mut errors, &path, new_spec);
    ephemeral(&mut errors, &path.child("ephemeralContainers"), new_spec, old_spec);
    resize(&mut errors, &path, new_spec, old);
    errors
}

fn ephemeral(errors: &mut Errors, path: &Path, new: &PodSpec, old: &PodSpec) {
    for before in old.ephemeral_containers.iter().flatten() {
        let name = &before.name;
        match new.ephemeral_containers.iter().flatten().find(|after| after.name == *name) {
            None => {
                let detail = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.push(Error::forbidden(path, detail));
            }
            Some(after) if after != before => {
                let detail = format!("existing ephemeral containers {name:?} may not be changed\n");
                errors.push(Error::forbidden(path, detail));
            }
            Some(_) => {}
        }
    }
}

fn resize(errors: &mut Errors, path: &Path, new: &PodSpec, old: &Pod) {
    let Some(old_spec) = &old.spec else { return };
    let resources = |spec: &PodSpec| spec.containers.iter().map(|one| one.resources.clone()).collect::<Vec<_>>();
    if resources(new) == resources(old_spec) {
        return;
    }
    let class = qos_class(old_spec);
    if qos_class(new) != class {
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.push(Error::invalid(&Path::new("metadata"), class, detail));
    }
    let here = path.child("containers");
    for (at, (after, before)) in new.containers.iter().zip(&old_spec.containers).enumerate() {
        container(errors, &here.index(at).child("resources"), after, before);
    }
}

fn container(errors: &mut Errors, path: &Path, after: &Container, before: &Container) {
    let none = List::new();
    let lists = |container: &Container| {
        let resources = container.resources.clone().unwrap_or_default();
        [("limits", resources.limits), ("requests", resources.requests)]
    };
    for ((kind, after), (_, before)) in lists(after).iter().zip(&lists(before)) {
        let (after, before) = (after.as_ref().unwrap_or(&none), before.as_ref().unwrap_or(&none));
        for name in before.keys().filter(|name| is_changeable(name) && !after.contains_key(*name)) {
            let detail = format!("resource {kind} cannot be removed");
            errors.push(Error::forbidden(&path.child(kind).key(name), detail));
        }
        let fixed = |list: &List| {
            let fixed = list.iter().filter(|(name, _)| !is_changeable(name));
            fixed.map(|(name, value)| (name.clone(), value.clone())).collect::<List>()
        };
        if fixed(after) != fixed(before) {
            errors.push(Error::forbidden(&path.child(kind), "only cpu and memory resources are mutable"));
        }
    }
}

fn is_changeable(name: &str) -> bool {
    matches!(name, "cpu" | "memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(resources: Value, debuggers: Value) -> Pod {
        let common = json!({"image": "x", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"});
        let with = |extra: Value| {
            let mut all = common.clone();
            all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            all
        };
        let debuggers: Vec<_> = debuggers.as_array().unwrap().iter().map(|one| with(one.clone())).collect();
        let mut pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {
            "containers": [with(json!({"name": "c", "resources": resources}))], "ephemeralContainers": debuggers}}))
        .unwrap();
        crate::server::kinds::defaults::pod::pod(&mut pod);
        pod
    }

    fn said(new: &Pod, old: &Pod) -> Vec<String> {
        window(new, old).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn debuggers_come_and_stay() {
        let none = pod(json!({}), json!([]));
        let one = pod(json!({}), json!([{"name": "d", "targetContainerName": "c"}]));
        let other = pod(json!({}), json!([{"name": "d", "command": ["sh"]}]));
        assert_eq!(said(&one, &none), Vec::<String>::new());
        assert_eq!(
            said(&none, &one),
            ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed\n"]
        );
        assert_eq!(
            said(&other, &one),
            ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be changed\n"]
        );
    }

    #[test]
    fn resources_change_within_the_class() {
        let burstable = |cpu: &str| pod(json!({"requests": {"cpu": cpu, "memory": "1Mi"}}), json!([]));
        assert_eq!(said(&burstable("200m"), &burstable("100m")), Vec::<String>::new());
        let guaranteed = pod(json!({"limits": {"cpu": "1", "memory": "1Mi"}}), json!([]));
        assert_eq!(
            said(&burstable("1"), &guaranteed),
            [
                "metadata: Invalid value: \"Guaranteed\": Pod QOS Class may not change as a result of resizing",
                "spec.containers[0].resources.limits[cpu]: Forbidden: resource limits cannot be removed",
                "spec.containers[0].resources.limits[memory]: Forbidden: resource limits cannot be removed",
            ]
        );
        let disk = pod(json!({"requests": {"cpu": "100m", "memory": "1Mi", "ephemeral-storage": "1Gi"}}), json!([]));
        assert_eq!(
            said(&disk, &burstable("100m")),
            ["spec.containers[0].resources.requests: Forbidden: only cpu and memory resources are mutable"]
        );
    }
}
