//! What the node lifecycle controller tells of zones, under upstream's names: evictions are counted, the rest is looked up
//! when somebody asks.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Node;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::health;
use crate::reconcile::{Env, Informer};

/// Nodes that pods were told to leave, by zone. Cheap to clone.
#[derive(Clone, Default)]
pub struct Evictions(Family<[(&'static str, String); 1], Counter>);

impl Evictions {
    pub fn register(&self, registry: &mut Registry, env: &Env) {
        let help = "Number of Node evictions that happened since current instance of NodeController started";
        registry.register("node_collector_evictions", help, self.0.clone());
        registry.register_collector(Box::new(Zones(env.informers.get())));
    }

    /// There is such a zone.
    pub fn zone(&self, node: &Node) {
        drop(self.0.get_or_create(&[("zone", zone(node))]));
    }

    pub fn inc(&self, node: &Node) {
        self.0.get_or_create(&[("zone", zone(node))]).inc();
    }
}

/// `GetZoneKey` of component-helpers: nothing, where a node tells neither region nor zone.
fn zone(node: &Node) -> String {
    let label = |stable: &str, beta: &str| {
        let labels = node.metadata.labels.as_ref()?;
        labels.get(beta).or_else(|| labels.get(stable)).filter(|value| !value.is_empty()).cloned()
    };
    let zone = label("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone");
    let region = label("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region");
    match (region, zone) {
        (None, None) => String::new(),
        (region, zone) => format!("{}:\0:{}", region.unwrap_or_default(), zone.unwrap_or_default()),
    }
}

struct Zones(Informer<Node>);

impl fmt::Debug for Zones {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Zones")
    }
}

impl Collector for Zones {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // All nodes, and those that are ready.
        let mut zones = BTreeMap::<String, (i64, i64)>::new();
        for node in self.0.store().state() {
            let (size, ready) = zones.entry(zone(&node)).or_default();
            *size += 1;
            *ready += i64::from(health::is_ready(&node));
        }
        let mut gauge = |name: &str, help: &str, of: fn((i64, i64)) -> i64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            zones.iter().try_for_each(|(zone, counts)| {
                family.encode_family(&[("zone", zone.as_str())])?.encode_gauge(&of(*counts))
            })
        };
        let help = "Gauge measuring number of registered Nodes per zones";
        gauge("node_collector_zone_size", help, |(size, _)| size)?;
        let help = "Gauge measuring percentage of healthy nodes per zone";
        gauge("node_collector_zone_health", help, |(size, ready)| 100 * ready / size)?;
        let help = "Gauge measuring number of not Ready Nodes per zones";
        gauge("node_collector_unhealthy_nodes_in_zone", help, |(size, ready)| size - ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_named_as_upstream_names_them() {
        for (labels, expected) in [
            (vec![], ""),
            (vec![("topology.kubernetes.io/zone", "z")], ":\0:z"),
            (vec![("topology.kubernetes.io/region", "r"), ("topology.kubernetes.io/zone", "z")], "r:\0:z"),
            (vec![("failure-domain.beta.kubernetes.io/region", "r")], "r:\0:"),
        ] {
            let mut node = Node::default();
            let labels = labels.into_iter().map(|(name, value): (&str, &str)| (name.to_owned(), value.to_owned()));
            node.metadata.labels = Some(labels.collect());
            assert_eq!(zone(&node), expected);
            let evictions = Evictions::default();
            evictions.zone(&node);
            evictions.inc(&node);
            let counted = evictions.0.get(&[("zone", expected.to_owned())]).map(|count| count.get());
            assert_eq!(counted, Some(1));
        }
    }
}
