//! StatefulSet: pods with stable names and storage.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::defaults::{self, absent, text};
use crate::server::strategy::{Column, Meta, Strategy, Subresource};
use crate::server::validation;
use crate::server::validation::workload::{always, selected_template};

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

    fn validate(&self, new: &StatefulSet, old: Option<&StatefulSet>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let Some(spec) = &new.spec else {
            errors.push(Error::required(&path.child("selector"), ""));
            return errors;
        };
        let policies = ["OrderedReady", "Parallel"];
        let management = validation::text(&spec.pod_management_policy);
        validation::one_of(&mut errors, &path.child("podManagementPolicy"), management, &policies);
        update_strategy(&mut errors, &path.child("updateStrategy"), spec.update_strategy.as_ref());
        if let Some(retention) = &spec.persistent_volume_claim_retention_policy {
            let path = path.child("persistentVolumeClaimRetentionPolicy");
            let policies = ["Delete", "Retain"];
            validation::one_of(
                &mut errors,
                &path.child("whenDeleted"),
                validation::text(&retention.when_deleted),
                &policies,
            );
            validation::one_of(
                &mut errors,
                &path.child("whenScaled"),
                validation::text(&retention.when_scaled),
                &policies,
            );
        }
        validation::optional_not_negative(&mut errors, &path.child("replicas"), spec.replicas);
        validation::optional_not_negative(&mut errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
        if let Some(ordinals) = &spec.ordinals {
            let path = path.child("ordinals").child("start");
            validation::not_negative(&mut errors, &path, ordinals.start.unwrap_or(0));
        }
        selected_template(&mut errors, &path, &spec.selector, &spec.template, "statefulset");
        always(&mut errors, &path, &spec.template, "StatefulSet");
        if let Some(before) = old.and_then(|old| old.spec.as_ref()) {
            fixed(&mut errors, &path, spec, before);
        }
        errors
    }
}

fn update_strategy(errors: &mut Errors, path: &Path, strategy: Option<&StatefulSetUpdateStrategy>) {
    let kind = strategy.and_then(|strategy| strategy.type_.as_deref()).unwrap_or_default();
    validation::one_of(errors, &path.child("type"), kind, &["RollingUpdate", "OnDelete"]);
    let Some(rolling) = strategy.and_then(|strategy| strategy.rolling_update.as_ref()) else { return };
    let path = path.child("rollingUpdate");
    if kind == "OnDelete" {
        let detail = "only allowed for updateStrategy 'RollingUpdate'";
        errors.push(Error::invalid(&path, validation::json(rolling), detail));
        return;
    }
    validation::not_negative(errors, &path.child("partition"), rolling.partition.unwrap_or(0));
    if let Some(unavailable) = &rolling.max_unavailable {
        let path = path.child("maxUnavailable");
        validation::int_or_percent(errors, &path, Some(unavailable));
        if validation::is_zero(Some(unavailable)) {
            errors.push(Error::invalid(&path, validation::json(unavailable), "cannot be 0"));
        }
        validation::at_most_100_percent(errors, &path, Some(unavailable));
    }
}

/// What identifies the pods and their storage cannot change.
fn fixed(errors: &mut Errors, path: &Path, new: &StatefulSetSpec, old: &StatefulSetSpec) {
    let munged = StatefulSetSpec {
        replicas: old.replicas,
        template: old.template.clone(),
        update_strategy: old.update_strategy.clone(),
        min_ready_seconds: old.min_ready_seconds,
        ordinals: old.ordinals.clone(),
        revision_history_limit: old.revision_history_limit,
        persistent_volume_claim_retention_policy: old.persistent_volume_claim_retention_policy.clone(),
        ..new.clone()
    };
    if munged != *old {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errors.push(Error::forbidden(path, detail));
    }
}
