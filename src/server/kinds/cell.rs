//! Cells of tables, as upstream's printers write them. Pure; called by the strategies' `cells`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, LoadBalancerIngress, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{self as metav1, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::api::duration;
use crate::api::selector::LabelSelector;
use crate::server::strategy::Column;

/// What stands where there is nothing.
pub const NONE: &str = "<none>";
pub const UNSET: &str = "<unset>";
pub const UNKNOWN: &str = "<unknown>";

pub const CONTAINERS: Column = Column::string("Containers", "Names of each container in the template.").wide();
pub const IMAGES: Column = Column::string("Images", "Images referenced by each container in the template.").wide();
/// Each kind says of its own selector what it does.
pub const SELECTOR: Column = Column::string("Selector", "").wide();
pub const CREATED_AT: Column = Column {
    name: "Created At",
    kind: "date",
    format: "",
    description: "When this object was created, in UTC.",
    priority: 0,
};

pub fn name(meta: &ObjectMeta) -> Value {
    meta.name.clone().unwrap_or_default().into()
}

pub fn age(meta: &ObjectMeta, now: Timestamp) -> Value {
    since(meta.creation_timestamp.as_ref(), now).into()
}

/// The creation time itself, for the kinds that show it instead of an age.
pub fn created(meta: &ObjectMeta) -> Value {
    let time = meta.creation_timestamp.as_ref();
    time.map_or_else(|| UNKNOWN.to_owned(), |time| time.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).into()
}

pub fn since(time: Option<&Time>, now: Timestamp) -> String {
    duration::age(time.map(|time| time.0), now)
}

/// The text, or what stands for nothing.
pub fn or<'a>(text: Option<&'a str>, nothing: &'a str) -> &'a str {
    text.filter(|text| !text.is_empty()).unwrap_or(nothing)
}

pub fn text(text: &Option<String>) -> Value {
    text.clone().unwrap_or_default().into()
}

/// A list joined by commas, or `<none>`.
pub fn list(items: &[String]) -> String {
    if items.is_empty() { NONE.to_owned() } else { items.join(",") }
}

/// At most three items, then how many more there are.
pub fn three(items: impl IntoIterator<Item = String>) -> Option<String> {
    let mut items = items.into_iter();
    let shown: Vec<_> = items.by_ref().take(3).collect();
    match (shown.is_empty(), items.count()) {
        (true, _) => None,
        (false, 0) => Some(shown.join(",")),
        (false, more) => Some(format!("{} + {more} more...", shown.join(","))),
    }
}

/// `a=1,b=2` in the order of the keys, or `<none>`.
pub fn labels(labels: Option<&BTreeMap<String, String>>) -> String {
    let pairs: Vec<_> = labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    list(&pairs)
}

/// A label selector in its short form; `<none>` for an empty one, `<error>` for one that cannot be read.
pub fn selector(selector: Option<&metav1::LabelSelector>) -> String {
    match LabelSelector::from_api(selector) {
        Ok(selector) => match selector.to_string() {
            text if text.is_empty() => NONE.to_owned(),
            text => text,
        },
        Err(_) => "<error>".to_owned(),
    }
}

/// Names and images of containers, as two cells.
pub fn containers(containers: &[Container]) -> [Value; 2] {
    let names: Vec<_> = containers.iter().map(|container| container.name.as_str()).collect();
    let images: Vec<_> = containers.iter().map(|container| container.image.as_deref().unwrap_or_default()).collect();
    [names.join(",").into(), images.join(",").into()]
}

pub fn template(template: Option<&PodTemplateSpec>) -> [Value; 2] {
    let spec = template.and_then(|template| template.spec.as_ref());
    containers(spec.map_or(&[], |spec| &spec.containers))
}

pub fn int_or_string(value: Option<&IntOrString>, nothing: &str) -> String {
    match value {
        None => nothing.to_owned(),
        Some(IntOrString::Int(number)) => number.to_string(),
        Some(IntOrString::String(text)) => text.clone(),
    }
}

/// `ReadWriteOnce` and its kin by their initials, each once.
pub fn access_modes(modes: Option<&Vec<String>>) -> String {
    const SHORT: [(&str, &str); 4] =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| modes.is_some_and(|modes| modes.iter().any(|have| have == mode));
    let short: Vec<_> = SHORT.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect();
    short.join(",")
}

/// The addresses that a load balancer gave, sorted, each once.
pub fn balancer<'a>(ingress: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>) -> String {
    let shown = ingress.filter_map(|(ip, hostname)| {
        ip.filter(|ip| !ip.is_empty()).or(hostname.filter(|hostname| !hostname.is_empty()))
    });
    let mut shown: Vec<_> = shown.collect();
    shown.sort_unstable();
    shown.dedup();
    shown.join(",")
}

pub fn ingress_of(ingress: &LoadBalancerIngress) -> (Option<&str>, Option<&str>) {
    (ingress.ip.as_deref(), ingress.hostname.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_after_three() {
        let items = |n: usize| (0..n).map(|at| at.to_string());
        assert_eq!(three(items(0)), None);
        assert_eq!(three(items(3)).as_deref(), Some("0,1,2"));
        assert_eq!(three(items(5)).as_deref(), Some("0,1,2 + 2 more..."));
    }

    #[test]
    fn access_modes_are_initials() {
        let modes = vec!["ReadWriteMany".to_owned(), "ReadWriteOnce".to_owned()];
        assert_eq!(access_modes(Some(&modes)), "RWO,RWX");
        assert_eq!(access_modes(None), "");
    }
}
