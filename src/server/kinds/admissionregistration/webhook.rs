//! What the two kinds of webhook configurations have in common.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, RuleWithOperations, ValidatingWebhook, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde_json::Value;

use super::rules;
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::kinds::defaults::{absent, absent_text};
use crate::server::strategy::Column;
use crate::server::validation::{self, labels, optional_one_of};

pub const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::integer("Webhooks", "Webhooks indicates the number of webhooks registered in this configuration"),
    Column::AGE,
];

pub fn cells(meta: &ObjectMeta, hooks: usize, now: Timestamp) -> Vec<Value> {
    vec![cell::name(meta), hooks.into(), cell::age(meta, now)]
}

/// A webhook of either kind.
pub struct Hook<'a> {
    name: &'a str,
    versions: &'a [String],
    rules: &'a [RuleWithOperations],
    failure_policy: &'a Option<String>,
    match_policy: &'a Option<String>,
    side_effects: &'a str,
    timeout: Option<i32>,
    selectors: [(&'static str, Option<&'a LabelSelector>); 2],
    client: &'a WebhookClientConfig,
    conditions: Option<&'a Vec<MatchCondition>>,
}

/// The two types have the same fields, but one.
macro_rules! webhook {
    ($kind:ty) => {
        impl Webhook for $kind {
            fn view(&self) -> Hook<'_> {
                Hook {
                    name: &self.name,
                    versions: &self.admission_review_versions,
                    rules: self.rules.as_deref().unwrap_or_default(),
                    failure_policy: &self.failure_policy,
                    match_policy: &self.match_policy,
                    side_effects: &self.side_effects,
                    timeout: self.timeout_seconds,
                    selectors: [
                        ("namespaceSelector", self.namespace_selector.as_ref()),
                        ("objectSelector", self.object_selector.as_ref()),
                    ],
                    client: &self.client_config,
                    conditions: self.match_conditions.as_ref(),
                }
            }

            fn complete(&mut self) {
                absent_text(&mut self.failure_policy, "Fail");
                absent_text(&mut self.match_policy, "Equivalent");
                self.namespace_selector.get_or_insert_default();
                self.object_selector.get_or_insert_default();
                absent(&mut self.timeout_seconds, 10);
                self.rules.iter_mut().flatten().for_each(|rule| absent_text(&mut rule.scope, "*"));
                if let Some(service) = &mut self.client_config.service {
                    absent(&mut service.port, 443);
                }
            }
        }
    };
}

pub trait Webhook {
    fn view(&self) -> Hook<'_>;
    /// The defaults.
    fn complete(&mut self);
}

webhook!(MutatingWebhook);
webhook!(ValidatingWebhook);

pub fn hooks<W: Webhook>(errors: &mut Errors, hooks: &[W]) {
    let path = Path::new("webhooks");
    for (at, one) in hooks.iter().enumerate() {
        hook(errors, &path.index(at), &one.view());
        let path = path.index(at).child("admissionReviewVersions");
        let missing = "must specify one of v1, v1beta1";
        validation::webhook::review_versions(errors, &path, one.view().versions, missing);
    }
    validation::unique(errors, &path, "name", hooks.iter().map(|hook| hook.view().name));
}

fn hook(errors: &mut Errors, path: &Path, hook: &Hook) {
    let here = path.child("name");
    if hook.name.is_empty() {
        errors.push(Error::required(&here, ""));
    } else if let Some(problem) = names::fully_qualified_name(hook.name) {
        errors.push(Error::invalid(&here, hook.name, problem));
    }
    for (at, rule) in hook.rules.iter().enumerate() {
        rules::rule(errors, &path.child("rules").index(at), rule);
    }
    optional_one_of(errors, &path.child("failurePolicy"), hook.failure_policy, &["Fail", "Ignore"]);
    optional_one_of(errors, &path.child("matchPolicy"), hook.match_policy, &["Equivalent", "Exact"]);
    let effects = ["None", "NoneOnDryRun"];
    if hook.side_effects.is_empty() {
        let detail = format!("must specify one of {}", effects.join(", "));
        errors.push(Error::required(&path.child("sideEffects"), detail));
    } else if !effects.contains(&hook.side_effects) {
        errors.push(Error::not_supported(&path.child("sideEffects"), hook.side_effects, &effects));
    }
    if let Some(seconds) = hook.timeout.filter(|seconds| !(1..=30).contains(seconds)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.push(Error::invalid(&path.child("timeoutSeconds"), seconds, detail));
    }
    for (field, selector) in hook.selectors {
        labels::selector(errors, &path.child(field), selector);
    }
    client(errors, &path.child("clientConfig"), hook.client);
    rules::match_conditions(errors, &path.child("matchConditions"), hook.conditions, false);
}

fn client(errors: &mut Errors, path: &Path, client: &WebhookClientConfig) {
    match (&client.url, &client.service) {
        (None, None) | (Some(_), Some(_)) => {
            errors.push(Error::required(path, "exactly one of url or service is required"));
        }
        (Some(url), None) => validation::webhook::url(errors, &path.child("url"), url),
        (None, Some(service)) => {
            let (route, port) = (service.path.as_deref(), service.port.unwrap_or(443));
            let path = path.child("service");
            validation::webhook::service(errors, &path, &service.namespace, &service.name, route, port);
        }
    }
}
