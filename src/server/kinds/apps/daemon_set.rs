//! DaemonSet: a pod on every node that suits.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::kinds::defaults::{self, absent, text};
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

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

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::integer("Desired", "The total number of nodes that should be running the daemon pod."),
            Column::integer(
                "Current",
                "The number of nodes that are running at least 1 daemon pod and are supposed to run the daemon pod.",
            ),
            Column::integer(
                "Ready",
                "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running with a Ready Condition.",
            ),
            Column::integer("Up-to-date", "The total number of nodes that are running updated daemon pod"),
            Column::integer(
                "Available",
                "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and available.",
            ),
            Column::string(
                "Node Selector",
                "Selector which must match a node's labels for the pod to be scheduled on that node.",
            ),
            Column::AGE,
            cell::CONTAINERS,
            cell::IMAGES,
            cell::SELECTOR,
        ];
        COLUMNS
    }

    fn cells(&self, object: &DaemonSet, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let [names, images] = cell::template(Some(&spec.template));
        let node_selector = spec.template.spec.as_ref().and_then(|pod| pod.node_selector.as_ref());
        Some(vec![
            cell::name(&object.metadata),
            status.desired_number_scheduled.into(),
            status.current_number_scheduled.into(),
            status.number_ready.into(),
            status.updated_number_scheduled.unwrap_or(0).into(),
            status.number_available.unwrap_or(0).into(),
            cell::labels(node_selector).into(),
            cell::age(&object.metadata, now),
            names,
            images,
            cell::selector(Some(&spec.selector)).into(),
        ])
    }
}
