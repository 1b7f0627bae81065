//! Deployment: declarative rollouts of ReplicaSets.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::kinds::defaults::{self, absent, text};
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

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

    fn prepare_create(&self, object: &mut Deployment) {
        object.status = None;
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
        let Some(spec) = &mut object.spec else { return };
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
            Column::string("Available", "Total number of available non-terminating pods targeted by this deployment."),
            Column::AGE,
            cell::CONTAINERS,
            cell::IMAGES,
            cell::SELECTOR,
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
}
