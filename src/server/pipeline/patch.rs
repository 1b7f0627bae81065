//! PATCH: read, apply, and put back through the same steps as an update; again if somebody was faster.

use bytes::Bytes;
use serde_json::Value;

use super::decode::{of_type, strict_decoding_error, typed_in, unknown};
use super::options::{FieldValidation, WriteOptions};
use super::update::{MAX_TRIES, Part, Replaced, check_name};
use super::{Answer, Context, Pipeline, go_error, strict};
use crate::api::field::{Error, Path};
use crate::api::go_json;
use crate::api::gvk::GroupKind;
use crate::api::object::Object;
use crate::api::patch::{PatchError, go_syntax, json, merge, strategic};
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
    /// What a strict reader finds in the text of the patch itself.
    problems: Vec<String>,
}

impl Patch {
    /// # Errors
    /// 400 where the body is not what such a patch is made of.
    pub fn parse(kind: PatchKind, bytes: &Bytes, validation: FieldValidation) -> Result<Self> {
        let strictly = validation != FieldValidation::Ignore;
        let prefix = if strictly && kind != PatchKind::Strategic { "error decoding patch: " } else { "" };
        let wrong = |why: String| Failure::bad_request(format!("{prefix}{why}"));
        let body: Value = serde_json::from_slice(bytes).map_err(|error| wrong(go_error::syntax(bytes, &error)))?;
        let fits = if kind == PatchKind::Json { body.is_array() } else { body.is_object() };
        if !fits && (strictly || kind == PatchKind::Strategic) {
            let wanted = match kind {
                PatchKind::Json => "[]handlers.jsonPatchOp",
                PatchKind::Merge | PatchKind::Strategic => "map[string]interface {}",
            };
            return Err(wrong(format!(
                "json: cannot unmarshal {} into Go value of type {wanted}",
                go_json::type_of(&body)
            )));
        }
        let problems = match kind {
            _ if !strictly => Vec::new(),
            PatchKind::Json => strict::of_json_patch(bytes),
            PatchKind::Merge | PatchKind::Strategic => strict::duplicates(bytes),
        };
        Ok(Self { kind, body, problems })
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

    /// What is wrong with the patched object is the patch's fault. `result` is the object's text.
    pub(crate) fn misfit(&self, result: &str, why: &str) -> Failure {
        let shown = match self.kind {
            PatchKind::Strategic => go_syntax(&self.body),
            PatchKind::Json | PatchKind::Merge => result.to_owned(),
        };
        let error = Error::invalid(&Path::new("patch"), shown, why);
        Failure::invalid(GroupKind { group: "", kind: "" }, "", &[error])
    }

    /// Refuses or warns about fields that are unknown or repeated, in the patch first.
    pub(crate) fn check(&self, context: &Context, result: &str, unknown: Vec<String>, strict: bool) -> Result<()> {
        let mut problems = self.problems.clone();
        problems.extend(unknown);
        if strict && !problems.is_empty() {
            return Err(self.misfit(result, &strict_decoding_error(&problems)));
        }
        problems.into_iter().for_each(|problem| context.warn(problem));
        Ok(())
    }
}

impl Pipeline {
    pub async fn patch(&self, context: &Context, patch: &Patch, options: &WriteOptions, part: Part) -> Result<Answer> {
        let kind = context.kind.meta();
        for _ in 0..MAX_TRIES {
            let item = self.current(context)?;
            let shown = self.present(context, &item.value)?;
            let mut value: Value = serde_json::from_slice(&shown).map_err(Failure::internal)?;
            patch.apply(&mut value, schema::for_kind(kind.group, kind.version, kind.kind))?;
            let new = decode_result(context, patch, value, options)?;
            check_name(context, new.as_ref())?;
            if let Replaced::Done(answer) = self.replace(context, &item, new, options, part).await? {
                return Ok(answer);
            }
        }
        Err(Failure::stale(kind.resource(), &context.name))
    }
}

fn decode_result(
    context: &Context,
    patch: &Patch,
    mut value: Value,
    options: &WriteOptions,
) -> Result<Box<dyn Object>> {
    let strategic = patch.kind == PatchKind::Strategic;
    if strategic {
        keep_type(context, &mut value);
    }
    let text = value.to_string();
    of_type(context.kind.meta(), text.as_bytes()).map_err(|error| patch.misfit(&text, &error.why()))?;
    let words = if strategic { go_error::conversion } else { go_error::words };
    let object = typed_in(context, text.as_bytes(), words).map_err(|why| patch.misfit(&text, &why))?;
    if options.field_validation != FieldValidation::Ignore {
        let unknown = unknown(context, text.as_bytes(), object.as_ref());
        patch.check(context, &text, unknown, options.field_validation == FieldValidation::Strict)?;
    }
    Ok(object)
}

/// A strategic merge patch is merged into what is of the kind already: what it says of that is not heard.
fn keep_type(context: &Context, value: &mut Value) {
    let meta = context.kind.meta();
    let Some(fields) = value.as_object_mut() else { return };
    for (name, own) in [("apiVersion", meta.api_version()), ("kind", meta.kind.to_owned())] {
        if let Some(said) = fields.get_mut(name).filter(|said| said.is_string()) {
            *said = own.into();
        }
    }
}
