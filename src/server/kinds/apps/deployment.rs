//! Deployment: declarative rollouts of ReplicaSets.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStrategy};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::closed;
use crate::server::kinds::defaults::{self, absent, text};
use crate::server::strategy::{Column, Meta, Strategy, Subresource};
use crate::server::validation;
use crate::server::validation::workload;

pub struct Deployments;

impl Strategy for Deployments {
    type Kind = Deployment;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["deploy"],
            categories: &["all"],
            subresources: const { &[Subresource::scale(), Subresource::status("Deployment")] },
            generation: true,
            ..Meta::namespaced::<Deployment>("deployments")
        }
    }

    fn drop_closed(&self, new: &mut Deployment, old: Option<&Deployment>) {
        closed::template(
            new.spec.as_mut().map(|spec| &mut spec.template),
            old.and_then(|old| Some(&old.spec.as_ref()?.template)),
        );
    }

    fn prepare_create(&self, object: &mut Deployment) {
        object.status = Some(Default::default());
    }

    fn prepare_update(&self, new: &mut Deployment, old: &Deployment) {
        new.status = old.status.clone();
    }

    fn prepare_status(&self, new: &mut Deployment, old: &Deployment) {
        new.spec = old.spec.clone();
        new.metadata.labels = old.metadata.labels.clone();
    }

    fn same_spec(&self, new: &Deployment, old: &Deployment) -> bool {
        // Annotations count too: the controller copies them to its ReplicaSets.
        new.spec == old.spec && new.metadata.annotations == old.metadata.annotations
    }

    fn default(&self, object: &mut Deployment) {
        let spec = object.spec.get_or_insert_default();
        absent(&mut spec.replicas, 1);
        let strategy = spec.strategy.get_or_insert_default();
        text(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            absent(&mut rolling.max_unavailable, IntOrString::String("25%".to_owned()));
            absent(&mut rolling.max_surge, IntOrString::String("25%".to_owned()));
        }
        absent(&mut spec.revision_history_limit, 10);
        absent(&mut spec.progress_deadline_seconds, 600);
        defaults::pod::template(&mut spec.template);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Ready", "Number of the pod with ready state"),
            Column::string(
                "Up-to-date",
                "Total number of non-terminating pods targeted by this deployment that have the desired template spec.",
            ),
            Column::string(
                "Available",
                "Total number of available non-terminating pods (ready for at least minReadySeconds) targeted by this deployment.",
            ),
            Column::AGE,
            cell::CONTAINERS,
            cell::IMAGES,
            cell::SELECTOR.described("Label selector for pods. Existing ReplicaSets whose pods are selected by this will be the ones affected by this deployment."),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Deployment, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let ready = format!("{}/{}", status.ready_replicas.unwrap_or(0), spec.replicas.unwrap_or(0));
        let [names, images] = cell::template(Some(&spec.template));
        Some(vec![
            cell::name(&object.metadata),
            ready.into(),
            status.updated_replicas.unwrap_or(0).into(),
            status.available_replicas.unwrap_or(0).into(),
            cell::age(&object.metadata, now),
            names,
            images,
            cell::selector(Some(&spec.selector)).into(),
        ])
    }

    fn validate(&self, new: &Deployment, old: Option<&Deployment>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let Some(spec) = &new.spec else {
            errors.push(Error::required(&path.child("selector"), ""));
            return errors;
        };
        validation::optional_not_negative(&mut errors, &path.child("replicas"), spec.replicas);
        let before = old.and_then(|old| old.spec.as_ref());
        let old_template = before.map(|before| &before.template);
        workload::replicated(&mut errors, &path, &spec.selector, &spec.template, old_template);
        strategy(&mut errors, &path.child("strategy"), spec.strategy.as_ref());
        validation::optional_not_negative(&mut errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
        validation::optional_not_negative(
            &mut errors,
            &path.child("revisionHistoryLimit"),
            spec.revision_history_limit,
        );
        if let Some(deadline) = spec.progress_deadline_seconds {
            let path = path.child("progressDeadlineSeconds");
            validation::not_negative(&mut errors, &path, deadline);
            if deadline <= spec.min_ready_seconds.unwrap_or(0) {
                errors.push(Error::invalid(&path, deadline, "must be greater than minReadySeconds"));
            }
        }
        if let Some(before) = before {
            validation::immutable(&mut errors, &path.child("selector"), &spec.selector, &before.selector);
        }
        errors
    }

    fn validate_status(&self, new: &Deployment, old: &Deployment) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("status");
        let status = new.status.clone().unwrap_or_default();
        validation::optional_not_negative(&mut errors, &path.child("observedGeneration"), status.observed_generation);
        let parts = [
            ("updatedReplicas", status.updated_replicas),
            ("readyReplicas", status.ready_replicas),
            ("availableReplicas", status.available_replicas),
        ];
        let others = [
            ("unavailableReplicas", status.unavailable_replicas),
            ("terminatingReplicas", status.terminating_replicas),
            ("collisionCount", status.collision_count),
        ];
        workload::counts(&mut errors, &path, status.replicas.unwrap_or(0), &parts, &others);
        let ready = status.ready_replicas.unwrap_or(0);
        let here = path.child("availableReplicas");
        workload::at_most(&mut errors, &here, status.available_replicas, ready, "cannot be greater than readyReplicas");
        let before = old.status.as_ref().and_then(|status| status.collision_count);
        validation::not_decremented(&mut errors, &path.child("collisionCount"), status.collision_count, before);
        errors
    }

    fn warnings(&self, new: &Deployment, old: Option<&Deployment>) -> Vec<String> {
        let name = new.metadata.name.as_deref().filter(|_| old.is_none());
        let same = old.is_some_and(|old| self.same_spec(new, old));
        let template = new.spec.iter();
        let template = template.flat_map(|spec| workload::template_warnings(&Path::new("spec"), &spec.template, same));
        workload::name_warning(name).into_iter().chain(template).collect()
    }
}

/// How pods of one revision give way to those of the next.
fn strategy(errors: &mut Errors, path: &Path, strategy: Option<&DeploymentStrategy>) {
    let kind = strategy.and_then(|strategy| strategy.type_.as_deref()).unwrap_or_default();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    if !matches!(kind, "Recreate" | "RollingUpdate") {
        let value = serde_json::json!({"Type": kind, "RollingUpdate": rolling});
        errors.push(Error::not_supported(path, value, &["Recreate", "RollingUpdate"]));
    }
    let path = path.child("rollingUpdate");
    match (kind, rolling) {
        ("Recreate", Some(_)) => {
            errors.push(Error::forbidden(&path, "may not be specified when strategy `type` is 'Recreate'"));
        }
        ("RollingUpdate", None) => errors.push(Error::required(&path, "this should be defaulted and never be nil")),
        ("RollingUpdate", Some(rolling)) => {
            let (unavailable, surge) = (rolling.max_unavailable.as_ref(), rolling.max_surge.as_ref());
            validation::int_or_percent(errors, &path.child("maxUnavailable"), unavailable);
            validation::int_or_percent(errors, &path.child("maxSurge"), surge);
            if validation::is_zero(unavailable) && validation::is_zero(surge) {
                let value = validation::json(&unavailable);
                let detail = "may not be 0 when `maxSurge` is 0";
                errors.push(Error::invalid(&path.child("maxUnavailable"), value, detail));
            }
            validation::at_most_100_percent(errors, &path.child("maxUnavailable"), unavailable);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::validation::lines;
    use serde_json::json;

    fn deployment(spec: serde_json::Value) -> Deployment {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec});
        let mut object: Deployment = serde_json::from_value(object).unwrap();
        Deployments.default(&mut object);
        object
    }

    fn good() -> serde_json::Value {
        json!({
            "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}}
        })
    }

    #[test]
    fn defaults_are_upstreams() {
        let spec = serde_json::to_value(deployment(good()).spec).unwrap();
        assert_eq!(spec["replicas"], 1);
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
        assert_eq!(spec["strategy"], strategy);
        assert_eq!((&spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]), (&json!(10), &json!(600)));
        assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
    }

    #[test]
    fn bad_ones_are_refused() {
        let with = |field: &str, value: serde_json::Value| {
            let mut spec = good();
            spec[field] = value;
            lines(&Deployments.validate(&deployment(spec), None))
        };
        let other =
            json!({"metadata": {"labels": {"app": "y"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}});
        let once = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "i"}]}});
        let zero = json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}});
        let cases = [
            ("paused", json!(true), vec![]),
            ("replicas", json!(-1), vec!["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
            (
                "selector",
                json!({}),
                vec![
                    "spec.selector: Required value",
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                "selector",
                json!({"matchLabels": {}}),
                vec!["spec.selector: Invalid value: {\"matchLabels\":{}}: empty selector is invalid for deployment"],
            ),
            (
                "template",
                other,
                vec![
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"y\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                "template",
                once,
                vec!["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
            ),
            (
                "strategy",
                zero,
                vec![
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
                ],
            ),
            (
                "progressDeadlineSeconds",
                json!(0),
                vec!["spec.progressDeadlineSeconds: Invalid value: 0: must be greater than minReadySeconds"],
            ),
        ];
        for (field, value, expected) in cases {
            assert_eq!(with(field, value), expected, "{field}");
        }
    }

    #[test]
    fn the_selector_stays() {
        let old = deployment(good());
        let mut new = old.clone();
        let spec = new.spec.as_mut().unwrap();
        let labels = Some([("app".to_owned(), "y".to_owned())].into());
        spec.selector.match_labels.clone_from(&labels);
        spec.template.metadata.get_or_insert_default().labels = labels;
        let expected = ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"y\"}}: field is immutable"];
        assert_eq!(lines(&Deployments.validate(&new, Some(&old))), expected);
    }
}
