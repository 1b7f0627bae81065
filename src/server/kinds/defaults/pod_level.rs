//! The defaults of a pod's own resources (KEP-2837): what is said for the pod as a whole is completed from what its
//! containers say. Nothing happens to a pod that says nothing as a whole.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};

use crate::api::pod::{Resources, container_limits, container_requests};
use crate::server::validation::resources::{is_huge_page, is_pod_level, overcommits};

/// After the containers have their own defaults.
pub fn resources(spec: &mut PodSpec) {
    let Some(whole) = &spec.resources else { return };
    if is_empty(whole) {
        return;
    }
    let mut whole = whole.clone();
    let limits = container_limits(spec);
    let requested = |name: &str| whole.requests.as_ref().is_some_and(|list| list.contains_key(name));
    let huge: Resources = pick(&limits, |name| is_huge_page(name) && !requested(name));
    complete(&mut whole.limits, &huge);
    if whole.limits.as_ref().is_some_and(|limits| !limits.is_empty()) {
        complete(&mut whole.requests, &pick(&container_requests(spec), |name| is_pod_level(name) && overcommits(name)));
        let own = whole.limits.clone().unwrap_or_default().into_iter().filter(|(name, _)| is_pod_level(name)).collect();
        super::fill(&mut whole.requests, Some(&own));
    }
    let says = |list: &Option<BTreeMap<String, _>>| list.iter().flat_map(BTreeMap::keys).any(|name| is_pod_level(name));
    if !says(&whole.limits) && says(&whole.requests) {
        let common = pick(&limits, |name| is_pod_level(name) && overcommits(name) && all_limit(spec, name));
        complete(&mut whole.limits, &common);
    }
    spec.resources = Some(whole);
}

fn is_empty(resources: &ResourceRequirements) -> bool {
    [&resources.limits, &resources.requests].iter().all(|list| list.as_ref().is_none_or(BTreeMap::is_empty))
}

fn pick(from: &Resources, wanted: impl Fn(&str) -> bool) -> Resources {
    from.iter().filter(|(name, _)| wanted(name)).map(|(name, amount)| (name.clone(), *amount)).collect()
}

fn complete(list: &mut Option<super::List>, from: &Resources) {
    let from = from.iter().map(|(name, amount)| (name.clone(), amount.to_wire())).collect();
    super::fill(list, Some(&from));
}

fn all_limit(spec: &PodSpec, name: &str) -> bool {
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).all(|container| {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        limits.is_some_and(|limits| limits.contains_key(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_pod_leaves_open_comes_from_its_containers() {
        let cases = [
            (json!({"limits": {"cpu": "2"}}), json!({"limits": {"cpu": "2"}, "requests": {"cpu": "1"}})),
            (
                json!({"limits": {"memory": "1Gi"}}),
                json!({"limits": {"memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}),
            ),
            (json!({"requests": {"cpu": "3"}}), json!({"limits": {"cpu": "2"}, "requests": {"cpu": "3"}})),
            (json!({}), json!({})),
        ];
        for (given, expected) in cases {
            let container = json!({"name": "a", "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}});
            let spec = json!({"containers": [container], "resources": given});
            let mut spec: PodSpec = serde_json::from_value(spec).unwrap();
            resources(&mut spec);
            assert_eq!(serde_json::to_value(spec.resources).unwrap(), expected, "{given}");
        }
    }
}
