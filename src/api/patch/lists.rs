//! Lists in strategic merge patches: merging by key or as sets, deleting, and the order of the result.
//!
//! Only [`strategic`](super::strategic) calls this. A list without a merge key holds scalars. Elements are looked up by
//! hash: a patch may have tens of thousands.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::strategic::{DIRECTIVE, Object, Result, bad_format, cleaned, merge_map, unknown_directive};
use super::{PatchError, go_syntax};
use crate::api::schema::Type;

/// The name Go's reflection gives the type of a decoded value.
pub fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Elements {
    Maps,
    Scalars,
}

/// All elements are maps, or all are scalars of one type.
fn elements(original: &[Value], patch: &[Value]) -> Result<Elements> {
    let mut found: Option<&'static str> = None;
    for item in original.iter().chain(patch) {
        let kind = match go_type(item) {
            "int64" => "float64",
            other => other,
        };
        match found {
            None if item.is_array() => {
                return Err(PatchError::Unprocessable("lists of lists are not supported".to_owned()));
            }
            None => found = Some(kind),
            Some(before) if before == kind => {}
            Some(_) => {
                let lists = [original, patch].map(|list| go_syntax(&Value::from(list.to_vec()))).join(" ");
                return Err(PatchError::Unclear(format!("list element types are not identical: [{lists}]")));
            }
        }
    }
    Ok(if found == Some("map[string]interface {}") { Elements::Maps } else { Elements::Scalars })
}

/// Merges `patch` into `original`; with `deletes` the patch names the scalars to remove.
pub fn merge(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    items: &Type,
    key: Option<&str>,
    deletes: bool,
) -> Result<Vec<Value>> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    match (elements(&original, &patch)?, key) {
        (Elements::Scalars, _) if deletes => {
            let gone: HashSet<_> = patch.iter().map(Value::to_string).collect();
            original.retain(|item| !gone.contains(&item.to_string()));
            Ok(original)
        }
        (Elements::Scalars, _) => {
            let mut seen = HashSet::new();
            let all = original.iter().chain(&patch).filter(|item| seen.insert(item.to_string()));
            ordered(all.cloned().collect(), &patch, &original, None)
        }
        (Elements::Maps, None) => {
            Err(PatchError::Unclear("cannot merge lists without merge key for type struct".to_owned()))
        }
        (Elements::Maps, Some(key)) => {
            let (original, patch) = obey_directives(original, patch, key)?;
            let merged = merge_by_key(original.clone(), &patch, items, key)?;
            ordered(merged, &patch, &original, Some(key))
        }
    }
}

/// Takes the elements with a `$patch` out of the patch and does what they say to the original.
fn obey_directives(mut original: Vec<Value>, patch: Vec<Value>, key: &str) -> Result<(Vec<Value>, Vec<Value>)> {
    let (mut plain, mut gone, mut replace) = (Vec::with_capacity(patch.len()), HashSet::new(), false);
    for item in patch {
        let Value::Object(map) = &item else { continue };
        let Some(directive) = map.get(DIRECTIVE) else {
            plain.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let wanted = map.get(key).ok_or_else(|| no_key(map, key))?;
                gone.insert(wanted.to_string());
            }
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(PatchError::Unclear("merging lists cannot yet be specified in the patch".to_owned()));
            }
            _ => return Err(unknown_directive(directive, map)),
        }
    }
    if replace {
        return Ok((plain, Vec::new()));
    }
    if !gone.is_empty() {
        original.retain(|item| item.get(key).is_none_or(|name| !gone.contains(&name.to_string())));
    }
    Ok((original, plain))
}

fn merge_by_key(mut original: Vec<Value>, patch: &[Value], items: &Type, key: &str) -> Result<Vec<Value>> {
    let mut places = Places::of(&original, Some(key));
    for item in patch {
        let Value::Object(map) = item else { continue };
        let wanted = map.get(key).ok_or_else(|| no_key(map, key))?;
        match places.0.get(&wanted.to_string()) {
            Some(&at) => {
                let found = match original[at].take() {
                    Value::Object(found) => found,
                    _ => Object::new(),
                };
                original[at] = Value::Object(merge_map(found, map.clone(), items)?);
            }
            None => {
                if let Some(added) = cleaned(item.clone()) {
                    places.0.insert(wanted.to_string(), original.len());
                    original.push(added);
                }
            }
        }
    }
    Ok(original)
}

fn no_key(map: &Object, key: &str) -> PatchError {
    let map = go_syntax(&Value::Object(map.clone()));
    PatchError::Unclear(format!("map: {map} does not contain declared merge key: {key}"))
}

/// What tells an element from the others: its key, or the scalar itself.
fn identity<'a>(item: &'a Value, key: Option<&str>) -> Option<&'a Value> {
    match key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

/// Where each element of a list first stands, by its identity as JSON.
struct Places(HashMap<String, usize>);

impl Places {
    fn of(list: &[Value], key: Option<&str>) -> Self {
        let mut places = HashMap::with_capacity(list.len());
        for (at, item) in list.iter().enumerate() {
            if let Some(name) = identity(item, key) {
                places.entry(name.to_string()).or_insert(at);
            }
        }
        Self(places)
    }
    fn find(&self, item: &Value, key: Option<&str>) -> Option<usize> {
        self.0.get(&identity(item, key)?.to_string()).copied()
    }
}

/// Sorts `merged`: elements that `wanted` names in its order, the rest in `live` order, interleaved by the order in
/// `live` where that is known of both.
pub fn ordered(merged: Vec<Value>, wanted: &[Value], live: &[Value], key: Option<&str>) -> Result<Vec<Value>> {
    if let Some(key) = key {
        let without_key = merged.iter().chain(wanted).chain(live).find(|item| item.get(key).is_none());
        match without_key {
            Some(Value::Object(map)) => return Err(no_key(map, key)),
            Some(other) => {
                let found = go_type(other);
                let message = format!("expected a map[string]interface {{}}, but received a {found}");
                return Err(PatchError::Unclear(message));
            }
            None => {}
        }
    }
    let (wanted, live) = (Places::of(wanted, key), Places::of(live, key));
    let (mut named, mut rest): (Vec<_>, Vec<_>) = merged.into_iter().partition(|item| wanted.find(item, key).is_some());
    named.sort_by_cached_key(|item| wanted.find(item, key));
    rest.sort_by_cached_key(|item| live.find(item, key).unwrap_or(usize::MAX));
    Ok(interleave(rest, named, &live, key))
}

fn interleave(rest: Vec<Value>, named: Vec<Value>, live: &Places, key: Option<&str>) -> Vec<Value> {
    let mut out = Vec::with_capacity(rest.len() + named.len());
    let (mut rest, mut named) = (rest.into_iter().peekable(), named.into_iter().peekable());
    while let (Some(left), Some(right)) = (rest.peek(), named.peek()) {
        let before = match (live.find(left, key), live.find(right, key)) {
            (Some(left), Some(right)) => left < right,
            _ => false,
        };
        out.extend(if before { rest.next() } else { named.next() });
    }
    out.extend(rest);
    out.extend(named);
    out
}

/// The elements of the patch must be named by the `$setElementOrder` list, in its order.
pub fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<()> {
    if order.is_empty() || patch.is_empty() {
        return Ok(());
    }
    let mut remaining = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        if let (Some(key), Some(map)) = (key, item.as_object()) {
            map.get(key).ok_or_else(|| no_key(map, key))?;
        }
        let Some(wanted) = identity(item, key) else { return Err(bad_format("setElementOrder list")) };
        if !remaining.any(|other| identity(other, key) == Some(wanted)) {
            let [patch, order] = [patch, order].map(|list| go_syntax(&Value::from(list.to_vec())));
            let message =
                format!("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n");
            return Err(PatchError::Unclear(message));
        }
    }
    Ok(())
}
