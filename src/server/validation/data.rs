//! Keys and sizes of ConfigMaps and Secrets, and what each type of Secret must hold.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::{immutable, named, text};
use crate::api::field::{Error, Errors, Path};
use crate::api::{go_json, names};

/// All values together, in bytes.
const MAX: usize = 1024 * 1024;

pub fn config_map(errors: &mut Errors, object: &ConfigMap) {
    let (data, binary) = (Path::new("data"), Path::new("binaryData"));
    let mut size = 0;
    for (key, value) in object.data.iter().flatten() {
        named(errors, &data.key(key), key, names::config_map_key(key));
        if object.binary_data.as_ref().is_some_and(|binary| binary.contains_key(key)) {
            errors.push(Error::invalid(&data.key(key), key.as_str(), "duplicate of key present in binaryData"));
        }
        size += value.len();
    }
    for (key, value) in object.binary_data.iter().flatten() {
        named(errors, &binary.key(key), key, names::config_map_key(key));
        size += value.0.len();
    }
    if size > MAX {
        errors.push(Error::too_long(&Path::root(), MAX).of_object());
    }
}

pub fn secret(errors: &mut Errors, new: &Secret, old: Option<&Secret>) {
    let data = Path::new("data");
    if let Some(old) = old {
        immutable(errors, &Path::new("type"), &new.type_, &old.type_);
        if old.immutable == Some(true) {
            let detail = "field is immutable when `immutable` is set";
            if new.immutable != Some(true) {
                errors.push(Error::forbidden(&Path::new("immutable"), detail));
            }
            if new.data.clone().unwrap_or_default() != old.data.clone().unwrap_or_default() {
                errors.push(Error::forbidden(&data, detail));
            }
        }
    }
    let empty = BTreeMap::new();
    let entries = new.data.as_ref().unwrap_or(&empty);
    for key in entries.keys() {
        named(errors, &data.key(key), key, names::config_map_key(key));
    }
    if entries.values().map(|value| value.0.len()).sum::<usize>() > MAX {
        errors.push(Error::too_long(&data, MAX));
    }
    of_type(errors, &data, new, entries);
}

fn of_type(errors: &mut Errors, data: &Path, secret: &Secret, entries: &BTreeMap<String, ByteString>) {
    let mut present = |key: &str| {
        if !entries.contains_key(key) {
            errors.push(Error::required(&data.key(key), ""));
        }
    };
    match text(&secret.type_) {
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            let annotations = secret.metadata.annotations.as_ref();
            if annotations.and_then(|found| found.get(name)).is_none_or(String::is_empty) {
                let path = Path::new("metadata").child("annotations").key(name);
                errors.push(Error::required(&path, ""));
            }
        }
        "kubernetes.io/dockercfg" => json(errors, data, ".dockercfg", entries),
        "kubernetes.io/dockerconfigjson" => json(errors, data, ".dockerconfigjson", entries),
        "kubernetes.io/basic-auth" if !entries.contains_key("username") && !entries.contains_key("password") => {
            present("username");
            present("password");
        }
        "kubernetes.io/ssh-auth" if entries.get("ssh-privatekey").is_none_or(|key| key.0.is_empty()) => {
            errors.push(Error::required(&data.key("ssh-privatekey"), ""));
        }
        "kubernetes.io/tls" => {
            present("tls.crt");
            present("tls.key");
        }
        _ => {}
    }
}

fn json(errors: &mut Errors, data: &Path, key: &str, entries: &BTreeMap<String, ByteString>) {
    match entries.get(key) {
        None => errors.push(Error::required(&data.key(key), "")),
        Some(value) => {
            type Read = serde_json::Map<String, serde_json::Value>;
            if let Err(error) = go_json::decode::<Read>(&value.0, "map[string]interface {}") {
                errors.push(Error::invalid(&data.key(key), "<secret contents redacted>", error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::validation::lines;
    use serde_json::json;

    #[test]
    fn secrets_hold_what_their_type_promises() {
        let cases = [
            (json!({"type": "Opaque", "data": {"a": "YQ=="}}), vec![]),
            (json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}), vec!["data[tls.key]: Required value"]),
            (
                json!({"type": "kubernetes.io/dockerconfigjson", "data": {}}),
                vec!["data[.dockerconfigjson]: Required value"],
            ),
            (json!({"type": "kubernetes.io/dockercfg", "data": {".dockercfg": "bnVsbA=="}}), vec![]),
            (
                json!({"type": "kubernetes.io/dockercfg", "data": {".dockercfg": "W10="}}),
                vec![
                    "data[.dockercfg]: Invalid value: \"<secret contents redacted>\": json: cannot unmarshal array into Go value of type map[string]interface {}",
                ],
            ),
            (
                json!({"type": "kubernetes.io/service-account-token"}),
                vec!["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
            ),
        ];
        for (mut given, expected) in cases {
            given["metadata"] = json!({"name": "x"});
            let object: Secret = serde_json::from_value(given).unwrap();
            let mut errors = Errors::new();
            secret(&mut errors, &object, None);
            assert_eq!(lines(&errors), expected);
        }
    }

    #[test]
    fn immutable_secrets_stay() {
        let secret_of = |data: &str, immutable: bool| -> Secret {
            serde_json::from_value(
                json!({"metadata": {}, "type": "Opaque", "data": {"a": data}, "immutable": immutable}),
            )
            .unwrap()
        };
        let mut errors = Errors::new();
        secret(&mut errors, &secret_of("Yg==", false), Some(&secret_of("YQ==", true)));
        let expected = [
            "immutable: Forbidden: field is immutable when `immutable` is set",
            "data: Forbidden: field is immutable when `immutable` is set",
        ];
        assert_eq!(lines(&errors), expected);
    }
}
