//! The defaults a LimitRange gives to containers, and the annotation that tells of them. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, LimitRange, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

type Resources = BTreeMap<String, Quantity>;

/// Fills in what the containers leave out.
pub(super) fn fill(range: &LimitRange, pod: &mut Pod) {
    let (mut requests, mut limits) = (Resources::new(), Resources::new());
    let items = range.spec.iter().flat_map(|spec| &spec.limits);
    for item in items.filter(|item| item.type_ == "Container") {
        requests.extend(item.default_request.clone().unwrap_or_default());
        limits.extend(item.default.clone().unwrap_or_default());
    }
    let mut told = Vec::new();
    let Some(spec) = &mut pod.spec else { return };
    for container in &mut spec.containers {
        merge(container, "container", &requests, &limits, &mut told);
    }
    for container in spec.init_containers.iter_mut().flatten() {
        merge(container, "init container", &requests, &limits, &mut told);
    }
    if !told.is_empty() {
        let text = format!("LimitRanger plugin set: {}", told.join("; "));
        pod.metadata.annotations.get_or_insert_default().insert(ANNOTATION.to_owned(), text);
    }
}

fn merge(container: &mut Container, what: &str, requests: &Resources, limits: &Resources, told: &mut Vec<String>) {
    let name = container.name.clone();
    if requests.is_empty() && limits.is_empty() {
        return;
    }
    let own = container.resources.get_or_insert_default();
    let mut tell = |set: Vec<&str>, list: &str| {
        if !set.is_empty() {
            told.push(format!("{} {list} for {what} {name}", set.join(", ")));
        }
    };
    tell(missing(&mut own.requests, requests), "request");
    tell(missing(&mut own.limits, limits), "limit");
}

/// Adds what is not there yet; gives the names added.
fn missing<'a>(own: &mut Option<Resources>, defaults: &'a Resources) -> Vec<&'a str> {
    let absent = |name: &str| own.as_ref().is_none_or(|own| !own.contains_key(name));
    let added: Vec<_> = defaults.iter().filter(|(name, _)| absent(name)).collect();
    if added.is_empty() {
        return Vec::new();
    }
    let own = own.get_or_insert_default();
    added.iter().for_each(|(name, amount)| drop(own.insert((*name).clone(), (*amount).clone())));
    added.into_iter().map(|(name, _)| name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_left_out_is_filled_in_and_told() {
        let range = json!({"spec": {"limits": [
            {"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "500m"}},
            {"type": "Pod", "max": {"cpu": "4"}},
        ]}});
        let range: LimitRange = serde_json::from_value(range).unwrap();
        let pod = json!({"spec": {
            "containers": [{"name": "a", "resources": {"limits": {"cpu": "2"}}}, {"name": "b"}],
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1"}}}],
        }});
        let mut pod: Pod = serde_json::from_value(pod).unwrap();
        fill(&range, &mut pod);
        let shown: Value = serde_json::to_value(&pod.spec).unwrap();
        let wanted = json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "500m"}});
        assert_eq!(shown["containers"][0]["resources"], wanted);
        let wanted = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}});
        assert_eq!(shown["initContainers"][0]["resources"], wanted);
        assert_eq!(
            pod.metadata.annotations.unwrap()[ANNOTATION],
            "LimitRanger plugin set: cpu request for container a; memory limit for container a; cpu request for \
             container b; cpu, memory limit for container b; cpu, memory limit for init container i"
        );
    }
}
