//! Server-side apply: a PATCH that says what its manager wants, and creates what is missing.

use bytes::Bytes;
use serde_json::Value;

use super::decode::{Media, Payload, decode_json};
use super::options::WriteOptions;
use super::update::{CONFLICT_TRIES, Part, Replaced};
use super::{Answer, Context, Pipeline, managed};
use crate::api::object::Object;
use crate::api::patch::apply::{Applied, ApplyError, apply};
use crate::api::status::{Failure, Result};

impl Pipeline {
    pub async fn apply(&self, context: &Context, body: Bytes, options: &WriteOptions, part: Part) -> Result<Answer> {
        let kind = context.kind.meta();
        let config = parse(context, body)?;
        let options = WriteOptions { applied: true, ..options.clone() };
        for _ in 0..CONFLICT_TRIES {
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
fn parse(context: &Context, body: Bytes) -> Result<Value> {
    let json = Payload { bytes: body, media: Media::Yaml }.to_json()?;
    let mut config: Value = serde_json::from_slice(&json).map_err(Failure::internal)?;
    let Some(fields) = config.as_object_mut() else {
        return Err(Failure::bad_request("the applied configuration is not an object"));
    };
    let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Default::default()));
    let Some(metadata) = metadata.as_object_mut() else {
        return Err(Failure::bad_request("metadata of the applied configuration is not an object"));
    };
    let mut settle = |field: &str, requested: &str| match metadata.get(field).and_then(Value::as_str) {
        None | Some("") if requested.is_empty() => Ok(()),
        None | Some("") => {
            metadata.insert(field.to_owned(), requested.into());
            Ok(())
        }
        Some(given) if given == requested => Ok(()),
        Some(given) => Err(Failure::bad_request(format!(
            "the {field} of the object ({given}) does not match the {field} on the URL ({requested})"
        ))),
    };
    settle("name", &context.name)?;
    if context.kind.meta().namespaced {
        settle("namespace", &context.namespace)?;
    }
    Ok(config)
}

fn applied(context: &Context, live: Option<&Value>, config: &Value, options: &WriteOptions) -> Result<Box<dyn Object>> {
    let force = options.force.unwrap_or(false);
    let outcome = managed::with_request(context, options, |request| apply(live, config, force, request));
    let outcome = outcome.ok_or_else(|| Failure::internal("this kind has no schema to apply by"))?;
    let Applied { object, .. } = outcome.map_err(ApplyError::into_failure)?;
    decode_json(context, object.to_string().as_bytes(), options.field_validation)
}
