//! PUT of an object or its status, and the replacing that update, patch and scale share.

use super::commit::{Goal, precondition_failed};
use super::decode::{Payload, decode};
use super::options::WriteOptions;
use super::owners::When;
use super::services::{Held, Services};
use super::{Answer, Context, Pipeline, delete, managed, meta, owners};
use crate::api::field::{Error as FieldError, Path};
use crate::api::gvk::GroupKind;
use crate::api::object::Object;
use crate::api::status::{Failure, Result};
use crate::server::admission::{Attributes, Operation};
use crate::store::Item;

/// Which part of an object a request may change.
#[derive(Clone, Copy)]
pub enum Part {
    /// Everything but the status.
    Main,
    Status,
    /// Another window, by its name: puts back, in the new object, what it does not show.
    Other(&'static str, fn(&mut dyn Object, &dyn Object)),
}

/// How replacing went.
pub(crate) enum Replaced {
    Done(Answer),
    /// Somebody else was faster; the caller may read again and retry.
    Stale,
}

/// Tries before a conflict that is not the client's is given up. Each round of a crowd of writers has a winner, so
/// that only a crowd larger than this can make one of them fail.
pub(crate) const MAX_TRIES: usize = 1000;

impl Pipeline {
    pub async fn update(
        &self,
        context: &Context,
        payload: &Payload,
        options: &WriteOptions,
        part: Part,
    ) -> Result<Answer> {
        let mut object = decode(context, payload, options.field_validation)?;
        let kind = context.kind.meta();
        check_name(context, object.as_ref())?;
        meta::settle_namespace(object.meta_mut(), kind, &context.namespace)?;
        owners::dedup(context, object.meta_mut(), When::Sent);
        for _ in 0..MAX_TRIES {
            let Some(item) = self.store.get(&context.key()) else {
                if kind.create_on_update && matches!(part, Part::Main) {
                    check_uid(context, object.as_ref(), "")?;
                    object.meta_mut().resource_version = None;
                    return self.create_object(context, object, options).await;
                }
                return Err(Failure::not_found(kind.resource(), &context.name));
            };
            let old = self.load(context, &item)?;
            check_uid(context, object.as_ref(), old.meta().uid.as_deref().unwrap_or_default())?;
            match self.replace_read(context, &item, old, object.boxed_clone(), options, part).await? {
                Replaced::Done(answer) => return Ok(answer),
                Replaced::Stale if object.revision() > 0 => break,
                Replaced::Stale => {}
            }
        }
        Err(Failure::stale(kind.resource(), &context.name))
    }

    /// Puts `new` in the place of what `item` holds, through defaults, admission and validation.
    pub(crate) async fn replace(
        &self,
        context: &Context,
        item: &Item,
        new: Box<dyn Object>,
        options: &WriteOptions,
        part: Part,
    ) -> Result<Replaced> {
        let old = self.load(context, item)?;
        self.replace_read(context, item, old, new, options, part).await
    }

    /// The same, where the caller has decoded `item` already.
    async fn replace_read(
        &self,
        context: &Context,
        item: &Item,
        old: Box<dyn Object>,
        mut new: Box<dyn Object>,
        options: &WriteOptions,
        part: Part,
    ) -> Result<Replaced> {
        let kind = &context.kind;
        check_version(context, new.as_ref(), item)?;
        let attributes = Attributes {
            context,
            operation: Operation::Update,
            old: Some(old.as_ref()),
            dry_run: options.dry_run,
            reader: self.reader(),
        };
        meta::inherit(new.meta_mut(), old.meta());
        kind.default(new.as_mut());
        managed::record(context, options, Some(old.as_ref()), new.as_mut());
        self.admission.admit(&attributes, new.as_mut()).await?;
        owners::dedup(context, new.meta_mut(), When::Admitted);
        kind.default(new.as_mut());
        meta::inherit(new.meta_mut(), old.meta());
        match part {
            Part::Main => {
                kind.prepare_update(new.as_mut(), old.as_ref());
                Services::inherit(new.as_mut(), old.as_ref());
            }
            Part::Status => {
                kind.prepare_status(new.as_mut(), old.as_ref());
                if kind.meta().status_only {
                    meta::keep(new.meta_mut(), old.meta());
                }
            }
            Part::Other(_, put_back) => {
                put_back(new.as_mut(), old.as_ref());
                kind.drop_closed(new.as_mut(), old.as_ref());
            }
        }
        if kind.meta().generation && !matches!(part, Part::Status) && !kind.same_spec(new.as_ref(), old.as_ref()) {
            new.meta_mut().generation = Some(old.meta().generation.unwrap_or(0) + 1);
        }
        self.check(context, new.as_ref(), old.as_ref(), part)?;
        self.admission.validate(&attributes, Some(new.as_ref())).await?;
        // Held until the write is done.
        let _held = match part {
            Part::Main => self.services.claim(context, &self.store, new.as_mut(), Some(old.as_ref())).await?,
            Part::Status | Part::Other(..) => Held::default(),
        };
        ignore_times(context, new.as_mut(), old.as_ref());
        self.finish(&attributes, item, new, old.as_ref()).await
    }

    fn check(&self, context: &Context, new: &dyn Object, old: &dyn Object, part: Part) -> Result<()> {
        let kind = &context.kind;
        let mut errors = meta::validate_update(new.meta(), old.meta());
        errors.extend(match part {
            Part::Main => kind.validate(new, Some(old)),
            Part::Status => kind.validate_status(new, old),
            Part::Other(window, _) => kind.validate_window(window, new, old),
        });
        if !errors.is_empty() {
            return Err(Failure::invalid(kind.meta().group_kind(), &context.name, &errors));
        }
        let warnings = match part {
            Part::Main => kind.warnings(new, Some(old)),
            Part::Status => kind.status_warnings(new),
            Part::Other(..) => Vec::new(),
        };
        warnings.into_iter().for_each(|warning| context.warn(warning));
        Ok(())
    }

    /// Stores the new state, unless nothing changed or the last finalizer went.
    async fn finish(
        &self,
        attributes: &Attributes<'_>,
        item: &Item,
        mut new: Box<dyn Object>,
        old: &dyn Object,
    ) -> Result<Replaced> {
        let context = attributes.context;
        new.meta_mut().resource_version.clone_from(&old.meta().resource_version);
        let last = delete::is_finished(new.as_ref());
        if !last && context.kind.equal(new.as_ref(), old) {
            return Ok(Replaced::Done(Answer::object(200, self.present(context, &item.value)?)));
        }
        if attributes.dry_run {
            self.admission.reserve(attributes, new.as_ref()).await?;
            return Ok(Replaced::Done(Answer::object(200, new.to_json())));
        }
        let goal = match last {
            true => Goal::Remove(item.revision),
            false if context.kind.is_heartbeat(new.as_ref(), old) => Goal::Beat(item.revision),
            false => Goal::Replace(item.revision),
        };
        match self.commit_admitted(attributes, &item.key, new.as_mut(), goal).await? {
            Some(stored) => Ok(Replaced::Done(Answer::object(200, self.present(context, &stored.value)?))),
            None => Ok(Replaced::Stale),
        }
    }
}

/// A write that changes nothing but when managers wrote changes nothing: values may differ in form only, so that
/// their managers could not know.
fn ignore_times(context: &Context, new: &mut dyn Object, old: &dyn Object) {
    let timeless = |object: &dyn Object| {
        let mut entries = object.meta().managed_fields.clone().unwrap_or_default();
        entries.iter_mut().for_each(|entry| entry.time = None);
        entries
    };
    let (ours, before) = (timeless(new), timeless(old));
    let same = ours.len() == before.len() && ours.iter().all(|entry| before.contains(entry));
    if new.meta().managed_fields == old.meta().managed_fields || !same {
        return;
    }
    let managers = std::mem::replace(&mut new.meta_mut().managed_fields, old.meta().managed_fields.clone());
    let version = std::mem::replace(&mut new.meta_mut().resource_version, old.meta().resource_version.clone());
    if !context.kind.equal(new, old) {
        new.meta_mut().managed_fields = managers;
        new.meta_mut().resource_version = version;
    }
}

/// The object must be the one that the path names.
pub(super) fn check_name(context: &Context, object: &dyn Object) -> Result<()> {
    let (name, requested) = (object.name(), context.name.as_str());
    if name.is_empty() {
        let why =
            format!("the name of the object ({requested} based on URL) was undeterminable: name must be provided");
        return Err(Failure::bad_request(why));
    }
    if name != requested {
        let why = format!("the name of the object ({name}) does not match the name on the URL ({requested})");
        return Err(Failure::bad_request(why));
    }
    let (namespace, requested) = (object.namespace(), context.namespace.as_str());
    if !requested.is_empty() && !namespace.is_empty() && namespace != requested {
        let why = format!(
            "the namespace of the object ({namespace}) does not match the namespace on the request ({requested})"
        );
        return Err(Failure::bad_request(why));
    }
    Ok(())
}

/// The revision that the client means, where it says or has to say.
fn check_version(context: &Context, new: &dyn Object, item: &Item) -> Result<()> {
    let kind = context.kind.meta();
    let version = version_of(new)?;
    if version == 0 && !kind.unconditional_update {
        let path = Path::new("metadata").child("resourceVersion");
        let error = FieldError::invalid(&path, 0, "must be specified for an update");
        let about = GroupKind { group: kind.group, kind: kind.plural };
        return Err(Failure::invalid(about, &context.name, &[error]));
    }
    if version != 0 && version != item.revision {
        return Err(Failure::stale(kind.resource(), &context.name));
    }
    Ok(())
}

/// The revision an object names; 0 where it names none.
pub(super) fn version_of(object: &dyn Object) -> Result<u64> {
    let given = object.meta().resource_version.as_deref().unwrap_or_default();
    if given.is_empty() {
        return Ok(0);
    }
    let invalid = || Failure::new(500, "", format!("strconv.ParseUint: parsing {given:?}: invalid syntax"));
    given.parse().map_err(|_| invalid())
}

/// A PUT of an object that says its UID means that very object.
fn check_uid(context: &Context, new: &dyn Object, found: &str) -> Result<()> {
    let wanted = new.meta().uid.as_deref().unwrap_or_default();
    if wanted.is_empty() || wanted == found {
        return Ok(());
    }
    Err(precondition_failed(context.kind.meta(), &context.namespace, &context.name, "UID", wanted, found))
}
