//! Strategic merge patch: lists merge by keys, and directives say what merging cannot.
//!
//! The rules are those of the API conventions and of the design notes on `$retainKeys` and
//! `$setElementOrder`. Which list merges by which key comes from [`schema`](crate::api::schema). Lists are in
//! [`lists`](super::lists); this file walks maps.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{PatchError, go_syntax, lists};
use crate::api::schema::{PatchStrategy, Type, View};

pub(super) const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";
const ELEMENT_ORDER: &str = "$setElementOrder";

pub(super) type Object = Map<String, Value>;
pub(super) type Result<T> = std::result::Result<T, PatchError>;

/// Applies `patch` to `target`, an object of type `schema`.
///
/// # Errors
/// `BadRequest` for malformed directives, `Unprocessable` for lists of lists, `Unclear` for the rest. The
/// target is then not to be used.
pub fn apply(target: &mut Value, patch: &Value, schema: &Type) -> Result<()> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::BadRequest("invalid JSON document".to_owned()));
    };
    let Value::Object(original) = target.take() else {
        return Err(PatchError::BadRequest("invalid JSON document".to_owned()));
    };
    *target = Value::Object(merge_map(original, patch.clone(), schema)?);
    Ok(())
}

pub(super) fn bad_format(of: &str) -> PatchError {
    PatchError::BadRequest(format!("invalid patch format of {of}"))
}

pub(super) fn unknown_directive(directive: &Value, map: &Object) -> PatchError {
    let map = go_syntax(&Value::Object(map.clone()));
    PatchError::Unclear(format!("unknown patch type: {} in map: {map}", go_syntax(directive)))
}

/// Merges `patch` into `original` and gives the result.
pub(super) fn merge_map(mut original: Object, mut patch: Object, schema: &Type) -> Result<Object> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                patch.remove(DIRECTIVE);
                Ok(patch)
            }
            Some("delete") => Ok(Object::new()),
            _ => Err(unknown_directive(directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    merge_ordered_lists(&mut original, &mut patch, schema)?;
    for (key, value) in patch {
        match key.starts_with(DELETE_FROM_LIST) {
            true => {
                let field = key.strip_prefix(DELETE_FROM_LIST).and_then(|rest| rest.strip_prefix('/'));
                let field = field.ok_or_else(|| bad_format("primitive list"))?;
                merge_field(&mut original, field.to_owned(), value, schema, true)?;
            }
            false => merge_field(&mut original, key, value, schema, false)?,
        }
    }
    Ok(original)
}

fn merge_field(original: &mut Object, key: String, value: Value, schema: &Type, deletes: bool) -> Result<()> {
    if value.is_null() {
        original.remove(&key);
        return Ok(());
    }
    let merged = match (original.remove(&key), value) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            let (kind, strategy) = metadata(schema, &key)?;
            Value::Object(if strategy.replace { new } else { merge_map(old, new, kind)? })
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            let (kind, strategy) = metadata(schema, &key)?;
            let merged = match strategy.merge {
                true => lists::merge(old, new, kind.items(), strategy.merge_key.as_deref(), deletes)?,
                false => new,
            };
            Value::Array(merged)
        }
        (old, _) if deletes => match old {
            Some(old) => old,
            None => return Ok(()),
        },
        (_, new) => match cleaned(new) {
            Some(new) => new,
            None => return Ok(()),
        },
    };
    original.insert(key, merged);
    Ok(())
}

/// The type and the strategy of a field.
fn metadata<'a>(schema: &'a Type, key: &str) -> Result<(&'a Type, &'a PatchStrategy)> {
    static NONE: PatchStrategy = PatchStrategy { merge: false, replace: false, retain_keys: false, merge_key: None };
    if let View::Struct { shape, .. } = schema.view() {
        if let Some(field) = shape.field(key) {
            return Ok((&field.kind, &field.patch));
        }
        if shape.others.is_none() {
            let message = format!("unable to find api field in struct {} for the json field {key:?}", shape.name);
            return Err(PatchError::Unclear(message));
        }
    }
    static UNTYPED: Type = Type::Untyped;
    Ok((schema.child(key).unwrap_or(&UNTYPED), &NONE))
}

/// Obeys `$retainKeys`: everything it does not name is cleared, and the patch may set only what it names.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<()> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(bad_format("retainKeys")) };
    let kept: HashSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let named = |key: &String| kept.contains(key.as_str());
    let is_list_directive = |key: &String| key.starts_with(DELETE_FROM_LIST) || key.starts_with(ELEMENT_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !is_list_directive(key) && !named(key)) {
        return Err(bad_format("retainKeys"));
    }
    original.retain(|key, _| named(key));
    Ok(())
}

/// Merges every list that has a `$setElementOrder`, and takes both out of the patch.
fn merge_ordered_lists(original: &mut Object, patch: &mut Object, schema: &Type) -> Result<()> {
    let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(ELEMENT_ORDER)).cloned().collect();
    for directive in directives {
        let order = patch.remove(&directive).unwrap_or_default();
        let Value::Array(order) = order else { return Err(bad_format("setElementOrder list")) };
        let field = directive.strip_prefix(ELEMENT_ORDER).and_then(|rest| rest.strip_prefix('/'));
        let field = field.ok_or_else(|| bad_format("setElementOrder list"))?;
        let live = list(original.get(field))?;
        let changes = list(patch.get(field))?;
        let (kind, strategy) = metadata(schema, field)?;
        let key = strategy.merge_key.as_deref();
        lists::check_order(changes.as_deref().unwrap_or_default(), &order, key)?;
        let merged = match (live.clone(), changes) {
            (None, None) => continue,
            (Some(live), None) => live,
            (None, Some(changes)) => cleaned_list(changes),
            (Some(live), Some(changes)) if strategy.merge => lists::merge(live, changes, kind.items(), key, false)?,
            (Some(_), Some(changes)) => changes,
        };
        let ordered = lists::ordered(merged, &order, &live.unwrap_or_default(), key)?;
        original.insert(field.to_owned(), Value::Array(ordered));
        patch.remove(field);
    }
    Ok(())
}

fn list(value: Option<&Value>) -> Result<Option<Vec<Value>>> {
    match value {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items.clone())),
        Some(other) => {
            let found = lists::go_type(other);
            Err(PatchError::Unclear(format!("expected a []interface {{}}, but received a {found}")))
        }
    }
}

/// A value of the patch as it is stored where there was none: without nulls in maps and without directives;
/// `None` when it is a directive itself.
pub(super) fn cleaned(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => None,
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Some(Value::Object(kept.filter_map(|(name, value)| Some((name, cleaned(value)?))).collect()))
        }
        Value::Array(items) => Some(Value::Array(cleaned_list(items))),
        scalar => Some(scalar),
    }
}

fn cleaned_list(items: Vec<Value>) -> Vec<Value> {
    items.into_iter().filter_map(cleaned).collect()
}

#[cfg(test)]
#[path = "strategic_tests.rs"]
mod tests;
