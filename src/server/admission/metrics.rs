//! How long each plugin takes, under upstream's name.

use std::sync::OnceLock;
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Operation;

const BUCKETS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    name: &'static str,
    operation: &'static str,
    rejected: &'static str,
    r#type: &'static str,
}

/// What a plugin is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Admit,
    Validate,
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
}

/// The histograms of one plugin by step, operation and outcome, each looked up once: every write passes every plugin.
#[derive(Default)]
pub(super) struct OfPlugin([[[OnceLock<Histogram>; 2]; 4]; 2]);

impl OfPlugin {
    /// Counts what took from `since` until now, and gives now.
    pub fn observe(
        &self,
        all: &Durations,
        (name, step): (&'static str, Step),
        operation: Operation,
        rejected: bool,
        since: Instant,
    ) -> Instant {
        let now = Instant::now();
        let place = &self.0[step as usize][operation as usize][usize::from(rejected)];
        let histogram = place.get_or_init(|| {
            let labels = Labels {
                name,
                operation: operation.label(),
                rejected: if rejected { "true" } else { "false" },
                r#type: step.label(),
            };
            all.0.get_or_create_owned(&labels)
        });
        histogram.observe((now - since).as_secs_f64());
        now
    }
}

impl Step {
    fn label(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validate",
        }
    }
}

impl Operation {
    fn label(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}
