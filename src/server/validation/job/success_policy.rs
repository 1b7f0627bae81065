//! When an indexed Job has succeeded before all its indexes have.

use k8s_openapi::api::batch::v1::{JobSpec, SuccessPolicyRule};

use super::super::{json, not_negative};
use super::{indexes, is_indexed};
use crate::api::field::{Error, Errors, Path};

const MAX_RULES: usize = 20;
const MAX_INDEXES_TEXT: usize = 64 * 1024;

pub fn success_policy(errors: &mut Errors, path: &Path, spec: &JobSpec) {
    let Some(policy) = &spec.success_policy else { return };
    if !is_indexed(spec) {
        let value = serde_json::json!({"Rules": json(&policy.rules)});
        errors.push(Error::invalid(path, value, "requires indexed completion mode"));
        return;
    }
    let path = path.child("rules");
    if policy.rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.push(Error::required(&path, detail));
    }
    if policy.rules.len() > MAX_RULES {
        errors.push(Error::too_many(&path, policy.rules.len(), MAX_RULES));
    }
    // Their absence is an error of its own.
    let completions = spec.completions.unwrap_or(i32::MAX);
    for (at, one) in policy.rules.iter().enumerate() {
        rule(errors, &path.index(at), one, completions);
    }
}

fn rule(errors: &mut Errors, path: &Path, rule: &SuccessPolicyRule, completions: i32) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(Error::required(path, detail));
    }
    let total = rule.succeeded_indexes.as_ref().map(|text| {
        let path = path.child("succeededIndexes");
        if text.len() > MAX_INDEXES_TEXT {
            errors.push(Error::too_long(&path, MAX_INDEXES_TEXT));
        }
        indexes::parse(text, completions).map_or_else(
            |problem| {
                let detail = format!("error parsing succeededIndexes: {problem}");
                errors.push(Error::invalid(&path, text.as_str(), detail));
                0
            },
            |intervals| indexes::total(&intervals),
        )
    });
    let Some(count) = rule.succeeded_count else { return };
    let path = path.child("succeededCount");
    not_negative(errors, &path, count);
    let bounds = [
        (Some(completions), "the number of specified completions"),
        (total, "the number of indexes in the specified succeededIndexes field"),
    ];
    for (bound, words) in bounds {
        if let Some(bound) = bound.filter(|bound| count > *bound) {
            errors.push(Error::invalid(&path, count, format!("must be less than or equal to {bound} ({words})")));
        }
    }
}
