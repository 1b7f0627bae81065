//! The bounds of a LimitRange: minimum, maximum and ratio of limit to request, in upstream's words. Pure.

use k8s_openapi::api::core::v1::{Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod, PodSpec};

use crate::api::pod::{self as pods, Resources};
use crate::api::quantity::Quantity;
use crate::api::quota::amounts;

/// Everything a pod violates.
pub(super) fn pod(range: &LimitRange, pod: &Pod) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(spec) = &pod.spec else { return wrong };
    for item in range.spec.iter().flat_map(|spec| &spec.limits) {
        match item.type_.as_str() {
            "Container" => {
                for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
                    let (requests, limits) = of_container(container);
                    check(item, &requests, &limits, &mut wrong);
                }
            }
            "Pod" => {
                // What the runtime itself needs is not the pod's; of what is said of the pod as a whole these count here.
                let mut bare = PodSpec { overhead: None, ..spec.clone() };
                let whole = bare.resources.iter_mut().flat_map(|whole| [&mut whole.requests, &mut whole.limits]);
                whole.flatten().for_each(|list| list.retain(|name, _| matches!(name.as_str(), "cpu" | "memory")));
                check(item, &pods::requests(&bare), &pods::limits(&bare), &mut wrong);
            }
            _ => {}
        }
    }
    wrong
}

/// Everything a claim violates: only its requests count.
pub(super) fn claim(range: &LimitRange, claim: &PersistentVolumeClaim) -> Vec<String> {
    let mut wrong = Vec::new();
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = amounts(resources.and_then(|resources| resources.requests.as_ref()));
    for item in range.spec.iter().flat_map(|spec| &spec.limits) {
        if item.type_ != "PersistentVolumeClaim" {
            continue;
        }
        for (name, least) in amounts(item.min.as_ref()) {
            let head = format!("minimum {name} usage per {} is {least}", item.type_);
            let request = ("request", requests.get(&*name));
            wrong.extend(out_of_bounds(&head, request, ("limit", None), |amount| amount < least));
        }
        for (name, most) in amounts(item.max.as_ref()) {
            let head = format!("maximum {name} usage per {} is {most}", item.type_);
            let request = ("request", requests.get(&*name));
            wrong.extend(out_of_bounds(&head, request, ("limit", None), |amount| amount > most));
        }
    }
    wrong
}

fn of_container(container: &Container) -> (Resources, Resources) {
    let resources = container.resources.as_ref();
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    (amounts(requests), amounts(resources.and_then(|resources| resources.limits.as_ref())))
}

fn check(item: &LimitRangeItem, requests: &Resources, limits: &Resources, wrong: &mut Vec<String>) {
    for (name, least) in amounts(item.min.as_ref()) {
        let head = format!("minimum {name} usage per {} is {least}", item.type_);
        let (request, limit) = (("request", requests.get(&*name)), ("limit", limits.get(&*name)));
        wrong.extend(out_of_bounds(&head, request, limit, |amount| amount < least));
    }
    for (name, most) in amounts(item.max.as_ref()) {
        let head = format!("maximum {name} usage per {} is {most}", item.type_);
        let (request, limit) = (("request", requests.get(&*name)), ("limit", limits.get(&*name)));
        wrong.extend(out_of_bounds(&head, limit, request, |amount| amount > most));
    }
    for (name, ratio) in amounts(item.max_limit_request_ratio.as_ref()) {
        wrong.extend(out_of_ratio(item, &name, ratio, requests, limits));
    }
}

/// What is wrong with an amount that must be given, or with one that may be. Each has the word for it.
fn out_of_bounds(
    head: &str,
    (word, needed): (&str, Option<&Quantity>),
    (other_word, other): (&str, Option<&Quantity>),
    is_out: impl Fn(Quantity) -> bool,
) -> Option<String> {
    let Some(needed) = needed else { return Some(format!("{head}.  No {word} is specified")) };
    if is_out(*needed) {
        return Some(format!("{head}, but {word} is {needed}"));
    }
    let other = other.filter(|other| is_out(**other))?;
    Some(format!("{head}, but {other_word} is {other}"))
}

fn out_of_ratio(
    item: &LimitRangeItem,
    name: &str,
    most: Quantity,
    requests: &Resources,
    limits: &Resources,
) -> Option<String> {
    let head = format!("{name} max limit to request ratio per {} is {most}", item.type_);
    let Some(request) = requests.get(name).filter(|request| !request.is_zero()) else {
        return Some(format!("{head}, but no request is specified or request is 0"));
    };
    let Some(limit) = limits.get(name).filter(|limit| !limit.is_zero()) else {
        return Some(format!("{head}, but no limit is specified or limit is 0"));
    };
    let ratio = limit.as_f64() / request.as_f64();
    (ratio > most.as_f64()).then(|| format!("{head}, but provided ratio is {ratio:.6}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wrong(item: Value, resources: Value) -> Vec<String> {
        let range: LimitRange = serde_json::from_value(json!({"spec": {"limits": [item]}})).unwrap();
        let containers = json!([{"name": "a", "resources": resources}, {"name": "b", "resources": resources}]);
        pod(&range, &serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap())
    }

    #[test]
    fn bounds_are_told_in_upstreams_words() {
        let container = |bounds: Value| {
            let mut item = json!({"type": "Container"});
            item.as_object_mut().unwrap().extend(bounds.as_object().unwrap().clone());
            item
        };
        let cases = [
            (json!({"min": {"cpu": "100m"}}), json!({"requests": {"cpu": "100m"}}), ""),
            (
                json!({"min": {"cpu": "100m"}}),
                json!({}),
                "minimum cpu usage per Container is 100m.  No request is specified",
            ),
            (
                json!({"min": {"cpu": "100m"}}),
                json!({"requests": {"cpu": "50m"}}),
                "minimum cpu usage per Container is 100m, but request is 50m",
            ),
            (json!({"max": {"cpu": "1"}}), json!({}), "maximum cpu usage per Container is 1.  No limit is specified"),
            (
                json!({"max": {"memory": "1Gi"}}),
                json!({"limits": {"memory": "2Gi"}}),
                "maximum memory usage per Container is 1Gi, but limit is 2Gi",
            ),
            (
                json!({"maxLimitRequestRatio": {"cpu": "2"}}),
                json!({"limits": {"cpu": "1"}, "requests": {"cpu": "300m"}}),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 3.333333",
            ),
            (
                json!({"maxLimitRequestRatio": {"cpu": "2"}}),
                json!({"limits": {"cpu": "1"}}),
                "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
            ),
        ];
        for (bounds, resources, why) in cases {
            let found = wrong(container(bounds.clone()), resources);
            assert_eq!(found.first().map_or("", String::as_str), why, "{bounds}");
        }
    }

    #[test]
    fn a_pods_bounds_are_those_of_all_its_containers() {
        let item = json!({"type": "Pod", "max": {"cpu": "1500m"}});
        let limits = |cpu: &str| json!({"limits": {"cpu": cpu}});
        assert_eq!(wrong(item.clone(), limits("750m")), [""; 0]);
        assert_eq!(wrong(item, limits("1")), ["maximum cpu usage per Pod is 1500m, but limit is 2"]);
    }

    #[test]
    fn a_pod_may_say_itself_what_it_needs_of_cpu_and_memory() {
        let range = |resource: &str| {
            let range = json!({"spec": {"limits": [{"type": "Pod", "max": {resource: "4"}}]}});
            serde_json::from_value::<LimitRange>(range).unwrap()
        };
        let limits = |amount: &str| json!({"limits": {"cpu": amount, "hugepages-2Mi": amount}});
        let containers = json!([{"name": "a", "resources": limits("2")}]);
        let object = json!({"spec": {"containers": containers, "resources": limits("6")}});
        let object = serde_json::from_value(object).unwrap();
        assert_eq!(pod(&range("cpu"), &object), ["maximum cpu usage per Pod is 4, but limit is 6"]);
        assert_eq!(pod(&range("hugepages-2Mi"), &object), [""; 0]);
    }

    #[test]
    fn a_claims_request_is_bounded() {
        let range = json!({"spec": {"limits": [
            {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}]}});
        let range: LimitRange = serde_json::from_value(range).unwrap();
        let asks = |amount: &str| {
            let object = json!({"spec": {"resources": {"requests": {"storage": amount}}}});
            claim(&range, &serde_json::from_value(object).unwrap())
        };
        assert_eq!(asks("1Gi"), [""; 0]);
        assert_eq!(asks("500Mi"), ["minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"]);
        assert_eq!(asks("3Gi"), ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"]);
    }
}
