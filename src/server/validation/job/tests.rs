//! Jobs good and bad, as they are made, changed and reported on.

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use crate::server::kinds::batch::job::Jobs;
use crate::server::strategy::Strategy;
use crate::server::validation::lines;

/// A Job whose spec is a sound one changed by a merge patch.
fn job(patch: Value) -> Job {
    let mut object = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", "uid": "u"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "i"}]}}}
    });
    json_patch::merge(&mut object, &patch);
    let mut job: Job = serde_json::from_value(object).unwrap();
    Jobs.default(&mut job);
    let status = job.status.clone();
    Jobs.prepare_create(&mut job);
    job.status = status;
    job
}

fn spec(patch: Value) -> Job {
    job(json!({"spec": patch}))
}

fn problems(job: &Job) -> Vec<String> {
    lines(&Jobs.validate(job, None))
}

#[test]
fn good_jobs_pass() {
    let cases = [
        json!({}),
        json!({"managedBy": "acme.io/foo"}),
        json!({"completionMode": "Indexed", "completions": 5, "backoffLimitPerIndex": 1, "maxFailedIndexes": 2}),
        json!({"completionMode": "Indexed", "completions": 5,
            "successPolicy": {"rules": [{"succeededIndexes": "0,2-3", "succeededCount": 3}]}}),
        json!({"podFailurePolicy": {"rules": [
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 42], "containerName": "a"}},
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}}),
        json!({"manualSelector": true, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}}}),
    ];
    for case in cases {
        assert_eq!(problems(&spec(case.clone())), Vec::<String>::new(), "{case}");
    }
}

#[test]
fn bad_jobs_are_refused() {
    let cases = [
        (json!({"parallelism": -1}), "spec.parallelism: Invalid value: -1: must be greater than or equal to 0"),
        (
            json!({"completionMode": "Indexed", "parallelism": 1}),
            "spec.completions: Required value: when completion mode is Indexed",
        ),
        (
            json!({"completionMode": "Indexed", "completions": 1, "backoffLimitPerIndex": 1, "maxFailedIndexes": 2}),
            "spec.maxFailedIndexes: Invalid value: 2: must be less than or equal to completions",
        ),
        (
            json!({"backoffLimitPerIndex": 1}),
            "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
        ),
        (
            json!({"managedBy": "foo"}),
            "spec.managedBy: Invalid value: \"foo\": must be a domain-prefixed path (such as \"acme.io/foo\")",
        ),
        (
            json!({"podReplacementPolicy": "Never"}),
            "spec.podReplacementPolicy: Unsupported value: \"Never\": supported values: \"Failed\", \"TerminatingOrFailed\"",
        ),
        (
            json!({"podReplacementPolicy": ""}),
            "spec.podReplacementPolicy: Unsupported value: \"\": supported values: \"Failed\", \"TerminatingOrFailed\"",
        ),
        (
            json!({"completionMode": ""}),
            "spec.completionMode: Unsupported value: \"\": supported values: \"NonIndexed\", \"Indexed\"",
        ),
        (
            json!({"template": {"spec": {"restartPolicy": "Always"}}}),
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ),
        (
            json!({"podFailurePolicy": {"rules": []}, "template": {"spec": {"restartPolicy": "OnFailure"}}}),
            "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified",
        ),
        (
            json!({"template": {"metadata": {"labels": {"job-name": "other"}}}}),
            "spec.template.metadata.labels[job-name]: Invalid value: {\"batch.kubernetes.io/controller-uid\":\"u\",\"batch.kubernetes.io/job-name\":\"x\",\"controller-uid\":\"u\",\"job-name\":\"other\"}: must be 'x'",
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(problems(&spec(patch.clone())), [expected], "{patch}");
    }
    let long = "x".repeat(62);
    let given = job(json!({"metadata": {"name": long}, "spec": {"completionMode": "Indexed", "completions": 2}}));
    let expected = format!(
        "metadata.name: Invalid value: \"{long}\": will not able to create pod with invalid DNS label: {long}-1"
    );
    assert_eq!(problems(&given), [expected]);
}

#[test]
fn bad_policies_are_refused() {
    let rules = |rule: Value| json!({"podFailurePolicy": {"rules": [rule]}});
    let success =
        |rule: Value| json!({"completionMode": "Indexed", "completions": 3, "successPolicy": {"rules": [rule]}});
    let cases = [
        (
            rules(json!({"action": "", "onPodConditions": [{"type": "A"}]})),
            "spec.podFailurePolicy.rules[0].action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
        ),
        (
            rules(json!({"action": "Ignore"})),
            "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
        ),
        (
            rules(json!({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [0]}})),
            "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
        ),
        (
            rules(json!({"action": "Ignore", "onExitCodes": {"operator": "NotIn", "values": [2, 1]}})),
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1]: must be ordered",
        ),
        (
            success(json!({"succeededIndexes": "0-3"})),
            "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0-3\": error parsing succeededIndexes: too large index: \"3\"",
        ),
        (
            success(json!({"succeededIndexes": "0-1", "succeededCount": 3})),
            "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(problems(&spec(patch.clone())), [expected], "{patch}");
    }
}

#[test]
fn what_is_made_stays_but_suspended_jobs_may_move() {
    let move_away = json!({"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}});
    let suspended = json!({"suspend": true});
    let cases = [
        (json!({}), json!({"completions": 3}), Some("spec.completions: Invalid value: 3: field is immutable")),
        (json!({}), json!({"completions": 1, "parallelism": 3, "suspend": true}), None),
        (
            json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2}),
            json!({"completions": 3, "parallelism": 3}),
            None,
        ),
        (
            json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2}),
            json!({"completions": 3}),
            Some("spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"),
        ),
        (
            json!({}),
            json!({"managedBy": "a.b/c"}),
            Some("spec.managedBy: Invalid value: \"a.b/c\": field is immutable"),
        ),
        (suspended.clone(), move_away.clone(), None),
        (suspended.clone(), json!({"template": {"metadata": {"annotations": {"a": "b"}}}}), None),
        (suspended.clone(), json!({"template": {"spec": {"affinity": {"nodeAffinity": {}}}}}), None),
    ];
    for (old, patch, expected) in cases {
        let mut new = old.clone();
        json_patch::merge(&mut new, &patch);
        let found = lines(&Jobs.validate(&spec(new), Some(&spec(old))));
        assert_eq!(found, Vec::from_iter(expected), "{patch}");
    }
    for (old, patch) in [(json!({}), move_away), (suspended, json!({"template": {"spec": {"hostNetwork": true}}}))] {
        let mut new = old.clone();
        json_patch::merge(&mut new, &patch);
        let found = lines(&Jobs.validate(&spec(new), Some(&spec(old.clone()))));
        let at = if old["suspend"] == true { "spec.template.spec" } else { "spec.template" };
        assert!(found.len() == 1 && found[0].starts_with(&format!("{at}: Invalid value: {{")), "{found:?}");
    }
}

#[test]
fn a_job_may_move_again_when_its_pods_are_gone() {
    let resources = json!({"template": {"spec": {"containers": [{"name": "a", "image": "i", "resources": {"requests": {"cpu": "2"}}}]}}});
    let suspended = |active: i32, condition: &str| {
        let conditions = json!([{"type": "Suspended", "status": condition}]);
        let status = json!({"startTime": "2026-01-01T00:00:00Z", "active": active, "conditions": conditions});
        job(json!({"spec": {"suspend": true}, "status": status}))
    };
    let mut patch = json!({"suspend": true});
    json_patch::merge(&mut patch, &resources);
    let moved = spec(patch);
    for (active, condition, may) in [(0, "True", true), (1, "True", false), (0, "False", false)] {
        let found = lines(&Jobs.validate(&moved, Some(&suspended(active, condition))));
        assert_eq!(found.is_empty(), may, "{active} {condition}: {found:?}");
    }
}

#[test]
fn a_status_goes_forward() {
    let condition = |kind: &str| json!({"type": kind, "status": "True"});
    let time = |second: u32| format!("2026-01-01T00:00:{second:02}Z");
    let done = json!({"startTime": time(1), "completionTime": time(2),
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")]});
    let cases = [
        (json!({}), done.clone(), vec![]),
        (
            json!({"failed": 2}),
            json!({"failed": 1}),
            vec!["status.failed: Invalid value: 1: cannot decrease the failed counter"],
        ),
        (
            json!({}),
            json!({"startTime": time(1), "conditions": [condition("Failed")]}),
            vec![
                "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
            ],
        ),
        (
            json!({}),
            json!({"startTime": time(1), "conditions": [condition("SuccessCriteriaMet"), condition("Complete")]}),
            vec!["status.completionTime: Required value: completionTime is required for Complete jobs"],
        ),
        (
            done.clone(),
            json!({"startTime": time(1), "active": 1}),
            vec![
                "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
                "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
            ],
        ),
        (
            json!({}),
            json!({"active": 1, "ready": 2}),
            vec!["status.ready: Invalid value: 2: cannot set more ready pods than active"],
        ),
        (
            json!({}),
            json!({"completedIndexes": "1"}),
            vec![
                "status.completedIndexes: Invalid value: \"1\": error parsing completedIndexes: too large index: \"1\"",
                "status.completedIndexes: Invalid value: \"1\": cannot set non-empty completedIndexes when non-indexed completion mode",
            ],
        ),
        (
            json!({"startTime": time(1)}),
            json!({}),
            vec!["status.startTime: Required value: startTime cannot be removed for unsuspended job"],
        ),
    ];
    for (old, new, expected) in cases {
        let (old, new) = (job(json!({"status": old})), job(json!({"status": new})));
        assert_eq!(lines(&Jobs.validate_status(&new, &old)), expected);
    }
}
