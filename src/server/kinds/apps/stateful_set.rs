//! StatefulSet: pods with stable names and storage.

use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume};
use serde_json::{Value, json};

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::kinds::closed;
use crate::server::kinds::defaults::{self, absent, text};
use crate::server::strategy::{Column, Meta, NameRule, Strategy, Subresource};
use crate::server::validation;
use crate::server::validation::workload;

pub struct StatefulSets;

impl Strategy for StatefulSets {
    type Kind = StatefulSet;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["sts"],
            categories: &["all"],
            subresources: const { &[Subresource::scale(), Subresource::status("StatefulSet")] },
            generation: true,
            names: NameRule::Label,
            ..Meta::namespaced::<StatefulSet>("statefulsets")
        }
    }

    fn drop_closed(&self, new: &mut StatefulSet, old: Option<&StatefulSet>) {
        closed::drop(closed::STATEFUL_SET, new, old);
        let template = new.spec.as_mut().map(|spec| &mut spec.template);
        closed::template(template, old.and_then(|old| Some(&old.spec.as_ref()?.template)));
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut StatefulSet) {
        let spec = object.spec.get_or_insert_default();
        text(&mut spec.pod_management_policy, "OrderedReady");
        let strategy = spec.update_strategy.get_or_insert_default();
        text(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            absent(&mut rolling.partition, 0);
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
        let before = old.and_then(|old| old.spec.as_ref());
        spec_rules(&mut errors, &path, spec, before);
        match before {
            Some(before) => fixed(&mut errors, &path, spec, before),
            None => made_once(&mut errors, &path, spec),
        }
        errors
    }

    fn validate_status(&self, new: &StatefulSet, old: &StatefulSet) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("status");
        let status = new.status.clone().unwrap_or_default();
        let parts = [
            ("readyReplicas", status.ready_replicas),
            ("currentReplicas", status.current_replicas),
            ("updatedReplicas", status.updated_replicas),
            ("availableReplicas", status.available_replicas),
        ];
        let others = [("collisionCount", status.collision_count)];
        workload::counts(&mut errors, &path, status.replicas, &parts, &others);
        validation::optional_not_negative(&mut errors, &path.child("observedGeneration"), status.observed_generation);
        let ready = status.ready_replicas.unwrap_or(0);
        let detail = "cannot be greater than status.readyReplicas";
        workload::at_most(&mut errors, &path.child("availableReplicas"), status.available_replicas, ready, detail);
        let before = old.status.as_ref().and_then(|status| status.collision_count);
        validation::not_decremented(&mut errors, &path.child("collisionCount"), status.collision_count, before);
        errors
    }

    fn warnings(&self, new: &StatefulSet, old: Option<&StatefulSet>) -> Vec<String> {
        let Some(spec) = &new.spec else { return Vec::new() };
        let path = Path::new("spec");
        let same = old.is_some_and(|old| old.spec == new.spec);
        let mut warnings = validation::workload::template_warnings(&path, &spec.template, same);
        for (at, claim) in spec.volume_claim_templates.iter().flatten().enumerate() {
            // The large letter is upstream's.
            let path = path.child("volumeClaimTemplates").index(at).child("Spec");
            claim.spec.iter().for_each(|spec| validation::warnings::claim(&mut warnings, &path, spec));
        }
        if spec.revision_history_limit.is_some_and(|limit| limit < 0) {
            let words = "a negative value retains all historical revisions; a value >= 0 is recommended";
            warnings.push(format!("{}: {words}", path.child("revisionHistoryLimit")));
        }
        warnings
    }
}

fn spec_rules(errors: &mut Errors, path: &Path, spec: &StatefulSetSpec, old: Option<&StatefulSetSpec>) {
    let management = validation::text(&spec.pod_management_policy);
    if !matches!(management, "OrderedReady" | "Parallel") {
        let detail = "must be 'OrderedReady' or 'Parallel'";
        errors.push(Error::invalid(&path.child("podManagementPolicy"), management, detail));
    }
    update_strategy(errors, &path.child("updateStrategy"), spec.update_strategy.as_ref());
    if let Some(retention) = &spec.persistent_volume_claim_retention_policy {
        let path = path.child("persistentVolumeClaimRetentionPolicy");
        let policies = [("whenDeleted", &retention.when_deleted), ("whenScaled", &retention.when_scaled)];
        for (field, policy) in policies {
            validation::optional_in_order(errors, &path.child(field), policy, &["Retain", "Delete"]);
        }
    }
    validation::optional_not_negative(errors, &path.child("replicas"), spec.replicas);
    validation::optional_not_negative(errors, &path.child("minReadySeconds"), spec.min_ready_seconds);
    if let Some(ordinals) = &spec.ordinals {
        validation::not_negative(errors, &path.child("ordinals.start"), ordinals.start.unwrap_or(0));
    }
    if workload::selected(errors, path, &spec.selector, &spec.template, "statefulset", "") {
        validation::pod::template(errors, &path.child("template"), &with_claims(spec), old.map(|old| &old.template));
    }
    workload::always(errors, path, &spec.template, "StatefulSet");
}

/// The template as its pods will be: every claim template is a volume too, before any other of that name.
fn with_claims(spec: &StatefulSetSpec) -> PodTemplateSpec {
    let mut template = spec.template.clone();
    let claims = spec.volume_claim_templates.iter().flatten();
    let made: Vec<_> = claims.map(|claim| claim.metadata.name.clone().unwrap_or_default()).collect();
    if let Some(pod) = template.spec.as_mut().filter(|_| !made.is_empty()) {
        let volumes = pod.volumes.get_or_insert_default();
        volumes.retain(|volume| !made.contains(&volume.name));
        volumes.extend(made.into_iter().map(|name| {
            let source = PersistentVolumeClaimVolumeSource { claim_name: name.clone(), read_only: None };
            Volume { name, persistent_volume_claim: Some(source), ..Default::default() }
        }));
    }
    template
}

/// The rules of what cannot change afterwards, which objects from before a rule may break.
fn made_once(errors: &mut Errors, path: &Path, spec: &StatefulSetSpec) {
    let service = validation::text(&spec.service_name);
    if !service.is_empty() {
        validation::named(errors, &path.child("serviceName"), service, names::dns1123_label(service));
    }
    for (at, claim) in spec.volume_claim_templates.iter().flatten().enumerate() {
        let path = path.child("volumeClaimTemplates").index(at).child("spec");
        if let Some(claim) = &claim.spec {
            validation::storage::claim(errors, &path, claim);
        }
    }
}

fn update_strategy(errors: &mut Errors, path: &Path, strategy: Option<&StatefulSetUpdateStrategy>) {
    let kind = strategy.and_then(|strategy| strategy.type_.as_deref()).unwrap_or_default();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    match (kind, rolling) {
        ("OnDelete", Some(rolling)) => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            let value = json!({"Partition": rolling.partition.unwrap_or(0), "MaxUnavailable": rolling.max_unavailable});
            errors.push(Error::invalid(&path.child("rollingUpdate"), value, detail));
        }
        ("RollingUpdate", Some(rolling)) => rolling_update(errors, &path.child("rollingUpdate"), rolling),
        ("OnDelete" | "RollingUpdate", None) => {}
        _ => {
            let value = json!({"Type": kind, "RollingUpdate": rolling});
            errors.push(Error::invalid(path, value, "must be 'RollingUpdate' or 'OnDelete'"));
        }
    }
}

fn rolling_update(errors: &mut Errors, path: &Path, rolling: &RollingUpdateStatefulSetStrategy) {
    validation::not_negative(errors, &path.child("partition"), rolling.partition.unwrap_or(0));
    let Some(unavailable) = &rolling.max_unavailable else { return };
    let path = path.child("maxUnavailable");
    validation::int_or_percent(errors, &path, Some(unavailable));
    if validation::is_zero(Some(unavailable)) {
        errors.push(Error::invalid(&path, validation::json(unavailable), "cannot be 0"));
    }
    validation::at_most_100_percent(errors, &path, Some(unavailable));
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
    if munged != *old && !validation::semantic::same(&munged, old) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errors.push(Error::forbidden(path, detail));
    }
}
