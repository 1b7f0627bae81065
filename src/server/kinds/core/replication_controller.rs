//! ReplicationController: the ancestor of ReplicaSet.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ReplicationController;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::closed;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Fields, Meta, Strategy, Subresource};
use crate::server::validation::{self, workload};

pub struct ReplicationControllers;

impl Strategy for ReplicationControllers {
    type Kind = ReplicationController;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["rc"],
            categories: &["all"],
            subresources: const { &[Subresource::scale(), Subresource::status("ReplicationController")] },
            generation: true,
            ..Meta::namespaced::<ReplicationController>("replicationcontrollers")
        }
    }

    fn drop_closed(&self, new: &mut ReplicationController, old: Option<&ReplicationController>) {
        closed::template(
            new.spec.as_mut().and_then(|spec| spec.template.as_mut()),
            old.and_then(|old| old.spec.as_ref()?.template.as_ref()),
        );
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut ReplicationController) {
        let Some(spec) = &mut object.spec else { return };
        defaults::absent(&mut spec.replicas, 1);
        spec.template.iter_mut().for_each(defaults::pod::template);
        let labels = spec.template.as_ref().and_then(|template| template.metadata.as_ref()?.labels.clone());
        if let Some(labels) = labels {
            if spec.selector.as_ref().is_none_or(BTreeMap::is_empty) {
                spec.selector = Some(labels.clone());
            }
            if object.metadata.labels.as_ref().is_none_or(BTreeMap::is_empty) {
                object.metadata.labels = Some(labels);
            }
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::integer("Desired", "Replicas is the number of desired replicas. This is a pointer to distinguish between explicit zero and unspecified. Defaults to 1. More info: https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller#what-is-a-replicationcontroller"),
            Column::integer("Current", "Replicas is the most recently observed number of replicas. More info: https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller#what-is-a-replicationcontroller"),
            Column::integer("Ready", "The number of ready replicas for this replication controller."),
            Column::AGE,
            cell::CONTAINERS,
            cell::IMAGES,
            cell::SELECTOR.described("Selector is a label query over pods that should match the Replicas count. If Selector is empty, it is defaulted to the labels present on the Pod template. Label keys and values that must match in order to be controlled by this replication controller, if empty defaulted to labels on Pod template. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors"),
        ];
        COLUMNS
    }

    fn cells(&self, object: &ReplicationController, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let [names, images] = cell::template(spec.template.as_ref());
        Some(vec![
            cell::name(&object.metadata),
            spec.replicas.unwrap_or(0).into(),
            status.replicas.into(),
            status.ready_replicas.unwrap_or(0).into(),
            cell::age(&object.metadata, now),
            names,
            images,
            cell::labels(spec.selector.as_ref()).into(),
        ])
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn fields<'a>(&self, object: &'a ReplicationController) -> Fields<'a> {
        let replicas = object.status.as_ref().map_or(0, |status| status.replicas);
        vec![("status.replicas", Cow::from(replicas.to_string()))]
    }

    fn validate(&self, new: &ReplicationController, old: Option<&ReplicationController>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let spec = new.spec.clone().unwrap_or_default();
        validation::optional_not_negative(&mut errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
        let selector = LabelSelector { match_labels: spec.selector.clone(), match_expressions: None };
        let empty = validation::labels::is_empty(&selector);
        if empty {
            errors.push(Error::required(&path.child("selector"), ""));
        }
        validation::optional_not_negative(&mut errors, &path.child("replicas"), spec.replicas);
        match &spec.template {
            None => errors.push(Error::required(&path.child("template"), "")),
            Some(template) => {
                if !empty {
                    validation::workload::matches(&mut errors, &path, &selector, template);
                }
                let old = old.and_then(|old| old.spec.as_ref()?.template.as_ref());
                validation::pod::template(&mut errors, &path.child("template"), template, old);
                validation::workload::always(&mut errors, &path, template, "ReplicationController");
            }
        }
        errors
    }

    fn validate_status(&self, new: &ReplicationController, _old: &ReplicationController) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("status");
        let status = new.status.clone().unwrap_or_default();
        let (labeled, ready) = (status.fully_labeled_replicas.unwrap_or(0), status.ready_replicas.unwrap_or(0));
        let available = status.available_replicas.unwrap_or(0);
        let counts = [
            ("replicas", status.replicas),
            ("fullyLabeledReplicas", labeled),
            ("readyReplicas", ready),
            ("availableReplicas", available),
        ];
        for (field, count) in counts {
            validation::not_negative(&mut errors, &path.child(field), count);
        }
        validation::optional_not_negative(&mut errors, &path.child("observedGeneration"), status.observed_generation);
        for (field, count) in counts.into_iter().filter(|(_, count)| *count > status.replicas) {
            errors.push(Error::invalid(&path.child(field), count, "cannot be greater than status.replicas"));
        }
        if available > ready {
            let detail = "cannot be greater than readyReplicas";
            errors.push(Error::invalid(&path.child("availableReplicas"), available, detail));
        }
        errors
    }

    fn warnings(&self, new: &ReplicationController, old: Option<&ReplicationController>) -> Vec<String> {
        let name = new.metadata.name.as_deref().filter(|_| old.is_none());
        let same = old.is_some_and(|old| old.spec == new.spec);
        let template = new.spec.iter().flat_map(|spec| &spec.template);
        let template = template.flat_map(|template| workload::template_warnings(&Path::new("spec"), template, same));
        workload::name_warning(name).into_iter().chain(template).collect()
    }
}
