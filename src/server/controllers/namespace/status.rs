//! What a namespace that is being deleted says about how far that is. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};

use crate::reconcile::clock::time;

/// What was found and done in one pass.
#[derive(Debug, Default)]
pub struct Found {
    pub discovery_error: Option<String>,
    pub deletion_errors: Vec<String>,
    /// How many objects are left of each resource, named as in `deployments.apps`.
    pub remaining: BTreeMap<String, usize>,
    /// How many objects have each finalizer.
    pub finalizers: BTreeMap<String, usize>,
}

impl Found {
    pub fn is_empty(&self) -> bool {
        self.discovery_error.is_none() && self.deletion_errors.is_empty() && self.remaining.is_empty()
    }
}

/// The namespace's status after a pass.
pub fn status(namespace: &Namespace, found: &Found, now: Timestamp) -> NamespaceStatus {
    let mut status = namespace.status.clone().unwrap_or_default();
    status.phase = Some("Terminating".to_owned());
    let remaining = counts(&found.remaining, |name, count| format!("{name} has {count} resource instances"));
    let finalizers = counts(&found.finalizers, |name, count| format!("{name} in {count} resource instances"));
    let deletion = (!found.deletion_errors.is_empty()).then(|| aggregate(&found.deletion_errors));
    let wanted = [
        (
            "NamespaceDeletionDiscoveryFailure",
            found
                .discovery_error
                .clone()
                .map(|error| ("DiscoveryFailed", format!("Discovery failed for some groups, {error}"))),
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            deletion.map(|errors| {
                (
                    "ContentDeletionFailed",
                    format!("Failed to delete all resource types, {} remaining: {errors}", found.deletion_errors.len()),
                )
            }),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        (
            "NamespaceContentRemaining",
            remaining.map(|text| ("SomeResourcesRemain", format!("Some resources are remaining: {text}"))),
            ("ContentRemoved", "All content successfully removed"),
        ),
        (
            "NamespaceFinalizersRemaining",
            finalizers.map(|text| {
                ("SomeFinalizersRemain", format!("Some content in the namespace has finalizers remaining: {text}"))
            }),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ];
    let mut conditions = status.conditions.take().unwrap_or_default();
    for (kind, problem, fine) in wanted {
        let (value, reason, message) = match problem {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", fine.0, fine.1.to_owned()),
        };
        set(&mut conditions, kind, value, reason, message, now);
    }
    status.conditions = Some(conditions);
    status
}

fn counts(of: &BTreeMap<String, usize>, text: impl Fn(&str, usize) -> String) -> Option<String> {
    let texts: Vec<_> = of.iter().map(|(name, count)| text(name, *count)).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

fn aggregate(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn set(
    conditions: &mut Vec<NamespaceCondition>,
    kind: &str,
    value: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let at = conditions.iter().position(|condition| condition.type_ == kind);
    let known = at.map(|at| conditions[at].clone()).unwrap_or_default();
    let moved = known.status != value;
    let condition = NamespaceCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: if moved { Some(time(now)) } else { known.last_transition_time },
    };
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_and_then_no_more() {
        let mut namespace = Namespace::default();
        let mut found = Found::default();
        found.remaining.insert("pods.".to_owned(), 2);
        found.finalizers.insert("example.com/f".to_owned(), 1);
        let at = |second| Timestamp::from_second(second).expect("valid");
        let first = status(&namespace, &found, at(1));
        let text = |status: &NamespaceStatus, kind: &str| {
            let found = status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
            let found = found.expect("there").clone();
            (found.status, found.message.unwrap_or_default())
        };
        let remaining = "Some resources are remaining: pods. has 2 resource instances";
        assert_eq!(text(&first, "NamespaceContentRemaining"), ("True".to_owned(), remaining.to_owned()));
        let finalizers =
            "Some content in the namespace has finalizers remaining: example.com/f in 1 resource instances";
        assert_eq!(text(&first, "NamespaceFinalizersRemaining"), ("True".to_owned(), finalizers.to_owned()));
        namespace.status = Some(first.clone());
        assert_eq!(status(&namespace, &found, at(9)), first, "the same again is no change");
        let last = status(&namespace, &Found::default(), at(9));
        let removed = "All content successfully removed";
        assert_eq!(text(&last, "NamespaceContentRemaining"), ("False".to_owned(), removed.to_owned()));
        assert_eq!(last.phase.as_deref(), Some("Terminating"));
    }
}
