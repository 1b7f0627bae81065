//! ResourceQuota: limits on what a namespace may use in all.

mod validate;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ResourceQuota;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};
use crate::server::validation;

pub struct ResourceQuotas;

impl Strategy for ResourceQuotas {
    type Kind = ResourceQuota;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["quota"],
            subresources: const { &[Subresource::status("ResourceQuota")] },
            ..Meta::namespaced::<ResourceQuota>("resourcequotas")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut ResourceQuota) {
        defaults::quantities(&mut object.spec.get_or_insert_default().hard);
        if let Some(status) = &mut object.status {
            defaults::quantities(&mut status.hard);
            defaults::quantities(&mut status.used);
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "Request",
                "Request represents a minimum amount of cpu/memory that a container may consume.",
            ),
            Column::string(
                "Limit",
                "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
            ),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &ResourceQuota, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let (limits, requests): (Vec<_>, Vec<_>) =
            usage(object).into_iter().partition(|line| line.starts_with("limits."));
        Some(vec![
            cell::name(&object.metadata),
            requests.join(", ").into(),
            limits.join(", ").into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(&self, new: &ResourceQuota, old: Option<&ResourceQuota>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let spec = new.spec.clone().unwrap_or_default();
        validate::spec(&mut errors, &path, &spec);
        if let Some(old) = old {
            let before = old.spec.clone().unwrap_or_default().scopes.unwrap_or_default();
            if spec.scopes.iter().flatten().collect::<BTreeSet<_>>() != before.iter().collect() {
                let shown = validation::json(&spec.scopes);
                errors.push(Error::invalid(&path.child("scopes"), shown, validation::IMMUTABLE));
            }
        }
        errors
    }

    fn validate_status(&self, new: &ResourceQuota, _old: &ResourceQuota) -> Errors {
        let mut errors = Errors::new();
        let status = new.status.clone().unwrap_or_default();
        for (field, list) in [("hard", &status.hard), ("used", &status.used)] {
            validation::resources::quota_list(&mut errors, &Path::new("status").child(field), list.as_ref());
        }
        errors
    }
}

/// `pods: 3/10` for every resource that is limited.
fn usage(quota: &ResourceQuota) -> Vec<String> {
    let Some(status) = &quota.status else { return Vec::new() };
    let used = |name: &str| status.used.as_ref().and_then(|used| used.get(name)).map_or("0", |amount| &amount.0);
    let hard = status.hard.iter().flatten();
    hard.map(|(name, hard)| format!("{name}: {}/{}", used(name), hard.0)).collect()
}
