//! `metav1.Condition`, wherever a status has a list of them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::labels::label_name;
use super::named;
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

const MAX_REASON: usize = 1024;
const MAX_MESSAGE: usize = 32 * 1024;

pub fn conditions(errors: &mut Errors, path: &Path, conditions: Option<&Vec<Condition>>) {
    let conditions = conditions.map_or(&[][..], Vec::as_slice);
    for (at, condition) in conditions.iter().enumerate() {
        let path = path.index(at);
        if conditions[..at].iter().any(|other| other.type_ == condition.type_) {
            errors.push(Error::duplicate(&path.child("type"), condition.type_.as_str()));
        }
        one(errors, &path, condition);
    }
}

fn one(errors: &mut Errors, path: &Path, condition: &Condition) {
    label_name(errors, &path.child("type"), &condition.type_);
    let statuses = ["False", "True", "Unknown"];
    if !statuses.contains(&condition.status.as_str()) {
        errors.push(Error::not_supported(&path.child("status"), condition.status.as_str(), &statuses));
    }
    if let Some(generation) = condition.observed_generation.filter(|generation| *generation < 0) {
        let detail = "must be greater than or equal to zero";
        errors.push(Error::invalid(&path.child("observedGeneration"), generation, detail));
    }
    let (here, reason) = (path.child("reason"), condition.reason.as_str());
    if reason.is_empty() {
        errors.push(Error::required(&here, "must be set"));
    } else {
        named(errors, &here, reason, names::condition_reason(reason));
        if reason.len() > MAX_REASON {
            errors.push(Error::too_long(&here, MAX_REASON));
        }
    }
    if condition.message.len() > MAX_MESSAGE {
        errors.push(Error::too_long(&path.child("message"), MAX_MESSAGE));
    }
}
