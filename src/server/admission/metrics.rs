//! How long each plugin takes, under upstream's name.

use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Attributes, Operation};

const BUCKETS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    name: &'static str,
    operation: &'static str,
    rejected: &'static str,
    r#type: &'static str,
}

#[derive(Clone)]
pub(super) struct Durations(Family<Labels, Histogram, fn() -> Histogram>);

impl Default for Durations {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        Self(Family::new_with_constructor(histogram))
    }
}

impl Durations {
    pub fn register(&self, registry: &mut Registry) {
        let help = "How long admission plugins take, in seconds, by what they are asked and what they say";
        registry.register("apiserver_admission_controller_admission_duration_seconds", help, self.0.clone());
    }

    pub fn observe(&self, name: &'static str, kind: &'static str, of: &Attributes<'_>, rejected: bool, since: Instant) {
        let operation = match of.operation {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        };
        let rejected = if rejected { "true" } else { "false" };
        let labels = Labels { name, operation, rejected, r#type: kind };
        self.0.get_or_create(&labels).observe(since.elapsed().as_secs_f64());
    }
}
