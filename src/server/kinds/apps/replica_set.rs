//! ReplicaSet: so many pods of one template.

use std::borrow::Cow;

use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::closed;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Fields, Meta, Strategy, Subresource};
use crate::server::validation;
use crate::server::validation::workload;

pub struct ReplicaSets;

impl Strategy for ReplicaSets {
    type Kind = ReplicaSet;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["rs"],
            categories: &["all"],
            subresources: const { &[Subresource::scale(), Subresource::status("ReplicaSet")] },
            generation: true,
            ..Meta::namespaced::<ReplicaSet>("replicasets")
        }
    }

    fn drop_closed(&self, new: &mut ReplicaSet, old: Option<&ReplicaSet>) {
        closed::template(
            new.spec.as_mut().and_then(|spec| spec.template.as_mut()),
            old.and_then(|old| old.spec.as_ref()?.template.as_ref()),
        );
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut ReplicaSet) {
        let spec = object.spec.get_or_insert_default();
        defaults::absent(&mut spec.replicas, 1);
        defaults::pod::template(spec.template.get_or_insert_default());
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            // Upstream's tables take these texts from the long gone extensions/v1beta1.
            Column::integer(
                "Desired",
                "Replicas is the number of desired pods. This is a pointer to distinguish between explicit zero and unspecified. Defaults to 1. More info: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset",
            ),
            Column::integer(
                "Current",
                "Replicas is the most recently observed number of non-terminating pods. More info: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset",
            ),
            Column::integer(
                "Ready",
                "The number of non-terminating pods targeted by this ReplicaSet with a Ready Condition.",
            ),
            Column::AGE,
            cell::CONTAINERS,
            cell::IMAGES,
            cell::SELECTOR.described("Selector is a label query over pods that should match the replica count. If the selector is empty, it is defaulted to the labels present on the pod template. Label keys and values that must match in order to be controlled by this replica set. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors"),
        ];
        COLUMNS
    }

    fn cells(&self, object: &ReplicaSet, now: jiff::Timestamp) -> Option<Vec<Value>> {
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
            cell::selector(Some(&spec.selector)).into(),
        ])
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn fields<'a>(&self, object: &'a ReplicaSet) -> Fields<'a> {
        let replicas = object.status.as_ref().map_or(0, |status| status.replicas);
        vec![("status.replicas", Cow::from(replicas.to_string()))]
    }

    fn validate(&self, new: &ReplicaSet, old: Option<&ReplicaSet>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let Some(spec) = &new.spec else {
            errors.push(Error::required(&path.child("selector"), ""));
            return errors;
        };
        validation::optional_not_negative(&mut errors, &path.child("replicas"), spec.replicas);
        validation::optional_not_negative(&mut errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
        let before = old.and_then(|old| old.spec.as_ref());
        match &spec.template {
            None => errors.push(Error::required(&path.child("template"), "")),
            Some(template) => {
                let old_template = before.and_then(|before| before.template.as_ref());
                workload::replicated(&mut errors, &path, &spec.selector, template, old_template);
            }
        }
        if let Some(before) = before {
            validation::immutable(&mut errors, &path.child("selector"), &spec.selector, &before.selector);
        }
        errors
    }

    fn validate_status(&self, new: &ReplicaSet, _old: &ReplicaSet) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("status");
        let status = new.status.clone().unwrap_or_default();
        let parts = [
            ("fullyLabeledReplicas", status.fully_labeled_replicas),
            ("readyReplicas", status.ready_replicas),
            ("availableReplicas", status.available_replicas),
        ];
        let others = [("terminatingReplicas", status.terminating_replicas)];
        workload::counts(&mut errors, &path, status.replicas, &parts, &others);
        validation::optional_not_negative(&mut errors, &path.child("observedGeneration"), status.observed_generation);
        let ready = status.ready_replicas.unwrap_or(0);
        let here = path.child("availableReplicas");
        workload::at_most(&mut errors, &here, status.available_replicas, ready, "cannot be greater than readyReplicas");
        errors
    }

    fn warnings(&self, new: &ReplicaSet, old: Option<&ReplicaSet>) -> Vec<String> {
        let name = new.metadata.name.as_deref().filter(|_| old.is_none());
        let same = old.is_some_and(|old| old.spec == new.spec);
        let template = new.spec.iter().flat_map(|spec| &spec.template);
        let template = template.flat_map(|template| workload::template_warnings(&Path::new("spec"), template, same));
        workload::name_warning(name).into_iter().chain(template).collect()
    }
}
