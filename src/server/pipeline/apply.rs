//! Server-side apply: a PATCH that says what its manager wants, and creates what is missing.

use bytes::Bytes;
use serde_json::Value;

use super::decode::{typed, unfit};
use super::options::{FieldValidation, WriteOptions};
use super::update::{MAX_TRIES, Part, Replaced};
use super::{Answer, Context, Pipeline, managed, yaml};
use crate::api::go_json;
use crate::api::object::Object;
use crate::api::patch::apply::{Applied, ApplyError, apply};
use crate::api::status::{Failure, Result};

impl Pipeline {
    pub async fn apply(&self, context: &Context, body: Bytes, options: &WriteOptions, part: Part) -> Result<Answer> {
        let kind = context.kind.meta();
        let config = parse(context, &body, options.field_validation)?;
        let options = WriteOptions { applied: true, ..options.clone() };
        for _ in 0..MAX_TRIES {
            let Some(item) = self.store.get(&context.key()) else {
                match self.create_applied(context, &config, &options).await {
                    // Somebody else created it just now: apply to that.
                    Err(failure) if failure.reason() == "AlreadyExists" => continue,
                    result => return result,
                }
            };
            let shown = self.present(context, &item.value)?;
            let live: Value = serde_json::from_slice(&shown).map_err(Failure::internal)?;
            let new = applied(context, Some(&live), &config, &options)?;
            if let Replaced::Done(answer) = self.replace(context, &item, new, &options, part).await? {
                return Ok(answer);
            }
        }
        Err(Failure::stale(kind.resource(), &context.name))
    }

    async fn create_applied(&self, context: &Context, config: &Value, options: &WriteOptions) -> Result<Answer> {
        let kind = context.kind.meta();
        if !context.subresource.is_empty() {
            return Err(Failure::not_found(kind.resource(), &context.name));
        }
        if let Some(uid) = config.pointer("/metadata/uid").and_then(Value::as_str).filter(|uid| !uid.is_empty()) {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(Failure::conflict(kind.resource(), &context.name, &why));
        }
        let object = applied(context, None, config, options)?;
        self.create_object(context, object, options).await
    }
}

/// The configuration, with the path's name and namespace where it leaves them out.
pub(super) fn parse(context: &Context, body: &[u8], validation: FieldValidation) -> Result<Value> {
    let wrong = |why: String| Failure::bad_request(format!("error decoding YAML: {why}"));
    let mut config = yaml::parse(body).map_err(|why| wrong(format!("error converting YAML to JSON: {why}")))?;
    if validation != FieldValidation::Ignore {
        let duplicates = yaml::duplicates(body);
        match yaml::strict_error(&duplicates) {
            Some(why) if validation == FieldValidation::Strict => {
                let text = format!("error strict decoding YAML: error converting YAML to JSON: {why}");
                return Err(Failure::bad_request(text));
            }
            _ => duplicates.into_iter().for_each(|duplicate| context.warn(duplicate)),
        }
    }
    let found = go_json::type_of(&config);
    let Some(fields) = config.as_object_mut() else {
        let why = format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}");
        return Err(wrong(format!("error unmarshaling JSON: while decoding JSON: {why}")));
    };
    let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Default::default()));
    let Some(metadata) = metadata.as_object_mut() else {
        return Err(Failure::bad_request("metadata of the applied configuration is not an object"));
    };
    let mut settle = |field: &str, requested: &str, place: &str| match metadata.get(field).and_then(Value::as_str) {
        None | Some("") if requested.is_empty() => Ok(()),
        None | Some("") => {
            metadata.insert(field.to_owned(), requested.into());
            Ok(())
        }
        Some(given) if given == requested => Ok(()),
        Some(given) => Err(Failure::bad_request(format!(
            "the {field} of the object ({given}) does not match the {field} on the {place} ({requested})"
        ))),
    };
    settle("name", &context.name, "URL")?;
    if context.kind.meta().namespaced {
        settle("namespace", &context.namespace, "request")?;
    }
    Ok(config)
}

fn applied(context: &Context, live: Option<&Value>, config: &Value, options: &WriteOptions) -> Result<Box<dyn Object>> {
    let force = options.force.unwrap_or(false);
    let outcome = managed::with_request(context, options, |request| apply(live, config, force, request));
    let outcome = outcome.ok_or_else(|| Failure::internal("this kind has no schema to apply by"))?;
    let Applied { object, .. } = outcome.map_err(ApplyError::into_failure)?;
    // What does not fit the schema was refused; what is left is for the decoder to refuse.
    typed(context, object.to_string().as_bytes()).map_err(|why| unfit(context.kind.meta(), &why))
}
