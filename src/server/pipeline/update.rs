//! PUT of an object or its status, and the replacing that update, patch and scale share.

use super::commit::{Goal, store_failure};
use super::decode::{Payload, decode};
use super::options::{WriteOptions, parse_version};
use super::services::{Held, Services};
use super::{Answer, Context, Pipeline, delete, managed, meta};
use crate::api::field::{Error as FieldError, Path};
use crate::api::object::Object;
use crate::api::status::{Failure, Result};
use crate::server::admission::{Attributes, Operation};
use crate::store::{Error, Item};

/// Which part of an object a request may change.
#[derive(Clone, Copy)]
pub enum Part {
    /// Everything but the status.
    Main,
    Status,
    /// Another window: puts back, in the new object, what it does not show.
    Other(fn(&mut dyn Object, &dyn Object)),
}

/// How replacing went.
pub(crate) enum Replaced {
    Done(Answer),
    /// Somebody else was faster; the caller may read again and retry.
    Stale,
}

/// Tries before a conflict that is not the client's is given up.
pub(crate) const CONFLICT_TRIES: usize = 5;

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
        settle_name(object.as_mut(), &context.name)?;
        meta::settle_namespace(object.meta_mut(), kind, &context.namespace)?;
        for _ in 0..CONFLICT_TRIES {
            let Some(item) = self.store.get(&context.key()) else {
                if kind.create_on_update && matches!(part, Part::Main) {
                    object.meta_mut().resource_version = None;
                    return self.create_object(context, object, options).await;
                }
                return Err(Failure::not_found(kind.resource(), &context.name));
            };
            match self.replace(context, &item, object.boxed_clone(), options, part).await? {
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
        mut new: Box<dyn Object>,
        options: &WriteOptions,
        part: Part,
    ) -> Result<Replaced> {
        let kind = &context.kind;
        let old = self.load(context, item)?;
        preconditions(context, new.as_ref(), old.as_ref(), item)?;
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
        kind.default(new.as_mut());
        meta::inherit(new.meta_mut(), old.meta());
        match part {
            Part::Main => {
                kind.prepare_update(new.as_mut(), old.as_ref());
                Services::inherit(new.as_mut(), old.as_ref());
            }
            Part::Status => kind.prepare_status(new.as_mut(), old.as_ref()),
            Part::Other(put_back) => put_back(new.as_mut(), old.as_ref()),
        }
        if kind.meta().generation && !matches!(part, Part::Status) && !kind.same_spec(new.as_ref(), old.as_ref()) {
            new.meta_mut().generation = Some(old.meta().generation.unwrap_or(0) + 1);
        }
        self.check(context, new.as_ref(), old.as_ref(), part)?;
        self.admission.validate(&attributes, Some(new.as_ref())).await?;
        // Held until the write is done.
        let _held = match part {
            Part::Main => self.services.claim(context, &self.store, new.as_mut()).await?,
            Part::Status | Part::Other(_) => Held::default(),
        };
        self.finish(context, item, new, old.as_ref(), options).await
    }

    fn check(&self, context: &Context, new: &dyn Object, old: &dyn Object, part: Part) -> Result<()> {
        let kind = &context.kind;
        let mut errors = meta::validate_update(new.meta(), old.meta());
        errors.extend(match part {
            Part::Main => kind.validate(new, Some(old)),
            Part::Status => kind.validate_status(new, old),
            Part::Other(_) => kind.validate_status(new, old),
        });
        if !errors.is_empty() {
            return Err(Failure::invalid(kind.meta().group_kind(), &context.name, &errors));
        }
        if matches!(part, Part::Main) {
            kind.warnings(new, Some(old)).into_iter().for_each(|warning| context.warn(warning));
        }
        Ok(())
    }

    /// Stores the new state, unless nothing changed or the last finalizer went.
    async fn finish(
        &self,
        context: &Context,
        item: &Item,
        mut new: Box<dyn Object>,
        old: &dyn Object,
        options: &WriteOptions,
    ) -> Result<Replaced> {
        new.meta_mut().resource_version.clone_from(&old.meta().resource_version);
        let last = delete::is_finished(new.as_ref());
        if !last && context.kind.equal(new.as_ref(), old) {
            return Ok(Replaced::Done(Answer::object(200, self.present(context, &item.value)?)));
        }
        if options.dry_run {
            return Ok(Replaced::Done(Answer::object(200, new.to_json())));
        }
        let goal = match last {
            true => Goal::Remove(item.revision),
            false if context.kind.is_heartbeat(new.as_ref(), old) => Goal::Beat(item.revision),
            false => Goal::Replace(item.revision),
        };
        match self.commit(context, &item.key, new.as_mut(), goal).await {
            Ok(stored) => Ok(Replaced::Done(Answer::object(200, self.present(context, &stored.value)?))),
            Err(Error::Conflict { .. }) => Ok(Replaced::Stale),
            Err(error) => Err(store_failure(&error)),
        }
    }
}

/// The name in the body must be the path's, or absent.
fn settle_name(object: &mut dyn Object, requested: &str) -> Result<()> {
    let name = object.name();
    if name == requested {
        return Ok(());
    }
    if !name.is_empty() {
        return Err(Failure::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({requested})"
        )));
    }
    object.meta_mut().name = Some(requested.to_owned());
    Ok(())
}

/// The revision and the UID that the client means, where it says.
fn preconditions(context: &Context, new: &dyn Object, old: &dyn Object, item: &Item) -> Result<()> {
    let kind = context.kind.meta();
    let given = new.meta().resource_version.as_deref().unwrap_or_default();
    let version = parse_version(given)?;
    if version == 0 && !kind.unconditional_update {
        let path = Path::new("metadata").child("resourceVersion");
        let error = FieldError::invalid(&path, 0, "must be specified for an update");
        return Err(Failure::invalid(kind.group_kind(), &context.name, &[error]));
    }
    if version != 0 && version != item.revision {
        return Err(Failure::stale(kind.resource(), &context.name));
    }
    let uid = new.meta().uid.as_deref().unwrap_or_default();
    let current = old.meta().uid.as_deref().unwrap_or_default();
    if !uid.is_empty() && uid != current {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {current}");
        return Err(Failure::conflict(kind.resource(), &context.name, &why));
    }
    Ok(())
}
