//! What is evaluated and with which outcome, under upstream's name. Labels come from short lists only.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::policy::{Level, Standard, Version};
use crate::server::admission::{Attributes, Operation};

/// The newest minor version that there are standards for; later ones are all alike.
const NEWEST: u32 = 36;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Enforce,
    Audit,
    Warn,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    decision: &'static str,
    policy_level: &'static str,
    policy_version: String,
    mode: &'static str,
    request_operation: &'static str,
    resource: &'static str,
    subresource: &'static str,
}

#[derive(Clone, Default)]
pub struct Counts(Family<Labels, Counter>);

impl Counts {
    pub fn register(&self, registry: &mut Registry) {
        let help = "Number of policy evaluations that occurred, not counting ignored or exempt requests.";
        registry.register("pod_security_evaluations", help, self.0.clone());
    }

    pub fn evaluated(&self, mode: Mode, allowed: bool, standard: Standard, attributes: &Attributes<'_>) {
        let is_pod = attributes.concerns("", "pods");
        let labels = Labels {
            decision: if allowed { "allow" } else { "deny" },
            policy_level: standard.level.as_str(),
            policy_version: version(standard),
            mode: match mode {
                Mode::Enforce => "enforce",
                Mode::Audit => "audit",
                Mode::Warn => "warn",
            },
            request_operation: if attributes.operation == Operation::Create { "create" } else { "update" },
            resource: if is_pod { "pod" } else { "controller" },
            subresource: if attributes.context.subresource == "ephemeralcontainers" {
                "ephemeralcontainers"
            } else {
                ""
            },
        };
        self.0.get_or_create(&labels).inc();
    }
}

fn version(standard: Standard) -> String {
    match standard.version {
        _ if standard.level == Level::Privileged => "latest".to_owned(),
        Version::Latest => "latest".to_owned(),
        Version::Minor(minor) if minor > NEWEST => "future".to_owned(),
        Version::Minor(minor) => format!("v1.{minor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_few() {
        let of = |level, version| super::version(Standard { level, version });
        assert_eq!(of(Level::Baseline, Version::Minor(25)), "v1.25");
        assert_eq!(of(Level::Baseline, Version::Minor(99)), "future");
        assert_eq!(of(Level::Restricted, Version::Latest), "latest");
        assert_eq!(of(Level::Privileged, Version::Minor(25)), "latest");
    }
}
