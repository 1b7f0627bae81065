//! The annotation `service.kubernetes.io/topology-mode: Auto`: endpoints are shared out among zones by the CPUs of their
//! nodes, so that traffic can stay in its zone without overloading anybody. As upstream's topology cache allocates; but
//! always from the beginning, so that the same endpoints and nodes get the same hints. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, ForZone};

use super::slices::ZONE;
use crate::api::quantity::Quantity;
use crate::server::controllers::node::is_ready;

const MODE: &str = "service.kubernetes.io/topology-mode";
const DEPRECATED_MODE: &str = "service.kubernetes.io/topology-aware-hints";
/// Their nodes have no part in the capacity.
const EXCLUDED: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
/// How much more than its share an endpoint may get.
const OVERLOAD: f64 = 0.2;

/// Whether the Service asks for it; `trafficDistribution` does not count then.
pub fn is_wanted(service: &Service) -> bool {
    let Some(annotations) = &service.metadata.annotations else { return false };
    let mode = annotations.get(DEPRECATED_MODE).or_else(|| annotations.get(MODE));
    mode.is_some_and(|mode| mode == "Auto" || mode == "auto")
}

/// Each zone's share of all CPUs.
#[derive(Clone, Debug, PartialEq)]
pub struct Capacity(BTreeMap<String, f64>);

/// What a node counts for: nothing, or its CPUs in its zone, where it tells both.
#[derive(Debug, PartialEq, Eq)]
pub enum Weight {
    None,
    Unknown,
    Cpu(String, i64),
}

pub fn weight(node: &Node) -> Weight {
    let labels = node.metadata.labels.as_ref();
    let has = |label: &&str| labels.is_some_and(|labels| labels.contains_key(*label));
    if EXCLUDED.iter().any(has) || !is_ready(node) {
        return Weight::None;
    }
    let zone = labels.and_then(|labels| labels.get(ZONE)).filter(|zone| !zone.is_empty());
    let cpu = node.status.as_ref().and_then(|status| status.allocatable.as_ref()?.get("cpu"));
    let cpu = cpu.map(|cpu| Quantity::of(cpu).milli()).filter(|cpu| *cpu > 0);
    zone.zip(cpu).map_or(Weight::Unknown, |(zone, cpu)| Weight::Cpu(zone.clone(), cpu))
}

impl Capacity {
    /// `None` where a node does not tell its part, or there are fewer than two zones.
    pub fn of(weights: impl Iterator<Item = Weight>) -> Option<Self> {
        let mut zones: BTreeMap<String, i64> = BTreeMap::new();
        for weight in weights {
            match weight {
                Weight::None => {}
                Weight::Unknown => return None,
                Weight::Cpu(zone, cpu) => *zones.entry(zone).or_default() += cpu,
            }
        }
        let total: i64 = zones.values().sum();
        let share = |cpu: i64| cpu as f64 / total as f64;
        (zones.len() >= 2).then(|| Self(zones.into_iter().map(|(zone, cpu)| (zone, share(cpu))).collect()))
    }

    /// How many of `count` endpoints each zone should have.
    fn desired(&self, count: usize) -> Result<BTreeMap<&str, f64>, String> {
        let zones = self.0.len();
        if zones > count {
            return Err(format!("Insufficient number of endpoints ({count} endpoints, {zones} zones)"));
        }
        let (mut left, all) = (count as f64, count as f64);
        let mut desired = BTreeMap::new();
        for (zone, share) in &self.0 {
            let minimum = (share * all / (1.0 + OVERLOAD)).ceil();
            left -= minimum;
            desired.insert(zone.as_str(), (share * all).max(minimum));
        }
        if left < 0.0 {
            return Err(format!(
                "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold \
                 ({count} endpoints, {zones} zones)"
            ));
        }
        Ok(desired)
    }
}

fn is_usable(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true)
}

/// Gives the ready endpoints of one family their hints, in this order; none of them any where that is impossible.
///
/// # Errors
/// Why, in upstream's words.
pub fn share_out(endpoints: &mut [&mut Endpoint], capacity: Option<&Capacity>) -> Result<(), String> {
    let mut usable: Vec<_> = endpoints.iter_mut().filter(|endpoint| is_usable(endpoint)).collect();
    let insufficient =
        || "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes".to_owned();
    let desired = capacity.ok_or_else(insufficient)?.desired(usable.len())?;
    let zones: Option<Vec<String>> =
        usable.iter().map(|endpoint| endpoint.zone.clone().filter(|zone| !zone.is_empty())).collect();
    let mut zones = zones.ok_or("One or more endpoints do not have a zone specified")?;
    redistribute(&mut zones, &desired);
    for (endpoint, zone) in usable.iter_mut().zip(zones) {
        endpoint.hints = Some(EndpointHints { for_zones: Some(vec![ForZone { name: zone }]), for_nodes: None });
    }
    Ok(())
}

/// Zones with more endpoints than they should have give some to those with fewer.
fn redistribute(zones: &mut [String], desired: &BTreeMap<&str, f64>) {
    let (mut gives, mut takes) = (BTreeMap::new(), BTreeMap::new());
    for (zone, desired) in desired {
        let more = zones.iter().filter(|it| it == zone).count() as f64 - desired;
        if more > 0.0 {
            gives.insert(*zone, more);
        } else if more < 0.0 {
            takes.insert(*zone, -more);
        }
    }
    while let (Some((giver, give)), Some((taker, take))) = (most(&gives), most(&takes)) {
        if (give < 1.0 && take < 1.0) || give < 0.5 || take < 0.5 {
            return;
        }
        // An endpoint that was given already is not the giver's any more.
        let Some(given) = zones.iter_mut().find(|zone| *zone == giver) else { return };
        taker.clone_into(given);
        gives.insert(giver, give - 1.0);
        takes.insert(taker, take - 1.0);
    }
}

fn most<'a>(zones: &BTreeMap<&'a str, f64>) -> Option<(&'a str, f64)> {
    let positive = zones.iter().filter(|(_, count)| **count > 0.0).map(|(zone, count)| (*zone, *count));
    positive.reduce(|most, zone| if zone.1 > most.1 { zone } else { most })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(zone: &str, cpu: &str, labels: &[&str]) -> Node {
        let mut all: BTreeMap<_, _> = labels.iter().map(|label| ((*label).to_owned(), String::new())).collect();
        all.insert(ZONE.to_owned(), zone.to_owned());
        let status = json!({"allocatable": {"cpu": cpu}, "conditions": [{"type": "Ready", "status": "True"}]});
        serde_json::from_value(json!({"metadata": {"labels": all}, "status": status})).unwrap()
    }

    fn capacity(zones: &[(&str, &str)]) -> Option<Capacity> {
        Capacity::of(zones.iter().map(|(zone, cpu)| weight(&node(zone, cpu, &[]))))
    }

    /// The hints for ready endpoints in these zones.
    fn hints(zones: &str, capacity: Option<&Capacity>) -> Result<String, String> {
        let endpoint = |zone: char| -> Endpoint {
            let zone = if zone == '-' { Value::Null } else { zone.to_string().into() };
            serde_json::from_value(json!({"addresses": ["x"], "zone": zone, "conditions": {"ready": true}})).unwrap()
        };
        let mut all: Vec<_> = zones.chars().map(endpoint).collect();
        all.push(serde_json::from_value(json!({"addresses": ["x"], "conditions": {"ready": false}})).unwrap());
        share_out(&mut all.iter_mut().collect::<Vec<_>>(), capacity)?;
        assert_eq!(all.pop().unwrap().hints, None, "not ready");
        Ok(all.into_iter().map(|it| it.hints.unwrap().for_zones.unwrap().remove(0).name).collect())
    }

    #[test]
    fn only_what_is_ready_and_tells_its_place_counts() {
        assert!(capacity(&[("a", "1"), ("b", "1")]).is_some());
        assert_eq!(capacity(&[("a", "1"), ("a", "1")]), None, "one zone");
        assert_eq!(capacity(&[("a", "1"), ("", "1"), ("b", "1")]), None, "a node without a zone");
        assert_eq!(capacity(&[("a", "1"), ("b", "0")]), None, "a node without CPUs");
        assert_eq!(weight(&node("a", "500m", &[])), Weight::Cpu("a".to_owned(), 500));
        assert_eq!(weight(&node("a", "1", &EXCLUDED[..1])), Weight::None);
        let mut away = node("a", "1", &[]);
        away.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "Unknown".to_owned();
        assert_eq!(weight(&away), Weight::None);
    }

    #[test]
    fn endpoints_are_shared_out_by_capacity() {
        let even = capacity(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let uneven = capacity(&[("a", "4"), ("b", "1"), ("c", "1")]);
        for (zones, capacity, expected) in [
            ("abc", &even, Ok("abc")),
            ("aabbcc", &even, Ok("aabbcc")),
            ("aaaaaa", &even, Ok("bcbcaa")),
            ("aaaabc", &uneven, Ok("aaaabc")),
            ("aabbcc", &uneven, Ok("aaabac")),
            // Within the overload that is allowed nobody moves.
            ("aaaabbbccc", &even, Ok("aaaabbbccc")),
            ("ab", &even, Err("Insufficient number of endpoints (2 endpoints, 3 zones)")),
            ("-ab", &even, Err("One or more endpoints do not have a zone specified")),
        ] {
            let found = hints(zones, capacity.as_ref());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{zones}");
        }
        let lopsided = capacity(&[("a", "1"), ("b", "10")]);
        let why = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold \
                   (2 endpoints, 2 zones)";
        assert_eq!(hints("ab", lopsided.as_ref()).unwrap_err(), why);
        assert!(hints("ab", None).unwrap_err().starts_with("Insufficient Node information"));
    }

    #[test]
    fn a_service_asks_by_annotation() {
        let service = |annotations: Value| -> Service {
            serde_json::from_value(json!({"metadata": {"annotations": annotations}})).unwrap()
        };
        for (annotations, expected) in [
            (json!({MODE: "Auto"}), true),
            (json!({MODE: "auto"}), true),
            (json!({MODE: "Disabled"}), false),
            (json!({DEPRECATED_MODE: "Auto"}), true),
            (json!({DEPRECATED_MODE: "Disabled", MODE: "Auto"}), false),
            (json!({}), false),
        ] {
            assert_eq!(is_wanted(&service(annotations.clone())), expected, "{annotations}");
        }
    }
}
