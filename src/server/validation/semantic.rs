//! Whether two objects mean the same, though one of them says what the other leaves out: clients with typed objects
//! write back without the empty lists, empty texts and zeros that they read.

use serde::Serialize;
use serde_json::Value;

use super::{diff, json};

/// Fields whose zero says no more than their absence; for any other field a zero is a choice.
const ZERO_IS_ABSENT: &[&str] = &[
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostPort",
    "initialDelaySeconds",
    "readOnly",
    "stdin",
    "stdinOnce",
    "successThreshold",
    "tty",
];

/// Fields for which the empty text is a choice.
const EMPTY_IS_A_CHOICE: &[&str] = &["storageClassName", "volumeAttributesClassName", "apiGroup"];

/// Whether two states are the same but for what says nothing.
pub fn same<T: Serialize>(one: &T, other: &T) -> bool {
    let (mut one, mut other) = (json(one), json(other));
    prune(&mut one);
    prune(&mut other);
    one == other
}

/// What differs, as upstream shows it.
pub fn diff<T: Serialize>(old: &T, new: &T) -> String {
    let (mut old, mut new) = (json(old), json(new));
    prune(&mut old);
    prune(&mut new);
    diff::unified(&old, &new)
}

/// Takes out of a value what says nothing.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            prune(value);
            !says_nothing(name, value)
        }),
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

fn says_nothing(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() && !EMPTY_IS_A_CHOICE.contains(&name),
        Value::Array(items) => items.is_empty(),
        Value::Bool(false) => ZERO_IS_ABSENT.contains(&name),
        Value::Number(number) => number.as_i64() == Some(0) && ZERO_IS_ABSENT.contains(&name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_says_nothing_makes_no_difference() {
        let cases = [
            (json!({"hostNetwork": false, "tolerations": [], "nodeName": ""}), json!({}), true),
            (json!({"containers": [{"tty": false, "name": "a"}]}), json!({"containers": [{"name": "a"}]}), true),
            (json!({"enableServiceLinks": false}), json!({}), false),
            (json!({"storageClassName": ""}), json!({}), false),
            (json!({"emptyDir": {}}), json!({}), false),
        ];
        for (one, other, expected) in cases {
            assert_eq!(same(&one, &other), expected, "{one}");
        }
    }
}
