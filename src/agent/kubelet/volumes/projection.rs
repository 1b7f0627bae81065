//! The files of configMap, secret, downwardAPI and projected volumes, computed from fetched objects. Pure:
//! `atomic` writes them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccountTokenProjection, Volume,
};

use super::atomic::{File, Payload};
use crate::agent::kubelet::downward;
use crate::agent::kubelet::env::{Facts, Fetched};
use crate::agent::kubelet::model::containers;

/// Why a volume cannot be filled; the words follow `MountVolume.SetUp failed for volume "…" : `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("configmap \"{0}\" not found")]
    NoConfigMap(String),
    #[error("secret \"{0}\" not found")]
    NoSecret(String),
    #[error("configmap references non-existent config key: {0}")]
    NoConfigMapKey(String),
    #[error("references non-existent secret key: {0}")]
    NoSecretKey(String),
    #[error(transparent)]
    Field(#[from] downward::Error),
    #[error("failed to fetch token: {0}")]
    Token(String),
}

const DEFAULT_MODE: i32 = 0o644;

/// The names of the ConfigMaps and Secrets that a volume refers to.
pub fn references(volume: &Volume) -> (Vec<String>, Vec<String>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    maps.extend(volume.config_map.iter().map(|source| source.name.clone()));
    secrets.extend(volume.secret.iter().filter_map(|source| source.secret_name.clone()));
    for source in volume.projected.iter().filter_map(|projected| projected.sources.as_ref()).flatten() {
        maps.extend(source.config_map.iter().map(|source| source.name.clone()));
        secrets.extend(source.secret.iter().map(|source| source.name.clone()));
    }
    (maps, secrets)
}

/// The token requests of a volume: `(path, request)`.
pub fn tokens(volume: &Volume) -> impl Iterator<Item = &ServiceAccountTokenProjection> {
    let sources = volume.projected.iter().filter_map(|projected| projected.sources.as_ref()).flatten();
    sources.filter_map(|source| source.service_account_token.as_ref())
}

/// Everything a volume shows; `None` for volumes of other types. `tokens` holds each token by its path.
pub fn payload(
    pod: &Pod,
    volume: &Volume,
    fetched: &Fetched,
    facts: &Facts,
    tokens: &BTreeMap<String, String>,
) -> Result<Option<Payload>, Error> {
    let mut out = Payload::new();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        config_map(&source.name, source.items.as_deref(), source.optional, mode, fetched, &mut out)?;
    } else if let Some(source) = &volume.secret {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let name = source.secret_name.as_deref().unwrap_or_default();
        secret(name, source.items.as_deref(), source.optional, mode, fetched, &mut out)?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        downward_api(pod, source.items.as_deref().unwrap_or_default(), mode, facts, &mut out)?;
    } else if let Some(source) = &volume.projected {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        for part in source.sources.iter().flatten() {
            if let Some(source) = &part.config_map {
                config_map(&source.name, source.items.as_deref(), source.optional, mode, fetched, &mut out)?;
            }
            if let Some(source) = &part.secret {
                secret(&source.name, source.items.as_deref(), source.optional, mode, fetched, &mut out)?;
            }
            if let Some(source) = &part.downward_api {
                downward_api(pod, source.items.as_deref().unwrap_or_default(), mode, facts, &mut out)?;
            }
            if let Some(source) = &part.service_account_token {
                let token = tokens.get(&source.path).ok_or_else(|| Error::Token("none was issued".to_owned()))?;
                out.insert(source.path.clone(), secret_file(pod, token.as_bytes().to_vec(), mode));
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(out))
}

fn file(data: Vec<u8>, mode: i32) -> File {
    File { data, mode: mode as u32 & 0o7777, owner: None }
}

/// For the one user of all containers and the pod's group alone, where the pod names either.
fn secret_file(pod: &Pod, data: Vec<u8>, mode: i32) -> File {
    let Some(spec) = &pod.spec else { return file(data, mode) };
    let context = spec.security_context.as_ref();
    let user = context.and_then(|context| context.run_as_user);
    let mut users = containers(spec).map(|(_, container)| {
        let own = container.security_context.as_ref().and_then(|context| context.run_as_user);
        own.or(user)
    });
    let first = users.next().flatten().filter(|first| users.all(|user| user == Some(*first)));
    let closed = first.is_some() || context.is_some_and(|context| context.fs_group.is_some());
    let owner = first.and_then(|user| u32::try_from(user).ok());
    File { owner, ..file(data, if closed { 0o600 } else { mode }) }
}

/// Picks the listed keys, or all of them.
fn pick(
    all: BTreeMap<&str, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: i32,
    missing: fn(String) -> Error,
    out: &mut Payload,
) -> Result<(), Error> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        out.extend(all.into_iter().map(|(key, data)| (key.to_owned(), file(data, mode))));
        return Ok(());
    };
    for item in items {
        match all.get(item.key.as_str()) {
            Some(data) => {
                out.insert(item.path.clone(), file(data.clone(), item.mode.unwrap_or(mode)));
            }
            None if optional => {}
            None => return Err(missing(item.key.clone())),
        }
    }
    Ok(())
}

fn config_map(
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
    fetched: &Fetched,
    out: &mut Payload,
) -> Result<(), Error> {
    let optional = optional == Some(true);
    let Some(map) = fetched.config_map(name) else {
        return if optional { Ok(()) } else { Err(Error::NoConfigMap(name.to_owned())) };
    };
    pick(config_map_data(map), items, optional, mode, Error::NoConfigMapKey, out)
}

fn config_map_data(map: &ConfigMap) -> BTreeMap<&str, Vec<u8>> {
    let text = map.data.iter().flatten().map(|(key, value)| (key.as_str(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.clone()));
    text.chain(binary).collect()
}

fn secret(
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
    fetched: &Fetched,
    out: &mut Payload,
) -> Result<(), Error> {
    let optional = optional == Some(true);
    let Some(found) = fetched.secret(name) else {
        return if optional { Ok(()) } else { Err(Error::NoSecret(name.to_owned())) };
    };
    pick(secret_data(found), items, optional, mode, Error::NoSecretKey, out)
}

fn secret_data(secret: &Secret) -> BTreeMap<&str, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.clone())).collect()
}

fn downward_api(
    pod: &Pod,
    items: &[DownwardAPIVolumeFile],
    mode: i32,
    facts: &Facts,
    out: &mut Payload,
) -> Result<(), Error> {
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => downward::field(pod, &field.field_path, facts)?,
            (None, Some(resource)) => downward::resource(pod.spec.as_ref(), None, resource, facts)?,
            (None, None) => continue,
        };
        out.insert(item.path.clone(), file(text.into_bytes(), item.mode.unwrap_or(mode)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn files(volume: serde_json::Value) -> Result<BTreeMap<String, (String, u32)>, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "labels": {"a": "b", "c": "\"d"}},
            "spec": {"containers": []}}))
        .unwrap();
        let map = json!({"data": {"k": "v", "l": "w"}, "binaryData": {"bin": "AQI="}});
        let fetched = Fetched {
            config_maps: [("cm".to_owned(), Some(Arc::new(serde_json::from_value(map).unwrap())))].into(),
            secrets: [(
                "s".to_owned(),
                Some(Arc::new(serde_json::from_value(json!({"data": {"key": "c2VjcmV0"}})).unwrap())),
            )]
            .into(),
        };
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let tokens = [("token".to_owned(), "jwt".to_owned())].into();
        let made = payload(&pod, &volume, &fetched, &Facts::default(), &tokens).map_err(|error| error.to_string())?;
        let made = made.ok_or("not a projection")?;
        let text = |file: File| (String::from_utf8_lossy(&file.data).into_owned(), file.mode);
        Ok(made.into_iter().map(|(path, file)| (path, text(file))).collect())
    }

    #[test]
    fn every_kind_of_projection() {
        let all = files(json!({"name": "v", "configMap": {"name": "cm", "defaultMode": 256}})).unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(all["k"], ("v".to_owned(), 0o400));
        let some = files(
            json!({"name": "v", "secret": {"secretName": "s", "items": [{"key": "key", "path": "a/b", "mode": 448}]}}),
        );
        assert_eq!(some.unwrap(), [("a/b".to_owned(), ("secret".to_owned(), 0o700))].into());
        let projected = files(json!({"name": "v", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "cm", "items": [{"key": "k", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}},
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}))
        .unwrap();
        assert_eq!(projected["token"].0, "jwt");
        assert_eq!(projected["ca.crt"].0, "v");
        assert_eq!(projected["namespace"].0, "ns");
        assert_eq!(projected["labels"].0, "a=\"b\"\nc=\"\\\"d\"");
    }

    #[test]
    fn a_token_is_for_the_pods_user_and_group_alone() {
        let access = |spec: serde_json::Value| {
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
            let file = secret_file(&pod, Vec::new(), 0o644);
            (file.mode, file.owner)
        };
        let user = |id: i64| json!({"name": "c", "securityContext": {"runAsUser": id}});
        for (spec, expected) in [
            (json!({"containers": [{"name": "c"}]}), (0o644, None)),
            (json!({"containers": [user(1), {"name": "d"}]}), (0o644, None)),
            (json!({"containers": [user(1), user(2)]}), (0o644, None)),
            (json!({"initContainers": [user(1)], "containers": [user(1)]}), (0o600, Some(1))),
            (json!({"containers": [{"name": "c"}], "securityContext": {"runAsUser": 7}}), (0o600, Some(7))),
            (json!({"containers": [{"name": "c"}], "securityContext": {"fsGroup": 9}}), (0o600, None)),
        ] {
            assert_eq!(access(spec.clone()), expected, "{spec}");
        }
    }

    #[test]
    fn missing_things_are_errors_unless_optional() {
        let cases = [
            (json!({"configMap": {"name": "x"}}), Err("configmap \"x\" not found")),
            (json!({"configMap": {"name": "x", "optional": true}}), Ok(0)),
            (json!({"secret": {"secretName": "x"}}), Err("secret \"x\" not found")),
            (
                json!({"secret": {"secretName": "s", "items": [{"key": "n", "path": "n"}]}}),
                Err("references non-existent secret key: n"),
            ),
            (json!({"secret": {"secretName": "s", "optional": true, "items": [{"key": "n", "path": "n"}]}}), Ok(0)),
        ];
        for (mut volume, expected) in cases {
            volume["name"] = json!("v");
            let found = files(volume.clone()).map(|files| files.len());
            assert_eq!(found, expected.map_err(str::to_owned), "{volume}");
        }
    }
}
