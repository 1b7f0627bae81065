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

/// All plugins together.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Together {
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
pub(super) struct Durations {
    plugins: Family<Labels, Histogram, fn() -> Histogram>,
    together: Family<Together, Histogram, fn() -> Histogram>,
}

impl Default for Durations {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        Self { plugins: Family::new_with_constructor(histogram), together: Family::new_with_constructor(histogram) }
    }
}

impl Durations {
    pub fn register(&self, registry: &mut Registry) {
        let help = "How long admission plugins take, in seconds, by what they are asked and what they say";
        registry.register("apiserver_admission_controller_admission_duration_seconds", help, self.plugins.clone());
        let help = "How long all of them take together";
        registry.register("apiserver_admission_step_admission_duration_seconds", help, self.together.clone());
    }
}

/// The histograms of one plugin, or of all together, by step, operation and outcome, each looked up once: every write
/// passes every plugin.
#[derive(Default)]
pub(super) struct Histograms([[[OnceLock<Histogram>; 2]; 4]; 2]);

impl Histograms {
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
        let histogram = self.at(step, operation, rejected).get_or_init(|| {
            let Together { operation, rejected, r#type } = together(step, operation, rejected);
            all.plugins.get_or_create_owned(&Labels { name, operation, rejected, r#type })
        });
        histogram.observe((now - since).as_secs_f64());
        now
    }

    /// The same of all plugins together.
    pub fn observe_all(&self, all: &Durations, step: Step, operation: Operation, rejected: bool, since: Instant) {
        let create = || all.together.get_or_create_owned(&together(step, operation, rejected));
        self.at(step, operation, rejected).get_or_init(create).observe(since.elapsed().as_secs_f64());
    }

    fn at(&self, step: Step, operation: Operation, rejected: bool) -> &OnceLock<Histogram> {
        &self.0[step as usize][operation as usize][usize::from(rejected)]
    }
}

fn together(step: Step, operation: Operation, rejected: bool) -> Together {
    let rejected = if rejected { "true" } else { "false" };
    Together { operation: operation.label(), rejected, r#type: step.label() }
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
