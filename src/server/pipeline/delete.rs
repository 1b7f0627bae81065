//! DELETE of one object: at once, after a grace period (pods), or when the last finalizer is gone.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusDetails};

use super::commit::{Goal, store_failure};
use super::options::DeleteOptions;
use super::update::CONFLICT_TRIES;
use super::{Answer, Context, Pipeline, meta};
use crate::api::object::Object;
use crate::api::status::{Failure, Result};
use crate::server::admission::{Attributes, Operation};
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
enum Step {
    /// It goes now.
    Remove,
    /// It stays for a while, marked.
    Mark,
    /// It is marked already and nothing changes.
    Nothing,
}

impl Pipeline {
    pub async fn delete(&self, context: &Context, options: &DeleteOptions) -> Result<Answer> {
        for _ in 0..CONFLICT_TRIES {
            let item = self.current(context)?;
            if let Some(answer) = self.delete_once(context, &item, options).await? {
                return Ok(answer);
            }
        }
        Err(Failure::stale(context.kind.meta().resource(), &context.name))
    }

    /// `None` when somebody else changed the object meanwhile.
    async fn delete_once(&self, context: &Context, item: &Item, options: &DeleteOptions) -> Result<Option<Answer>> {
        let old = self.load(context, item)?;
        preconditions(context, old.as_ref(), options)?;
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
        let step = plan(object.as_mut(), options);
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

fn preconditions(context: &Context, old: &dyn Object, options: &DeleteOptions) -> Result<()> {
    let Some(wanted) = &options.preconditions else { return Ok(()) };
    let conflict = |what: &str, wanted: &str, found: &str| {
        let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
        Err(Failure::conflict(context.kind.meta().resource(), &context.name, &why))
    };
    let found = old.meta().uid.as_deref().unwrap_or_default();
    if let Some(uid) = wanted.uid.as_deref().filter(|uid| *uid != found) {
        return conflict("UID", uid, found);
    }
    let found = old.meta().resource_version.as_deref().unwrap_or_default();
    if let Some(version) = wanted.resource_version.as_deref().filter(|version| *version != found) {
        return conflict("ResourceVersion", version, found);
    }
    Ok(())
}

/// Decides what happens, and marks `object` for it.
fn plan(object: &mut dyn Object, options: &DeleteOptions) -> Step {
    let finalizers_changed = settle_finalizers(object, options);
    let grace = grace_period(object, options);
    let marked = object.meta().deletion_timestamp.is_some();
    let previous = object.meta().deletion_grace_period_seconds.unwrap_or(0);
    let waits = !object.meta().finalizers.as_ref().is_none_or(Vec::is_empty) || !namespace_is_empty(object);
    if grace == 0 && !waits {
        return Step::Remove;
    }
    if marked {
        // A grace period only ever gets shorter.
        if grace < previous {
            set_deadline(object, grace, previous);
            return Step::Mark;
        }
        return if finalizers_changed { Step::Mark } else { Step::Nothing };
    }
    mark(object, grace);
    Step::Mark
}

/// Adds or removes the finalizers that the garbage collector acts on. True when something changed.
fn settle_finalizers(object: &mut dyn Object, options: &DeleteOptions) -> bool {
    let before = object.meta().finalizers.clone().unwrap_or_default();
    let wanted = match (options.propagation_policy.as_deref(), options.orphan_dependents) {
        (Some("Orphan"), _) | (None, Some(true)) => Some(ORPHAN),
        (Some("Foreground"), _) => Some(FOREGROUND),
        (Some(_), _) | (None, Some(false)) => None,
        // Without a wish the finalizers that are there decide.
        (None, None) => return false,
    };
    let mut after: Vec<String> =
        before.iter().filter(|name| !matches!(name.as_str(), ORPHAN | FOREGROUND)).cloned().collect();
    after.extend(wanted.map(str::to_owned));
    let changed = after != before;
    if changed {
        object.meta_mut().finalizers = (!after.is_empty()).then_some(after);
    }
    changed
}

/// Seconds a pod has to end; everything else ends at once.
fn grace_period(object: &dyn Object, options: &DeleteOptions) -> i64 {
    let Some(pod) = object.downcast_ref::<Pod>() else { return 0 };
    let spec = pod.spec.as_ref();
    let unscheduled = spec.and_then(|spec| spec.node_name.as_deref()).is_none_or(str::is_empty);
    if unscheduled || crate::api::pod::is_terminal(pod) {
        return 0;
    }
    let own = spec.and_then(|spec| spec.termination_grace_period_seconds);
    // A negative period means one second (upstream's CheckGracefulDelete).
    match options.grace_period_seconds.or(own).unwrap_or(30) {
        period if period < 0 => 1,
        period => period,
    }
}

fn mark(object: &mut dyn Object, grace: i64) {
    let meta = object.meta_mut();
    let mut time = meta::now();
    time.0 = time.0.saturating_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(time.0);
    meta.deletion_timestamp = Some(time);
    meta.deletion_grace_period_seconds = Some(grace);
    if let Some(generation) = meta.generation.filter(|generation| *generation > 0) {
        meta.generation = Some(generation + 1);
    }
    if let Some(namespace) = object.downcast_mut::<Namespace>() {
        namespace.status.get_or_insert_with(Default::default).phase = Some("Terminating".to_owned());
    }
}

/// Moves the end of a running grace period forward.
fn set_deadline(object: &mut dyn Object, grace: i64, previous: i64) {
    let meta = object.meta_mut();
    if let Some(time) = &mut meta.deletion_timestamp {
        let earlier = jiff::SignedDuration::from_secs(previous - grace);
        time.0 = time.0.saturating_sub(earlier).unwrap_or(time.0);
    }
    meta.deletion_grace_period_seconds = Some(grace);
}
