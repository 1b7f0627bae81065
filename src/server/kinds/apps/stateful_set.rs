//! StatefulSet: pods with stable names and storage.

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::kinds::defaults::{self, absent, text};
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

pub struct StatefulSets;

impl Strategy for StatefulSets {
    type Kind = StatefulSet;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["sts"],
            categories: &["all"],
            subresources: const { &[Subresource::scale(), Subresource::status("StatefulSet")] },
            generation: true,
            ..Meta::namespaced::<StatefulSet>("statefulsets")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut StatefulSet) {
        let Some(spec) = &mut object.spec else { return };
        text(&mut spec.pod_management_policy, "OrderedReady");
        let strategy = spec.update_strategy.get_or_insert_default();
        text(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            absent(&mut strategy.rolling_update.get_or_insert_default().partition, 0);
        }
        let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
        text(&mut retention.when_deleted, "Retain");
        text(&mut retention.when_scaled, "Retain");
        absent(&mut spec.replicas, 1);
        absent(&mut spec.revision_history_limit, 10);
        defaults::pod::template(&mut spec.template);
        for claim in spec.volume_claim_templates.iter_mut().flatten() {
            defaults::claim_spec(claim.spec.get_or_insert_default());
            text(&mut claim.status.get_or_insert_default().phase, "Pending");
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Ready", "Number of the pod with ready state"),
            Column::AGE,
            cell::CONTAINERS,
            cell::IMAGES,
        ];
        COLUMNS
    }

    fn cells(&self, object: &StatefulSet, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let ready = object.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
        let [names, images] = cell::template(Some(&spec.template));
        Some(vec![
            cell::name(&object.metadata),
            format!("{ready}/{}", spec.replicas.unwrap_or(0)).into(),
            cell::age(&object.metadata, now),
            names,
            images,
        ])
    }
}
