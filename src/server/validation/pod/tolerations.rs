//! Tolerations of taints.

use k8s_openapi::api::core::v1::Toleration;

use super::super::{labels, named, one_in_order, text};
use super::Kept;
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

pub fn tolerations(errors: &mut Errors, path: &Path, tolerations: &[Toleration], kept: Kept) {
    for (at, toleration) in tolerations.iter().enumerate() {
        one(errors, &path.index(at), toleration, kept);
    }
}

/// Whether it is for taints whose values are numbers.
pub fn compares(toleration: &Toleration) -> bool {
    matches!(toleration.operator.as_deref(), Some("Lt" | "Gt"))
}

fn one(errors: &mut Errors, path: &Path, toleration: &Toleration, kept: Kept) {
    let (key, value) = (text(&toleration.key), text(&toleration.value));
    let (operator, effect) = (text(&toleration.operator), text(&toleration.effect));
    if !key.is_empty() {
        labels::label_name(errors, &path.child("key"), key);
    }
    if key.is_empty() && operator != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(Error::invalid(&path.child("operator"), operator, detail));
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(Error::invalid(&path.child("effect"), effect, detail));
    }
    match operator {
        "Equal" | "" => {
            let problems = names::label_value(value);
            if !problems.is_empty() {
                errors.push(Error::invalid(&path.child("operator"), value, problems.join(";")));
            }
        }
        "Exists" => {
            if !value.is_empty() {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.push(Error::invalid(&path.child("operator"), value, detail));
            }
        }
        "Lt" | "Gt" if kept.comparisons => {
            let path = path.child("value");
            named(errors, &path, value, names::decimal_integer(value));
            if value.parse::<i64>().is_err() {
                let digits = value.trim_start_matches(['+', '-']);
                let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                let why = if number { "value out of range" } else { "invalid syntax" };
                errors.push(Error::invalid(&path, value, format!("strconv.ParseInt: parsing {value:?}: {why}")));
            }
        }
        other => errors.push(Error::not_supported(&path.child("operator"), other, &["Equal", "Exists"])),
    }
    if !effect.is_empty() {
        self::effect(errors, &path.child("effect"), effect);
    }
}

/// What a taint does to pods that do not tolerate it.
pub fn effect(errors: &mut Errors, path: &Path, effect: &str) {
    one_in_order(errors, path, effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
}
