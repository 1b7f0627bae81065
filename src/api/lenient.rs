//! Numbers where quantities are meant: `cpu: 1` in a manifest. Upstream's decoder takes them; the typed
//! decoder here wants text, so a body that it refuses is mended once and tried again. Called by
//! `server::strategy`; never touches a body that decodes as it is.

use serde_json::Value;

/// Fields that are maps of quantities.
const MAPS: &[&str] = &[
    "limits",
    "requests",
    "capacity",
    "allocatable",
    "hard",
    "used",
    "min",
    "max",
    "default",
    "defaultRequest",
    "maxLimitRequestRatio",
    "overhead",
    "podFixed",
    "allocatedResources",
];

/// Fields that are one quantity.
const SINGLE: &[&str] = &["sizeLimit", "divisor", "maximumVolumeSize", "averageValue", "tolerance"];

/// Writes numbers as text where a quantity is expected; whether anything changed.
pub fn quantities(value: &mut Value) -> bool {
    match value {
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| quantities(item) | changed),
        Value::Object(fields) => fields.iter_mut().fold(false, |changed, (name, value)| field(name, value) | changed),
        _ => false,
    }
}

fn field(name: &str, value: &mut Value) -> bool {
    if SINGLE.contains(&name) {
        return number(value);
    }
    let Value::Object(fields) = value else { return quantities(value) };
    if MAPS.contains(&name) {
        return fields.values_mut().fold(false, |changed, value| number(value) | changed);
    }
    // A metric's amount; elsewhere `value` is other text.
    let metric = matches!(name, "target" | "current");
    let amount = metric && fields.get_mut("value").is_some_and(number);
    quantities(value) | amount
}

fn number(value: &mut Value) -> bool {
    let Value::Number(number) = value else { return false };
    *value = Value::String(number.to_string());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_quantities_become_text() {
        let mut pod = json!({"spec": {"containers": [
            {"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}, "ports": [{"containerPort": 80}]}]}});
        assert!(quantities(&mut pod));
        let expected = json!({"spec": {"containers": [
            {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}, "ports": [{"containerPort": 80}]}]}});
        assert_eq!(pod, expected);
        assert!(!quantities(&mut json!({"spec": {"env": [{"name": "a", "value": 1}]}})));
        let mut metric = json!({"metrics": [{"pods": {"target": {"type": "Value", "value": 1.5}}}]});
        assert!(quantities(&mut metric));
        assert_eq!(metric["metrics"][0]["pods"]["target"]["value"], "1.5");
    }
}
