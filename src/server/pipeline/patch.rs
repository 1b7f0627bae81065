//! PATCH: read, apply, and put back through the same steps as an update; again if somebody was faster.

use bytes::Bytes;
use serde_json::Value;

use super::decode::decode_json;
use super::options::WriteOptions;
use super::update::{CONFLICT_TRIES, Part, Replaced};
use super::{Answer, Context, Pipeline, go_error};
use crate::api::field::{Error, Path};
use crate::api::gvk::GroupKind;
use crate::api::object::Object;
use crate::api::patch::{PatchError, json, merge, strategic};
use crate::api::schema;
use crate::api::status::{Failure, Result};

/// The kinds of patch that change what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    Strategic,
}

/// A patch, parsed.
#[derive(Clone, Debug)]
pub struct Patch {
    pub kind: PatchKind,
    pub body: Value,
}

impl Patch {
    /// # Errors
    /// 400 where the body is no JSON.
    pub fn parse(kind: PatchKind, bytes: &Bytes) -> Result<Self> {
        let body = serde_json::from_slice(bytes);
        let body = body.map_err(|error| Failure::bad_request(go_error::syntax(bytes, &error)))?;
        Ok(Self { kind, body })
    }

    /// Applies the patch to `target`, an object of the request's kind or of a subresource.
    pub(crate) fn apply(&self, target: &mut Value, shape: Option<&schema::Type>) -> Result<()> {
        let result = match (self.kind, shape) {
            (PatchKind::Json, _) => json::apply(target, &self.body),
            (PatchKind::Merge, _) => merge::apply(target, &self.body),
            (PatchKind::Strategic, Some(shape)) => strategic::apply(target, &self.body, shape),
            (PatchKind::Strategic, None) => {
                return Err(Failure::unsupported_media_type(&[
                    "application/json-patch+json",
                    "application/merge-patch+json",
                    "application/apply-patch+yaml",
                ]));
            }
        };
        result.map_err(PatchError::into_failure)
    }
}

impl Pipeline {
    pub async fn patch(&self, context: &Context, patch: &Patch, options: &WriteOptions, part: Part) -> Result<Answer> {
        let kind = context.kind.meta();
        for _ in 0..CONFLICT_TRIES {
            let item = self.current(context)?;
            let shown = self.present(context, &item.value)?;
            let mut value: Value = serde_json::from_slice(&shown).map_err(Failure::internal)?;
            patch.apply(&mut value, schema::for_kind(kind.group, kind.version, kind.kind))?;
            let new = decode_result(context, &value, options)?;
            check_identity(context, new.as_ref())?;
            if let Replaced::Done(answer) = self.replace(context, &item, new, options, part).await? {
                return Ok(answer);
            }
        }
        Err(Failure::stale(kind.resource(), &context.name))
    }
}

/// The patched object; what is wrong with it is the patch's fault.
fn decode_result(context: &Context, value: &Value, options: &WriteOptions) -> Result<Box<dyn Object>> {
    let text = value.to_string();
    decode_json(context, text.as_bytes(), options.field_validation).map_err(|failure| {
        let message = failure.message();
        let why = message.split_once(&format!("handled as a {}: ", context.kind.meta().kind));
        let why = why.map_or(message, |(_, why)| why).to_owned();
        let error = Error::invalid(&Path::new("patch"), text.as_str(), why);
        Failure::invalid(GroupKind { group: "", kind: "" }, "", &[error])
    })
}

/// A patch may not turn the object into another one.
fn check_identity(context: &Context, new: &dyn Object) -> Result<()> {
    if new.name() != context.name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            new.name(),
            context.name
        )));
    }
    if context.kind.meta().namespaced && new.namespace() != context.namespace {
        return Err(Failure::bad_request(format!(
            "the namespace of the object ({}) does not match the namespace on the URL ({})",
            new.namespace(),
            context.namespace
        )));
    }
    Ok(())
}
