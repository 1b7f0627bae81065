//! JSON patch (RFC 6902), bounded: in operations, in what copying may add, and in depth.

use json_patch::{PatchOperation, jsonptr::Pointer};
use serde_json::Value;

use super::PatchError;

/// Upstream's `maxJSONPatchOperations`.
const MAX_OPERATIONS: usize = 10_000;
/// Upstream's `JSONPatchMaxCopyBytes`: copies of copies grow exponentially.
const MAX_COPY_BYTES: usize = 3 * 1024 * 1024;
/// Deeper objects could not be decoded again: serde_json reads 128 levels.
const MAX_DEPTH: usize = 128;

/// Applies `patch`, a list of operations, to `target`.
///
/// # Errors
/// `BadRequest` for what is no JSON patch, `TooLarge` for too many operations, `Unprocessable` for an
/// operation that fails, a failed `test` among them.
pub fn apply(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let operations = decode(patch)?;
    let mut copied = 0;
    for operation in &operations {
        prepare(target, operation, &mut copied)?;
        if satisfied_by_absence(target, operation) {
            continue;
        }
        json_patch::patch_unsafe(target, std::slice::from_ref(operation))
            .map_err(|error| PatchError::Unprocessable(format!("{}: {}", shown(operation), error.kind)))?;
    }
    Ok(())
}

fn decode(patch: &Value) -> Result<Vec<PatchOperation>, PatchError> {
    let Value::Array(items) = patch else {
        let found = match patch {
            Value::Object(_) => "object",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            Value::Null | Value::Array(_) => "null",
        };
        let message = format!("json: cannot unmarshal {found} into Go value of type jsonpatch.Patch");
        return Err(PatchError::BadRequest(message));
    };
    if items.len() > MAX_OPERATIONS {
        let count = items.len();
        let message = format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}");
        return Err(PatchError::TooLarge(message));
    }
    let read = |item: &Value| {
        let operation: Result<PatchOperation, _> = serde_json::from_value(item.clone());
        // An unknown operation or a missing member is found out when it is applied.
        operation.map_err(|error| PatchError::Unprocessable(format!("Unexpected kind: {error}")))
    };
    if let Some(item) = items.iter().find(|item| !item.is_object()) {
        return Err(PatchError::BadRequest(format!(
            "json: cannot unmarshal {item} into Go value of type jsonpatch.Operation"
        )));
    }
    items.iter().map(read).collect()
}

/// Refuses an operation that would make the object too large or too deep.
fn prepare(target: &Value, operation: &PatchOperation, copied: &mut usize) -> Result<(), PatchError> {
    let value = match operation {
        PatchOperation::Copy(copy) => {
            let Some(value) = find(target, &copy.from) else { return Ok(()) };
            *copied += size(value);
            if *copied > MAX_COPY_BYTES {
                let words = "unable to complete the copy, the accumulated size increase of copy is";
                let message = format!("{words} {copied}, exceeding the limit {MAX_COPY_BYTES}");
                return Err(PatchError::Unprocessable(message));
            }
            value
        }
        PatchOperation::Move(from) => match find(target, &from.from) {
            Some(value) => value,
            None => return Ok(()),
        },
        PatchOperation::Add(add) => &add.value,
        PatchOperation::Replace(replace) => &replace.value,
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
    };
    let above = operation.path().tokens().count();
    if above > MAX_DEPTH || deeper_than(value, MAX_DEPTH - above) {
        return Err(PatchError::Unprocessable(format!("{}: the object becomes too deep", shown(operation))));
    }
    Ok(())
}

/// A `test` for null holds where there is nothing, as upstream's library has it.
fn satisfied_by_absence(target: &Value, operation: &PatchOperation) -> bool {
    matches!(operation, PatchOperation::Test(test) if test.value.is_null() && find(target, &test.path).is_none())
}

fn find<'a>(target: &'a Value, path: &Pointer) -> Option<&'a Value> {
    target.pointer(path.as_str())
}

fn shown(operation: &PatchOperation) -> String {
    let name = match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    };
    format!("{name} operation at path {:?}", operation.path().as_str())
}

/// About how many bytes the value takes as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 5,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + size(value) + 4).sum::<usize>() + 2,
    }
}

fn deeper_than(value: &Value, limit: usize) -> bool {
    let Some(below) = limit.checked_sub(1) else { return value.is_array() || value.is_object() };
    match value {
        Value::Array(items) => items.iter().any(|item| deeper_than(item, below)),
        Value::Object(fields) => fields.values().any(|value| deeper_than(value, below)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn patched(target: &Value, patch: Value) -> Result<Value, PatchError> {
        let mut target = target.clone();
        apply(&mut target, &patch).map(|()| target)
    }

    #[test]
    fn operations() {
        let target = json!({"a": {"b": [1, 2]}, "c": "x"});
        let cases = [
            (json!([{"op": "add", "path": "/a/b/-", "value": 3}]), json!({"a": {"b": [1, 2, 3]}, "c": "x"})),
            (json!([{"op": "add", "path": "/a/b/0", "value": 0}]), json!({"a": {"b": [0, 1, 2]}, "c": "x"})),
            (json!([{"op": "remove", "path": "/c"}]), json!({"a": {"b": [1, 2]}})),
            (json!([{"op": "replace", "path": "/c", "value": null}]), json!({"a": {"b": [1, 2]}, "c": null})),
            (json!([{"op": "move", "from": "/c", "path": "/a/b"}]), json!({"a": {"b": "x"}})),
            (json!([{"op": "copy", "from": "/c", "path": "/d"}]), json!({"a": {"b": [1, 2]}, "c": "x", "d": "x"})),
            (json!([{"op": "test", "path": "/c", "value": "x"}]), target.clone()),
            (json!([{"op": "test", "path": "/missing", "value": null}]), target.clone()),
            (json!([{"op": "add", "path": "/~1x~0", "value": 1}]), json!({"a": {"b": [1, 2]}, "c": "x", "/x~": 1})),
        ];
        for (patch, wanted) in cases {
            assert_eq!(patched(&target, patch.clone()).unwrap(), wanted, "{patch}");
        }
    }

    #[test]
    fn failures() {
        let target = json!({"a": [1], "c": "x"});
        let unprocessable = [
            json!([{"op": "test", "path": "/c", "value": "y"}]),
            json!([{"op": "remove", "path": "/missing"}]),
            json!([{"op": "replace", "path": "/missing", "value": 1}]),
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
            json!([{"op": "add", "path": "/a/5", "value": 1}]),
            json!([{"op": "nonsense", "path": "/c"}]),
            json!([{"op": "add", "path": "/c"}]),
        ];
        for patch in unprocessable {
            let error = patched(&target, patch.clone()).unwrap_err();
            assert!(matches!(error, PatchError::Unprocessable(_)), "{patch}: {error:?}");
        }
        for patch in [json!({}), json!("x"), json!([1])] {
            assert!(matches!(patched(&target, patch.clone()), Err(PatchError::BadRequest(_))), "{patch}");
        }
        let many: Vec<_> = (0..=MAX_OPERATIONS).map(|_| json!({"op": "remove", "path": "/a"})).collect();
        assert!(matches!(patched(&target, many.into()), Err(PatchError::TooLarge(_))));
    }

    #[test]
    fn copies_of_copies_are_bounded() {
        let mut patch = vec![json!({"op": "add", "path": "/a", "value": "x".repeat(1000)})];
        patch.extend((0..40).map(|at| json!({"op": "copy", "from": "", "path": format!("/b{at}")})));
        assert!(matches!(patched(&json!({}), patch.into()), Err(PatchError::Unprocessable(_))));
        let deep: Vec<_> = (0..300)
            .flat_map(|_| {
                [
                    json!({"op": "move", "from": "/a", "path": "/t"}),
                    json!({"op": "add", "path": "/a", "value": {}}),
                    json!({"op": "move", "from": "/t", "path": "/a/a"}),
                ]
            })
            .collect();
        assert!(patched(&json!({"a": {}}), deep.into()).is_err());
    }

    fn path() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "0", "1", "-", "", "~0"]), 0..4)
            .prop_map(|parts| parts.iter().map(|part| format!("/{part}")).collect())
    }

    proptest! {
        #[test]
        fn never_panics(operations in prop::collection::vec((0..6usize, path(), path(), 0..4i32), 0..8)) {
            let names = ["add", "remove", "replace", "move", "copy", "test"];
            let patch: Vec<_> = operations.iter().map(|(op, path, from, value)| {
                json!({"op": names[*op], "path": path, "from": from, "value": {"a": [value]}})
            }).collect();
            let _ = patched(&json!({"a": [{"b": 1}, 2], "b": {"a": {}}}), patch.into());
        }
    }
}
