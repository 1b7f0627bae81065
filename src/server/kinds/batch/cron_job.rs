//! CronJob: Jobs on a schedule.

use k8s_openapi::api::batch::v1::{CronJob, JobSpec};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::defaults::{self, absent, text};
use crate::server::strategy::{Column, Meta, Strategy, Subresource};
use crate::server::validation;

pub struct CronJobs;

impl Strategy for CronJobs {
    type Kind = CronJob;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["cj"],
            categories: &["all"],
            subresources: const { &[Subresource::status("CronJob")] },
            generation: true,
            ..Meta::namespaced::<CronJob>("cronjobs")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut CronJob) {
        let spec = &mut object.spec;
        text(&mut spec.concurrency_policy, "Allow");
        absent(&mut spec.suspend, false);
        absent(&mut spec.successful_jobs_history_limit, 3);
        absent(&mut spec.failed_jobs_history_limit, 1);
        if let Some(job) = &mut spec.job_template.spec {
            template(job);
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Schedule", "The schedule in Cron format."),
            Column::string("Timezone", "The time zone name for the given schedule."),
            Column { kind: "boolean", ..Column::string("Suspend", "Whether subsequent executions are suspended.") },
            Column::integer("Active", "How many jobs are running now."),
            Column::string("Last Schedule", "When the job was last scheduled."),
            Column::AGE,
            cell::CONTAINERS,
            cell::IMAGES,
            cell::SELECTOR,
        ];
        COLUMNS
    }

    fn cells(&self, object: &CronJob, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = &object.spec;
        let job = spec.job_template.spec.clone().unwrap_or_default();
        let [names, images] = cell::template(Some(&job.template));
        let status = object.status.clone().unwrap_or_default();
        let last = status.last_schedule_time.as_ref().map(|time| cell::since(Some(time), now));
        let suspend = if spec.suspend == Some(true) { "True" } else { "False" };
        Some(vec![
            cell::name(&object.metadata),
            spec.schedule.clone().into(),
            cell::or(spec.time_zone.as_deref(), cell::NONE).into(),
            suspend.into(),
            status.active.map_or(0, |active| active.len()).into(),
            cell::or(last.as_deref(), cell::NONE).into(),
            cell::age(&object.metadata, now),
            names,
            images,
            cell::selector(job.selector.as_ref()).into(),
        ])
    }

    fn validate(&self, new: &CronJob, old: Option<&CronJob>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let spec = &new.spec;
        let name = new.metadata.name.as_deref().unwrap_or_default();
        if old.is_none() && name.len() > 52 {
            let detail = "must be no more than 52 characters";
            errors.push(Error::invalid(&Path::new("metadata").child("name"), name, detail));
        }
        schedule(&mut errors, &path.child("schedule"), &spec.schedule);
        if let Some(seconds) = spec.starting_deadline_seconds {
            validation::not_negative(&mut errors, &path.child("startingDeadlineSeconds"), seconds);
        }
        let policies = ["Allow", "Forbid", "Replace"];
        let policy = validation::text(&spec.concurrency_policy);
        validation::one_of(&mut errors, &path.child("concurrencyPolicy"), policy, &policies);
        let limits = [
            ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit),
            ("failedJobsHistoryLimit", spec.failed_jobs_history_limit),
        ];
        for (field, limit) in limits {
            validation::optional_not_negative(&mut errors, &path.child(field), limit);
        }
        if let Some(zone) = &spec.time_zone {
            time_zone(&mut errors, &path.child("timeZone"), zone);
        }
        let path = path.child("jobTemplate").child("spec");
        match &spec.job_template.spec {
            None => errors.push(Error::required(&path.child("template"), "")),
            Some(job) => validation::job::spec(&mut errors, &path, job, false),
        }
        errors
    }
}

/// A template gets the defaults of its pods; those of the Job come when it is made.
fn template(job: &mut JobSpec) {
    defaults::pod::template(&mut job.template);
}

/// Five fields, or one of the words that stand for them.
fn schedule(errors: &mut Errors, path: &Path, schedule: &str) {
    if schedule.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    if schedule.contains("TZ=") {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(Error::invalid(path, schedule, detail));
        return;
    }
    if let Err(problem) = cron(schedule) {
        errors.push(Error::invalid(path, schedule, problem));
    }
}

/// Whether a schedule can be read; the bounds are those of cron's five fields.
fn cron(schedule: &str) -> Result<(), String> {
    if let Some(word) = schedule.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
        let every = word.strip_prefix("every ").and_then(crate::api::duration::parse_go);
        return match known.contains(&word) || every.is_some() {
            true => Ok(()),
            false => Err(format!("unrecognized descriptor: {schedule}")),
        };
    }
    let fields: Vec<_> = schedule.split_whitespace().collect();
    const BOUNDS: [(u32, u32); 5] = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
    if fields.len() != BOUNDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: {fields:?}", fields.len()));
    }
    const NO_NAMES: &[&str] = &[];
    const MONTHS: &[&str] = &["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    for (at, (field, bounds)) in fields.iter().zip(BOUNDS).enumerate() {
        let names = [NO_NAMES, NO_NAMES, NO_NAMES, MONTHS, DAYS][at];
        for part in field.split(',') {
            cron_range(part, bounds, names)?;
        }
    }
    Ok(())
}

/// `*`, `5`, `1-5`, `*/10`, `mon-fri`.
fn cron_range(part: &str, (low, high): (u32, u32), names: &[&str]) -> Result<(), String> {
    let number = |text: &str| {
        let name = text.to_lowercase();
        let named = names.iter().position(|known| !known.is_empty() && *known == name);
        let number = named.map(|at| at as u32).or_else(|| text.parse().ok());
        number.ok_or_else(|| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
    };
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    let (start, end) = match range {
        "*" | "?" => (low, high),
        range => match range.split_once('-') {
            Some((start, end)) => (number(start)?, number(end)?),
            None => number(range).map(|start| (start, if step.is_some() { high } else { start }))?,
        },
    };
    if start < low {
        return Err(format!("beginning of range ({start}) below minimum ({low}): {part}"));
    }
    if end > high {
        return Err(format!("end of range ({end}) above maximum ({high}): {part}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}"));
    }
    match step.map(number).transpose()? {
        Some(0) => Err(format!("step of range should be a positive number: {part}")),
        _ => Ok(()),
    }
}

fn time_zone(errors: &mut Errors, path: &Path, zone: &str) {
    if zone.is_empty() {
        errors.push(Error::invalid(path, zone, "timeZone must be nil or non-empty string"));
    } else if zone.eq_ignore_ascii_case("local") {
        errors.push(Error::invalid(
            path,
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read() {
        for good in ["* * * * *", "*/5 0-6 1,15 jan-jun mon", "@daily", "@every 1h30m", "0 0 * * ?"] {
            assert_eq!(cron(good), Ok(()), "{good}");
        }
        let bad = [
            ("* * * *", "expected exactly 5 fields, found 4: [\"*\", \"*\", \"*\", \"*\"]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("@sometimes", "unrecognized descriptor: @sometimes"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
        ];
        for (schedule, problem) in bad {
            assert_eq!(cron(schedule), Err(problem.to_owned()), "{schedule}");
        }
    }
}
