//! DELETE of one object: at once, after a grace period (pods), or when the last finalizer is gone.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Preconditions, Status, StatusDetails};

use super::commit::{Goal, store_failure};
use super::options::DeleteOptions;
use super::update::MAX_TRIES;
use super::{Answer, Context, Pipeline, meta};
use crate::api::field::{Error as FieldError, Path};
use crate::api::gvk::{GroupKind, GroupResource};
use crate::api::object::Object;
use crate::api::status::{Failure, Result};
use crate::server::admission::{Attributes, Operation};
use crate::server::strategy::Meta;
use crate::store::{Error, Item};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Whether an object that is being deleted has nothing left to wait for.
pub(crate) fn is_finished(object: &dyn Object) -> bool {
    let meta = object.meta();
    let finalized = meta.finalizers.as_ref().is_none_or(Vec::is_empty) && namespace_is_empty(object);
    meta.deletion_timestamp.is_some() && meta.deletion_grace_period_seconds.unwrap_or(0) == 0 && finalized
}

/// A namespace waits for its content by `spec.finalizers`.
fn namespace_is_empty(object: &dyn Object) -> bool {
    let namespace = object.downcast_ref::<Namespace>();
    let spec = namespace.and_then(|namespace| namespace.spec.as_ref());
    spec.and_then(|spec| spec.finalizers.as_ref()).is_none_or(Vec::is_empty)
}

/// What a deletion does to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It goes now.
    Remove,
    /// It stays for a while, marked.
    Mark,
    /// It is marked already and nothing changes.
    Nothing,
}

/// What becomes of dependents when nobody says (`DefaultGarbageCollectionPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dependents {
    Delete,
    Orphan,
    /// The garbage collector never acts on the kind.
    Unsupported,
}

fn dependents(kind: &Meta) -> Dependents {
    match (kind.group, kind.plural) {
        ("batch", "jobs") | ("", "replicationcontrollers") => Dependents::Orphan,
        (_, "events") => Dependents::Unsupported,
        _ => Dependents::Delete,
    }
}

const JOB_WARNING: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

impl Pipeline {
    pub async fn delete(&self, context: &Context, options: &DeleteOptions) -> Result<Answer> {
        let kind = context.kind.meta();
        let unsaid = options.propagation_policy.is_none() && options.orphan_dependents.is_none();
        if unsaid && (kind.group, kind.plural) == ("batch", "jobs") {
            context.warn(JOB_WARNING);
        }
        for _ in 0..MAX_TRIES {
            let item = self.current(context)?;
            if let Some(answer) = self.delete_once(context, &item, options).await? {
                return Ok(answer);
            }
        }
        Err(Failure::stale(kind.resource(), &context.name))
    }

    /// `None` when somebody else changed the object meanwhile.
    async fn delete_once(&self, context: &Context, item: &Item, options: &DeleteOptions) -> Result<Option<Answer>> {
        let old = self.load(context, item)?;
        check_preconditions(context, old.meta(), options.preconditions.as_ref())?;
        if options.ignore_store_read_error_with_cluster_breaking_potential == Some(true) {
            return Err(not_corrupt(context));
        }
        let dry_run = options.is_dry_run();
        let attributes = Attributes {
            context,
            operation: Operation::Delete,
            old: Some(old.as_ref()),
            dry_run,
            reader: self.reader(),
        };
        self.admission.validate(&attributes, None).await?;
        let mut object = old.boxed_clone();
        let step = match plan(object.as_mut(), options, dependents(context.kind.meta())) {
            Step::Mark if context.kind.equal(object.as_ref(), old.as_ref()) => Step::Nothing,
            step => step,
        };
        let goal = match step {
            Step::Nothing => {
                return Ok(Some(Answer::object(code(options, false), self.present(context, &item.value)?)));
            }
            Step::Mark => Goal::Replace(item.revision),
            Step::Remove => Goal::Remove(item.revision),
        };
        let removed = goal == Goal::Remove(item.revision);
        if dry_run {
            return self.answer(context, object.as_ref(), None, removed, options).map(Some);
        }
        match self.commit(context, &item.key, object.as_mut(), goal).await {
            Ok(stored) => self.answer(context, object.as_ref(), Some(&stored), removed, options).map(Some),
            Err(Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(store_failure(&error)),
        }
    }

    fn answer(
        &self,
        context: &Context,
        object: &dyn Object,
        stored: Option<&Item>,
        removed: bool,
        options: &DeleteOptions,
    ) -> Result<Answer> {
        let kind = context.kind.meta();
        if !removed || returns_object(kind.group, kind.plural) {
            let bytes = match stored {
                Some(item) => self.present(context, &item.value)?,
                None => object.to_json().into(),
            };
            return Ok(Answer::object(code(options, removed), bytes));
        }
        let status = Status {
            status: Some("Success".to_owned()),
            details: Some(StatusDetails {
                name: Some(context.name.clone()),
                group: (!kind.group.is_empty()).then(|| kind.group.to_owned()),
                kind: Some(kind.plural.to_owned()),
                uid: object.meta().uid.clone(),
                ..Default::default()
            }),
            ..Default::default()
        };
        Ok(Answer::other(200, serde_json::to_vec(&status).map_err(Failure::internal)?))
    }
}

/// 202 for one that stays although the client asked, in the old way, not to orphan.
fn code(options: &DeleteOptions, removed: bool) -> u16 {
    if !removed && options.orphan_dependents == Some(false) { 202 } else { 200 }
}

/// Kinds whose deletion answers with the object instead of a Status (`ReturnDeletedObject`).
fn returns_object(group: &str, resource: &str) -> bool {
    const CORE: &[&str] = &[
        "namespaces",
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "resourcequotas",
        "serviceaccounts",
        "services",
    ];
    match group {
        "" => CORE.contains(&resource),
        "storage.k8s.io" => resource != "csistoragecapacities",
        _ => false,
    }
}

/// The option is for objects that cannot be read, and this one was.
fn not_corrupt(context: &Context) -> Failure {
    let kind = context.kind.meta();
    let path = Path::new("ignoreStoreReadErrorWithClusterBreakingPotential");
    let why = "is exclusively used to delete corrupt object(s), try again by removing this option";
    let about = GroupKind { group: kind.group, kind: kind.plural };
    Failure::invalid(about, &context.name, &[FieldError::invalid(&path, true, why)])
}

/// Whether `old` is the object that is meant.
pub(crate) fn check_preconditions(context: &Context, old: &ObjectMeta, wanted: Option<&Preconditions>) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let kind = context.kind.meta();
    let conflict = |what: &str, wanted: &str, found: &str, hint: &str| {
        if (kind.group, kind.plural) == ("", "namespaces") {
            let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
            return Err(Failure::conflict(kind.resource(), &context.name, &why));
        }
        let why =
            format!("the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). {hint}");
        // Upstream names the kind here where elsewhere it names the resource.
        let about = GroupResource { group: kind.group, resource: kind.kind };
        Err(Failure::conflict(about, &context.name, &why))
    };
    let found = old.uid.as_deref().unwrap_or_default();
    if let Some(uid) = wanted.uid.as_deref().filter(|uid| *uid != found) {
        return conflict("UID", uid, found, "The object might have been deleted and then recreated");
    }
    let found = old.resource_version.as_deref().unwrap_or_default();
    if let Some(version) = wanted.resource_version.as_deref().filter(|version| *version != found) {
        return conflict("ResourceVersion", version, found, "The object might have been modified");
    }
    Ok(())
}

/// Decides what happens, and marks `object` for it. The order is that of upstream's store: grace first, then
/// finalizers, which therefore cannot be changed once a grace period runs.
fn plan(object: &mut dyn Object, options: &DeleteOptions, dependents: Dependents) -> Step {
    if object.downcast_ref::<Namespace>().is_some() {
        return plan_namespace(object, options, dependents);
    }
    let grace = match give_time(object, options) {
        Grace::Pending => return Step::Nothing,
        Grace::None => None,
        Grace::Seconds(seconds) => Some(seconds),
    };
    settle_finalizers(object, options, dependents);
    let waits = !object.meta().finalizers.as_ref().is_none_or(Vec::is_empty);
    match grace {
        None | Some(0) if !waits => Step::Remove,
        None => {
            mark_for_finalizers(object);
            Step::Mark
        }
        Some(_) => Step::Mark,
    }
}

/// A namespace is marked once; afterwards it goes when its content is gone.
fn plan_namespace(object: &mut dyn Object, options: &DeleteOptions, dependents: Dependents) -> Step {
    let marked = object.meta().deletion_timestamp.is_some();
    if marked && !namespace_is_empty(object) {
        return Step::Nothing;
    }
    settle_finalizers(object, options, dependents);
    if object.meta().finalizers.as_ref().is_none_or(Vec::is_empty) && namespace_is_empty(object) {
        return Step::Remove;
    }
    if !marked {
        object.meta_mut().deletion_timestamp = Some(meta::now());
    }
    if let Some(namespace) = object.downcast_mut::<Namespace>() {
        namespace.status.get_or_insert_default().phase = Some("Terminating".to_owned());
    }
    Step::Mark
}

/// Adds or removes the finalizers that the garbage collector acts on.
fn settle_finalizers(object: &mut dyn Object, options: &DeleteOptions, dependents: Dependents) {
    let before = object.meta().finalizers.clone().unwrap_or_default();
    let there = before.iter().map(String::as_str).find(|name| matches!(*name, ORPHAN | FOREGROUND));
    let wanted = match (dependents, options.orphan_dependents, options.propagation_policy.as_deref()) {
        (Dependents::Unsupported, ..) => None,
        (_, Some(orphan), _) => orphan.then_some(ORPHAN),
        (.., Some("Orphan")) => Some(ORPHAN),
        (.., Some("Foreground")) => Some(FOREGROUND),
        (.., Some(_)) => None,
        // Without a wish the finalizers that are there decide, then the kind.
        _ if there.is_some() => there,
        (Dependents::Orphan, ..) => Some(ORPHAN),
        (Dependents::Delete, ..) => None,
    };
    if there == wanted {
        return;
    }
    let mut after: Vec<String> =
        before.iter().filter(|name| !matches!(name.as_str(), ORPHAN | FOREGROUND)).cloned().collect();
    after.extend(wanted.map(str::to_owned));
    object.meta_mut().finalizers = (!after.is_empty()).then_some(after);
}

/// How long an object has to end.
enum Grace {
    /// Kinds other than Pod know no grace, nor does a pod whose time is over.
    None,
    /// Its time runs already, and the wish is for no less.
    Pending,
    /// So many seconds from the (first) deletion; the object is marked so.
    Seconds(i64),
}

fn give_time(object: &mut dyn Object, options: &DeleteOptions) -> Grace {
    let Some(pod) = object.downcast_mut::<Pod>() else { return Grace::None };
    // A negative period means one second.
    let asked = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    if pod.metadata.deletion_timestamp.is_none() {
        let seconds = first_grace(pod, asked);
        mark(&mut pod.metadata, seconds);
        return Grace::Seconds(seconds);
    }
    match (pod.metadata.deletion_grace_period_seconds.unwrap_or(0), asked) {
        (0, _) => Grace::None,
        (left, Some(seconds)) if seconds < left => {
            set_deadline(&mut pod.metadata, seconds, left);
            Grace::Seconds(seconds)
        }
        _ => Grace::Pending,
    }
}

fn first_grace(pod: &Pod, asked: Option<i64>) -> i64 {
    let spec = pod.spec.as_ref();
    let unscheduled = spec.and_then(|spec| spec.node_name.as_deref()).is_none_or(str::is_empty);
    if unscheduled || crate::api::pod::is_terminal(pod) {
        return 0;
    }
    let own = spec.and_then(|spec| spec.termination_grace_period_seconds);
    match asked.or(own).unwrap_or(0) {
        seconds if seconds < 0 => 1,
        seconds => seconds,
    }
}

fn mark(meta: &mut ObjectMeta, grace: i64) {
    let mut time = meta::now();
    time.0 = time.0.saturating_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(time.0);
    meta.deletion_timestamp = Some(time);
    meta.deletion_grace_period_seconds = Some(grace);
    next_generation(meta);
}

/// Its finalizers are all that the object waits for (`markAsDeleting`).
fn mark_for_finalizers(object: &mut dyn Object) {
    let meta = object.meta_mut();
    let now = meta::now();
    if meta.deletion_timestamp.is_none() {
        next_generation(meta);
    }
    if meta.deletion_timestamp.as_ref().is_none_or(|time| time.0 > now.0) {
        meta.deletion_timestamp = Some(now);
    }
    meta.deletion_grace_period_seconds = Some(0);
}

/// Being deleted is a change that controllers should notice.
fn next_generation(meta: &mut ObjectMeta) {
    if let Some(generation) = meta.generation.filter(|generation| *generation > 0) {
        meta.generation = Some(generation + 1);
    }
}

/// Moves the end of a running grace period forward.
fn set_deadline(meta: &mut ObjectMeta, grace: i64, previous: i64) {
    if let Some(time) = &mut meta.deletion_timestamp {
        let earlier = jiff::SignedDuration::from_secs(previous.saturating_sub(grace));
        time.0 = time.0.saturating_sub(earlier).unwrap_or(time.0);
    }
    meta.deletion_grace_period_seconds = Some(grace);
}

#[cfg(test)]
#[path = "delete_tests.rs"]
mod tests;
