//! DaemonSet: a pod on every node that suits.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::closed;
use crate::server::kinds::defaults::{self, absent, text};
use crate::server::strategy::{Column, Meta, Strategy, Subresource};
use crate::server::validation;
use crate::server::validation::workload::{always, daemons_selected, template_warnings};

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

    fn drop_closed(&self, new: &mut DaemonSet, old: Option<&DaemonSet>) {
        closed::template(
            new.spec.as_mut().map(|spec| &mut spec.template),
            old.and_then(|old| Some(&old.spec.as_ref()?.template)),
        );
    }

    fn prepare_create(&self, object: &mut DaemonSet) {
        object.status = Some(Default::default());
        let given = template_generation(object).max(1);
        set_template_generation(object, given);
    }

    fn prepare_update(&self, new: &mut DaemonSet, old: &DaemonSet) {
        new.status = old.status.clone();
        let template = |set: &DaemonSet| set.spec.as_ref().map(|spec| spec.template.clone());
        let changed = i64::from(template(new) != template(old));
        set_template_generation(new, template_generation(old) + changed);
    }

    fn prepare_status(&self, new: &mut DaemonSet, old: &DaemonSet) {
        new.spec = old.spec.clone();
    }

    fn same_spec(&self, new: &DaemonSet, old: &DaemonSet) -> bool {
        new.spec == old.spec
    }

    fn default(&self, object: &mut DaemonSet) {
        let spec = object.spec.get_or_insert_default();
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
            Column::integer(
                "Desired",
                "The total number of nodes that should be running the daemon pod (including nodes correctly running the daemon pod). More info: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/",
            ),
            Column::integer(
                "Current",
                "The number of nodes that are running at least 1 daemon pod and are supposed to run the daemon pod. More info: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/",
            ),
            Column::integer(
                "Ready",
                "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and ready.",
            ),
            Column::integer("Up-to-date", "The total number of nodes that are running updated daemon pod"),
            Column::integer(
                "Available",
                "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and available (ready for at least spec.minReadySeconds)",
            ),
            Column::string(
                "Node Selector",
                "NodeSelector is a selector which must be true for the pod to fit on a node. Selector which must match a node's labels for the pod to be scheduled on that node. More info: https://kubernetes.io/docs/concepts/configuration/assign-pod-node/",
            ),
            Column::AGE,
            cell::CONTAINERS,
            cell::IMAGES,
            cell::SELECTOR.described("A label query over pods that are managed by the daemon set. Must match in order to be controlled. If empty, defaulted to labels on Pod template. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors"),
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

    fn warnings(&self, new: &DaemonSet, old: Option<&DaemonSet>) -> Vec<String> {
        let template = |set: &DaemonSet| set.spec.as_ref().map(|spec| spec.template.clone());
        let same = old.is_some_and(|old| template(old) == template(new));
        let warnings = |spec: &DaemonSetSpec| template_warnings(&Path::new("spec"), &spec.template, same);
        new.spec.as_ref().map(warnings).unwrap_or_default()
    }

    fn validate(&self, new: &DaemonSet, old: Option<&DaemonSet>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let Some(spec) = &new.spec else {
            errors.push(Error::required(&path.child("selector"), ""));
            return errors;
        };
        let before = old.and_then(|old| old.spec.as_ref());
        let old_template = before.map(|before| &before.template);
        daemons_selected(&mut errors, &path, &spec.selector, &spec.template);
        validation::pod::template(&mut errors, &path.child("template"), &spec.template, old_template);
        always(&mut errors, &path, &spec.template, "DaemonSet");
        validation::optional_not_negative(&mut errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
        update_strategy(&mut errors, &path.child("updateStrategy"), spec.update_strategy.as_ref());
        validation::optional_not_negative(
            &mut errors,
            &path.child("revisionHistoryLimit"),
            spec.revision_history_limit,
        );
        if let Some(before) = before {
            validation::immutable(&mut errors, &path.child("selector"), &spec.selector, &before.selector);
        }
        errors
    }

    fn validate_status(&self, new: &DaemonSet, old: &DaemonSet) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("status");
        let status = new.status.clone().unwrap_or_default();
        let counts = [
            ("currentNumberScheduled", Some(status.current_number_scheduled)),
            ("numberMisscheduled", Some(status.number_misscheduled)),
            ("desiredNumberScheduled", Some(status.desired_number_scheduled)),
            ("numberReady", Some(status.number_ready)),
            ("updatedNumberScheduled", status.updated_number_scheduled),
            ("numberAvailable", status.number_available),
            ("numberUnavailable", status.number_unavailable),
            ("collisionCount", status.collision_count),
        ];
        for (field, count) in counts {
            validation::optional_not_negative(&mut errors, &path.child(field), count);
        }
        validation::optional_not_negative(&mut errors, &path.child("observedGeneration"), status.observed_generation);
        let before = old.status.as_ref().and_then(|status| status.collision_count);
        validation::not_decremented(&mut errors, &path.child("collisionCount"), status.collision_count, before);
        errors
    }
}

/// How often the template has changed; an annotation since the field left the API, still read by old clients.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn template_generation(object: &DaemonSet) -> i64 {
    let annotation = object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(TEMPLATE_GENERATION));
    annotation.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn set_template_generation(object: &mut DaemonSet, generation: i64) {
    let annotations = object.metadata.annotations.get_or_insert_default();
    annotations.insert(TEMPLATE_GENERATION.to_owned(), generation.to_string());
}

fn update_strategy(errors: &mut Errors, path: &Path, strategy: Option<&DaemonSetUpdateStrategy>) {
    let kind = strategy.and_then(|strategy| strategy.type_.as_deref()).unwrap_or_default();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    match (kind, rolling) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.push(Error::required(&path.child("rollingUpdate"), "")),
        ("RollingUpdate", Some(update)) => rolling_update(errors, &path.child("rollingUpdate"), update),
        _ => {
            let value = serde_json::json!({"Type": kind, "RollingUpdate": rolling});
            errors.push(Error::not_supported_in_order(path, value, &["RollingUpdate", "OnDelete"]));
        }
    }
}

fn rolling_update(errors: &mut Errors, path: &Path, rolling: &RollingUpdateDaemonSet) {
    let (unavailable, surge) = (rolling.max_unavailable.as_ref(), rolling.max_surge.as_ref());
    validation::int_or_percent(errors, &path.child("maxUnavailable"), unavailable);
    validation::int_or_percent(errors, &path.child("maxSurge"), surge);
    validation::at_most_100_percent(errors, &path.child("maxUnavailable"), unavailable);
    validation::at_most_100_percent(errors, &path.child("maxSurge"), surge);
    match (validation::is_zero(unavailable), validation::is_zero(surge)) {
        (true, true) => {
            errors.push(Error::required(&path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0"));
        }
        (false, false) => {
            let detail = "may not be set when maxUnavailable is non-zero";
            errors.push(Error::invalid(&path.child("maxSurge"), validation::json(&surge), detail));
        }
        _ => {}
    }
}
