//! Good and bad CronJobs; those of Jobs are beside their rules.

use serde_json::json;

use crate::server::kinds::table_tests::Sound;

fn cron_jobs() -> Sound {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "i"}]});
    let spec = json!({"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": pod}}}});
    Sound::new("batch/v1", "CronJob", json!({"spec": spec}))
}

#[test]
fn good_cron_jobs_pass() {
    cron_jobs().accepts(&[
        json!({"spec": {"schedule": "*/5 * * * mon-fri"}}),
        json!({"spec": {"timeZone": "Europe/Berlin"}}),
        json!({"spec": {"timeZone": "Etc/UTC", "concurrencyPolicy": "Forbid"}}),
    ]);
}

#[test]
fn bad_cron_jobs_are_refused() {
    cron_jobs().refuses(&[
        (json!({"spec": {"schedule": ""}}), "spec.schedule: Required value"),
        (
            json!({"spec": {"schedule": "* * * *"}}),
            "spec.schedule: Invalid value: \"* * * *\": expected exactly 5 fields, found 4: [* * * *]",
        ),
        (
            json!({"spec": {"schedule": "TZ=UTC 0 * * * *"}}),
            "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ),
        (
            json!({"spec": {"jobTemplate": {"spec": {"completionMode": ""}}}}),
            "spec.jobTemplate.spec.completionMode: Unsupported value: \"\": supported values: \"NonIndexed\", \"Indexed\"",
        ),
        (
            json!({"spec": {"timeZone": "europe/berlin"}}),
            "spec.timeZone: Invalid value: \"europe/berlin\": unknown time zone europe/berlin",
        ),
        (
            json!({"spec": {"timeZone": "../etc"}}),
            "spec.timeZone: Invalid value: \"../etc\": unknown time zone ../etc",
        ),
        (
            json!({"spec": {"timeZone": "Local"}}),
            "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        ),
        (
            json!({"spec": {"concurrencyPolicy": "Maybe"}}),
            "spec.concurrencyPolicy: Unsupported value: \"Maybe\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
        ),
        (
            json!({"spec": {"jobTemplate": {"spec": {"manualSelector": true}}}}),
            "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
        ),
        (
            json!({"spec": {"jobTemplate": {"spec": {"backoffLimit": -1}}}}),
            "spec.jobTemplate.spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            json!({"metadata": {"name": "x".repeat(53)}}),
            "metadata.name: Invalid value: \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\": must be no more than 52 characters",
        ),
    ]);
}

#[test]
fn a_schedule_may_be_wrong_in_two_ways() {
    let zoned = |zone: &str| format!("TZ={zone} 0 * * * *");
    for (zone, problem) in [
        ("Bad/Zone", "provided bad location Bad/Zone: unknown time zone Bad/Zone"),
        ("../etc", "provided bad location ../etc: time: invalid location name"),
    ] {
        let schedule = zoned(zone);
        let expected = [
            format!("spec.schedule: Invalid value: {schedule:?}: {problem}"),
            format!(
                "spec.schedule: Invalid value: {schedule:?}: cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            ),
        ];
        assert_eq!(cron_jobs().create(json!({"spec": {"schedule": schedule}})), expected);
    }
}

#[test]
fn time_zones_in_schedules_are_a_thing_of_the_past() {
    let zoned = json!({"spec": {"schedule": "CRON_TZ=UTC 0 * * * *"}});
    assert_eq!(cron_jobs().update(zoned.clone(), zoned.clone()).0, Vec::<String>::new());
    let both = json!({"spec": {"schedule": "CRON_TZ=UTC 0 * * * *", "timeZone": "Etc/UTC"}});
    let expected = "spec.schedule: Invalid value: \"CRON_TZ=UTC 0 * * * *\": cannot use both timeZone field and TZ or CRON_TZ in schedule";
    assert_eq!(cron_jobs().update(zoned, both).0, [expected]);
}
