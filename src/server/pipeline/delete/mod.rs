//! DELETE of one object: at once, after a grace period (pods), or when the last finalizer is gone.
//!
//! [`plan`] decides what happens; this file reads, writes and answers.

mod plan;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Preconditions, Status, StatusDetails};

use super::commit::{Goal, store_failure};
use super::options::DeleteOptions;
use super::update::MAX_TRIES;
use super::{Answer, Context, Pipeline};
use crate::api::field::{Error as FieldError, Path};
use crate::api::gvk::{GroupKind, GroupResource};
use crate::api::object::Object;
use crate::api::status::{Failure, Result};
use crate::server::admission::{Attributes, Operation};
use crate::store::{Error, Item};
use plan::{Step, dependents, namespace_is_empty, plan};

/// Whether an object that is being deleted has nothing left to wait for.
pub(crate) fn is_finished(object: &dyn Object) -> bool {
    let meta = object.meta();
    let finalized = meta.finalizers.as_ref().is_none_or(Vec::is_empty) && namespace_is_empty(object);
    meta.deletion_timestamp.is_some() && meta.deletion_grace_period_seconds.unwrap_or(0) == 0 && finalized
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
        Ok(Answer::status(serde_json::to_vec(&status).map_err(Failure::internal)?))
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
