//! DaemonSet: a pod on every node that suits.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::server::kinds::defaults::{self, absent, text};
use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct DaemonSets;

impl Strategy for DaemonSets {
    type Kind = DaemonSet;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["ds"],
            categories: &["all"],
            subresources: const { &[Subresource::status("DaemonSet")] },
            generation: true,
            ..Meta::namespaced::<DaemonSet>("daemonsets")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut DaemonSet) {
        let Some(spec) = &mut object.spec else { return };
        let strategy = spec.update_strategy.get_or_insert_default();
        text(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            absent(&mut rolling.max_unavailable, IntOrString::Int(1));
            absent(&mut rolling.max_surge, IntOrString::Int(0));
        }
        absent(&mut spec.revision_history_limit, 10);
        defaults::pod::template(&mut spec.template);
    }
}
