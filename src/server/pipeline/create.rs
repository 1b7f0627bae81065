//! POST to a collection.

use super::commit::Goal;
use super::decode::{Payload, decode};
use super::options::WriteOptions;
use super::owners::When;
use super::update::version_of;
use super::{Answer, Context, Pipeline, managed, meta, owners, parts, random};
use crate::api::object::Object;
use crate::api::status::{Failure, Result};
use crate::server::admission::{Attributes, Operation};
use crate::store::Item;

/// How often a taken generated name is drawn again (KEP-4420).
const NAME_TRIES: usize = 8;

impl Pipeline {
    pub async fn create(&self, context: &Context, payload: &Payload, options: &WriteOptions) -> Result<Answer> {
        let object = decode(context, payload, options.field_validation)?;
        self.create_object(context, object, options).await
    }

    /// The rest of a creation, once decoded; also a PUT or an apply of what does not exist.
    pub(crate) async fn create_object(
        &self,
        context: &Context,
        mut object: Box<dyn Object>,
        options: &WriteOptions,
    ) -> Result<Answer> {
        let kind = &context.kind;
        meta::settle_namespace(object.meta_mut(), kind.meta(), &context.namespace)?;
        if !options.applied {
            owners::dedup(context, object.meta_mut(), When::Sent);
        }
        meta::begin(object.meta_mut(), kind.meta());
        let attributes = Attributes {
            context,
            operation: Operation::Create,
            old: None,
            dry_run: options.dry_run,
            reader: self.reader(),
        };
        kind.default(object.as_mut());
        managed::record(context, options, None, object.as_mut());
        self.admission.admit(&attributes, object.as_mut()).await?;
        owners::dedup(context, object.meta_mut(), When::Admitted);
        kind.default(object.as_mut());
        let base = object.meta().generate_name.clone().filter(|base| object.name().is_empty() && !base.is_empty());
        let Some(base) = base else { return self.create_named(&attributes, object).await };
        let mut tries = 0;
        loop {
            tries += 1;
            let mut attempt = object.boxed_clone();
            attempt.meta_mut().name = Some(random::generated_name(&base));
            match self.create_named(&attributes, attempt).await {
                Err(failure) if failure.reason() == "AlreadyExists" && tries < NAME_TRIES => {}
                result => return result,
            }
        }
    }

    /// What follows once the object has its name.
    async fn create_named(&self, attributes: &Attributes<'_>, mut object: Box<dyn Object>) -> Result<Answer> {
        let context = attributes.context;
        let kind = &context.kind;
        kind.early_warnings(object.as_ref()).into_iter().for_each(|warning| context.warn(warning));
        kind.prepare_create(object.as_mut());
        parts::requester(&context.user, object.as_mut());
        let mut errors = meta::validate(object.meta(), kind.meta());
        errors.extend(kind.validate(object.as_ref(), None));
        if !errors.is_empty() {
            return Err(Failure::invalid(kind.meta().group_kind(), object.name(), &errors));
        }
        kind.warnings(object.as_ref(), None).into_iter().for_each(|warning| context.warn(warning));
        self.admission.validate(attributes, Some(object.as_ref())).await?;
        // Held until the write is done.
        let _held = self.services.claim(context, &self.store, object.as_mut(), None).await?;
        let key = kind.meta().key(&context.namespace, object.name());
        if attributes.dry_run {
            self.admission.reserve(attributes, object.as_ref()).await?;
            let Some(there) = self.store.get(&key) else { return Ok(Answer::object(201, object.to_json())) };
            return Err(self.taken(context, object.as_ref(), Some(&there)));
        }
        if version_of(object.as_ref())? != 0 {
            return Err(Failure::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        match self.commit_admitted(attributes, &key, object.as_mut(), Goal::Create).await? {
            Some(item) => Ok(Answer::object(201, self.present(context, &item.value)?)),
            None => Err(self.taken(context, object.as_ref(), self.store.get(&key).as_ref())),
        }
    }

    /// The name is in use. Says so differently where the server chose it, and where its owner is on its way out.
    fn taken(&self, context: &Context, object: &dyn Object, there: Option<&Item>) -> Failure {
        let mut failure = Failure::already_exists(context.kind.meta().resource(), object.name());
        let generated = object.meta().generate_name.as_deref().is_some_and(|base| !base.is_empty());
        let mut message = failure.message().to_owned();
        if generated {
            message += ", the server was not able to generate a unique name for the object";
            failure = failure.retry_after(1);
        }
        let going = there.and_then(|item| self.load(context, item).ok());
        if going.is_some_and(|there| there.meta().deletion_timestamp.is_some()) {
            message = format!("object is being deleted: {message}");
        }
        failure.0.message = Some(message);
        failure
    }
}
