//! Options of the verbs, read from the query string and validated as apimachinery does.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Preconditions;
use serde::Deserialize;
use serde_json::Value;

use super::go_error::{no_type, syntax, words};
use super::query::Query;
use crate::api::field::{Error, Errors, Path};
use crate::api::go_json;
use crate::api::gvk::GroupKind;
use crate::api::status::{Failure, Result};
use crate::server::strategy::Meta;

/// What happens to fields that the kind does not have, or that are given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FieldValidation {
    Ignore,
    /// The server's default since v1.27.
    #[default]
    Warn,
    Strict,
}

#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    /// 0: whatever is newest.
    pub resource_version: u64,
}

/// Options of create, update and patch.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub field_manager: String,
    pub field_validation: FieldValidation,
    /// Of an apply patch: take fields from their managers.
    pub force: Option<bool>,
    /// The object comes from an apply, with its record of managers settled.
    pub applied: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    Exact,
    NotOlderThan,
}

#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    pub label_selector: String,
    pub field_selector: String,
    /// `None` where absent; 0 where "0".
    pub resource_version: Option<u64>,
    pub version_match: Option<VersionMatch>,
    /// 0 for no limit.
    pub limit: usize,
    pub continue_token: String,
    pub watch: bool,
    pub bookmarks: bool,
    pub timeout_seconds: Option<u64>,
    pub send_initial_events: Option<bool>,
}

/// `metav1.DeleteOptions`, from the body, the query, or both.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOptions {
    pub api_version: Option<String>,
    pub kind: Option<String>,
    pub grace_period_seconds: Option<i64>,
    pub orphan_dependents: Option<bool>,
    pub preconditions: Option<Preconditions>,
    pub propagation_policy: Option<String>,
    pub dry_run: Option<Vec<String>>,
    pub ignore_store_read_error_with_cluster_breaking_potential: Option<bool>,
}

const IGNORE_READ_ERROR: &str = "ignoreStoreReadErrorWithClusterBreakingPotential";

fn invalid(kind: &'static str, errors: &[Error]) -> Failure {
    Failure::invalid(GroupKind { group: "meta.k8s.io", kind }, "", errors)
}

fn check(kind: &'static str, errors: &Errors) -> Result<()> {
    if errors.is_empty() { Ok(()) } else { Err(invalid(kind, errors)) }
}

/// A resource version from a query; empty is 0.
fn parse_version(text: &str) -> std::result::Result<u64, Error> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|error: std::num::ParseIntError| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow => "value out of range",
            _ => "invalid syntax",
        };
        let why = format!("strconv.ParseUint: parsing {text:?}: {why}");
        Error::invalid(&Path::new("resourceVersion"), text, why)
    })
}

/// Get and watch pass on an error that list explains; upstream leaves it without a reason.
fn unexplained(error: &Error) -> Failure {
    Failure::new(500, "", error.to_string())
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut Errors) -> bool {
    let mut found = false;
    for value in values {
        found = true;
        if value != "All" {
            errors.push(Error::not_supported(&Path::new("dryRun"), value, &["All"]));
        }
    }
    found
}

impl GetOptions {
    pub fn parse(query: &Query) -> Result<Self> {
        let version = parse_version(query.get("resourceVersion")).map_err(|error| unexplained(&error))?;
        Ok(Self { resource_version: version })
    }
}

/// The kinds of write, as their option types are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    Create,
    Update,
    Patch,
    Apply,
}

impl WriteOptions {
    pub fn parse(query: &Query, kind: WriteKind) -> Result<Self> {
        let mut errors = Errors::new();
        let field_validation = match query.get("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                let path = Path::new("fieldValidation");
                errors.push(Error::not_supported(&path, other, &["Ignore", "Warn", "Strict"]));
                FieldValidation::Warn
            }
        };
        let manager = query.get("fieldManager");
        manager_errors(manager, &mut errors);
        let force = query.optional_flag("force");
        match kind {
            WriteKind::Apply if manager.is_empty() => {
                let why = "is required for apply patch";
                errors.push(Error::required(&Path::new("fieldManager"), why));
            }
            WriteKind::Patch if force.is_some() => {
                let why = "may not be specified for non-apply patch";
                errors.push(Error::forbidden(&Path::new("force"), why));
            }
            _ => {}
        }
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let name = match kind {
            WriteKind::Create => "CreateOptions",
            WriteKind::Update => "UpdateOptions",
            WriteKind::Patch | WriteKind::Apply => "PatchOptions",
        };
        check(name, &errors)?;
        Ok(Self { dry_run, field_manager: manager.to_owned(), field_validation, force, applied: false })
    }
}

/// At most 128 printable characters.
fn manager_errors(manager: &str, errors: &mut Errors) {
    let path = Path::new("fieldManager");
    if manager.len() > 128 {
        errors.push(Error::too_long(&path, 128));
    }
    let unprintable = |letter: char| letter.is_control() || (letter.is_whitespace() && letter != ' ');
    for (at, letter) in manager.char_indices().filter(|(_, letter)| unprintable(*letter)) {
        let why = format!("invalid character U+{:04X} (at position {at})", u32::from(letter));
        errors.push(Error::invalid(&path, manager, why));
    }
}

impl ListOptions {
    pub fn parse(query: &Query) -> Result<Self> {
        let version = query.get("resourceVersion");
        let limit = query.number("limit")?.unwrap_or(0);
        let watch = query.flag("watch");
        let number = parse_version(version).map_err(|error| match watch {
            true => unexplained(&error),
            false => Failure::bad_request(format!("invalid resource version: {error}")),
        })?;
        let options = Self {
            label_selector: query.get("labelSelector").to_owned(),
            field_selector: query.get("fieldSelector").to_owned(),
            resource_version: (!version.is_empty()).then_some(number),
            version_match: match query.get("resourceVersionMatch") {
                "Exact" => Some(VersionMatch::Exact),
                "NotOlderThan" => Some(VersionMatch::NotOlderThan),
                _ => None,
            },
            limit: usize::try_from(limit).unwrap_or(0),
            continue_token: query.get("continue").to_owned(),
            watch,
            bookmarks: query.flag("allowWatchBookmarks"),
            timeout_seconds: query.number("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok()),
            send_initial_events: query.optional_flag("sendInitialEvents"),
        };
        options.check(query.get("resourceVersionMatch"))?;
        Ok(options)
    }

    fn check(&self, version_match: &str) -> Result<()> {
        let errors = if self.watch { self.watch_errors(version_match) } else { self.list_errors(version_match) };
        check("ListOptions", &errors)
    }

    fn watch_errors(&self, version_match: &str) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("resourceVersionMatch");
        let initial = self.send_initial_events.is_some();
        if initial && version_match != "NotOlderThan" {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.push(Error::forbidden(&path, why));
        }
        if version_match.is_empty() {
            return errors;
        }
        if !initial {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(Error::forbidden(&path, why));
        }
        if version_match != "NotOlderThan" {
            errors.push(Error::not_supported(&path, version_match, &["NotOlderThan"]));
        }
        if !self.continue_token.is_empty() {
            errors.push(Error::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"));
        }
        errors
    }

    fn list_errors(&self, version_match: &str) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("resourceVersionMatch");
        if !version_match.is_empty() {
            if self.resource_version.is_none() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                errors.push(Error::forbidden(&path, why));
            }
            if !self.continue_token.is_empty() {
                errors.push(Error::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"));
            }
            if self.version_match.is_none() {
                errors.push(Error::not_supported(&path, version_match, &["Exact", "NotOlderThan", ""]));
            }
            if version_match == "Exact" && self.resource_version == Some(0) {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                errors.push(Error::forbidden(&path, why));
            }
        }
        if self.send_initial_events.is_some() {
            let path = Path::new("sendInitialEvents");
            errors.push(Error::forbidden(&path, "sendInitialEvents is forbidden for list"));
        }
        errors
    }
}

impl DeleteOptions {
    /// Reads the body where there is one, else the query.
    pub fn parse(query: &Query, body: &[u8]) -> Result<Self> {
        let mut options = if body.iter().all(u8::is_ascii_whitespace) {
            Self {
                grace_period_seconds: query.number("gracePeriodSeconds")?,
                orphan_dependents: query.optional_flag("orphanDependents"),
                propagation_policy: query.find("propagationPolicy").map(str::to_owned),
                ignore_store_read_error_with_cluster_breaking_potential: query.optional_flag(IGNORE_READ_ERROR),
                preconditions: query
                    .find("uid")
                    .filter(|uid| !uid.is_empty())
                    .map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
                ..Self::default()
            }
        } else {
            Self::read(body).map_err(|why| Failure::new(500, "", why))?
        };
        let given = options.dry_run.get_or_insert_with(Vec::new);
        given.extend(query.all("dryRun").map(str::to_owned));
        options.check()?;
        Ok(options)
    }

    /// Reads a body, or says in Go's words why it cannot be read.
    fn read(body: &[u8]) -> std::result::Result<Self, String> {
        let head = "couldn't get version/kind; json parse error";
        let value: Value = serde_json::from_slice(body).map_err(|error| format!("{head}: {}", syntax(body, &error)))?;
        let said = match &value {
            Value::Null => return Ok(Self::default()),
            Value::Object(fields) => fields,
            other => return Err(format!("{head}: {}", no_type(go_json::type_of(other)))),
        };
        let text = |field: &str| said.get(field).and_then(Value::as_str).unwrap_or_default();
        if !matches!(text("kind"), "" | "DeleteOptions") {
            let version = if text("apiVersion").is_empty() { "meta.k8s.io/v1" } else { text("apiVersion") };
            let scheme = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27";
            return Err(format!(
                "no kind {:?} is registered for version {version:?} in scheme {scheme:?}",
                text("kind")
            ));
        }
        serde_json::from_slice(body).map_err(|error| {
            let meta = Meta { kind: "DeleteOptions", ..Meta::namespaced::<ConfigMap>("") };
            words(body, &error, &meta)
        })
    }

    /// # Errors
    /// 422 for options that contradict each other or are unknown.
    pub fn check(&self) -> Result<()> {
        let mut errors = Errors::new();
        let policy = Path::new("propagationPolicy");
        if let Some(given) = self.propagation_policy.as_deref() {
            if self.orphan_dependents.is_some() {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                errors.push(Error::invalid(&policy, given, why));
            }
            if !matches!(given, "Foreground" | "Background" | "Orphan") {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(Error::not_supported(&policy, given, &supported));
            }
        }
        let values = self.dry_run.iter().flatten();
        dry_run(values.map(String::as_str), &mut errors);
        if self.ignore_store_read_error_with_cluster_breaking_potential == Some(true) {
            self.check_alone(&mut errors);
        }
        check("DeleteOptions", &errors)
    }

    /// Deleting what cannot be read goes with no other option.
    fn check_alone(&self, errors: &mut Errors) {
        let others = [
            (self.is_dry_run(), "dryRun"),
            (self.propagation_policy.is_some(), "propagationPolicy"),
            (self.orphan_dependents.is_some(), "orphanDependents"),
            (self.grace_period_seconds.is_some(), "gracePeriodSeconds"),
            (self.preconditions.is_some(), "preconditions"),
        ];
        for (_, other) in others.iter().filter(|(given, _)| *given) {
            let why = format!("cannot be set together with .{other}");
            errors.push(Error::invalid(&Path::new(IGNORE_READ_ERROR), true, why));
        }
    }

    /// The rules of a collection's deletion beyond those of one object's.
    pub fn check_collection(&self) -> Result<()> {
        if self.ignore_store_read_error_with_cluster_breaking_potential != Some(true) {
            return Ok(());
        }
        let why = "is not allowed with DELETECOLLECTION, try again after removing the option";
        check("DeleteOptions", &vec![Error::invalid(&Path::new(IGNORE_READ_ERROR), true, why)])
    }

    pub fn is_dry_run(&self) -> bool {
        self.dry_run.as_ref().is_some_and(|values| !values.is_empty())
    }
}
