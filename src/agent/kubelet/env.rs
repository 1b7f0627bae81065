//! The environment of a container: service links, `envFrom`, `env` with all its sources, and `$(VAR)`
//! expansion, in upstream's order. Pure: the ConfigMaps, Secrets and Services are fetched beforehand.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret};

use super::downward;
use crate::agent::services::{Key, Service};
use crate::api::expand::expand;
use crate::net::nft::model::Protocol;

/// The ConfigMaps and Secrets of a pod's namespace that its containers name; `None` where it is missing.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    pub config_maps: BTreeMap<String, Option<Arc<ConfigMap>>>,
    pub secrets: BTreeMap<String, Option<Arc<Secret>>>,
}

impl Fetched {
    pub fn config_map(&self, name: &str) -> Option<&ConfigMap> {
        self.config_maps.get(name)?.as_deref()
    }

    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)?.as_deref()
    }
}

/// What the pod's place on the node adds to its own fields.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub pod_ip: String,
    pub host_ip: String,
    pub node_name: String,
    /// The node's allocatable CPU in millicores and memory in bytes, the default of an absent limit.
    pub node_cpu: i64,
    pub node_memory: i64,
    pub node_storage: i64,
}

/// The container cannot be configured; the words are those of its `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("configmap \"{0}\" not found")]
    NoConfigMap(String),
    #[error("secret \"{0}\" not found")]
    NoSecret(String),
    #[error("couldn't find key {key} in ConfigMap {namespace}/{name}")]
    NoConfigMapKey { key: String, namespace: String, name: String },
    #[error("couldn't find key {key} in Secret {namespace}/{name}")]
    NoSecretKey { key: String, namespace: String, name: String },
    #[error(transparent)]
    Field(#[from] downward::Error),
}

/// The names that a container's environment refers to.
pub fn references(container: &Container) -> (Vec<String>, Vec<String>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    for from in container.env_from.iter().flatten() {
        maps.extend(from.config_map_ref.iter().map(|reference| reference.name.clone()));
        secrets.extend(from.secret_ref.iter().map(|reference| reference.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|var| var.value_from.as_ref()) {
        maps.extend(source.config_map_key_ref.iter().map(|reference| reference.name.clone()));
        secrets.extend(source.secret_key_ref.iter().map(|reference| reference.name.clone()));
    }
    (maps, secrets)
}

/// The container's variables, each name once, in the order in which they were first set.
pub fn build(
    pod: &Pod,
    container: &Container,
    services: &[(Key, Arc<Service>)],
    fetched: &Fetched,
    facts: &Facts,
) -> Result<Vec<(String, String)>, Error> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let services = service_variables(services, namespace, links);
    let mut given = Variables::default();
    env_from(container, fetched, &mut given)?;
    for var in container.env.iter().flatten() {
        let value = match (&var.value, &var.value_from) {
            (_, Some(source)) => match from_source(pod, container, source, fetched, facts)? {
                Some(value) => value,
                None => continue,
            },
            (value, None) => expand_value(value.as_deref().unwrap_or_default(), &given, &services),
        };
        given.set(&var.name, value);
    }
    // A container's own variables win over the links of the same name.
    let mut all = given;
    for (name, value) in services {
        if !all.has(&name) {
            all.set(&name, value);
        }
    }
    Ok(all.list)
}

fn expand_value(value: &str, given: &Variables, services: &BTreeMap<String, String>) -> String {
    expand(value, |name| given.get(name).or_else(|| services.get(name).map(String::as_str)).map(str::to_owned))
}

#[derive(Default)]
struct Variables {
    list: Vec<(String, String)>,
    places: BTreeMap<String, usize>,
}

impl Variables {
    fn set(&mut self, name: &str, value: String) {
        match self.places.get(name) {
            Some(at) => self.list[*at].1 = value,
            None => {
                self.places.insert(name.to_owned(), self.list.len());
                self.list.push((name.to_owned(), value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|at| self.list[*at].1.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }
}

fn env_from(container: &Container, fetched: &Fetched, out: &mut Variables) -> Result<(), Error> {
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match fetched.config_map(&reference.name) {
                Some(map) => {
                    for (key, value) in map.data.iter().flatten() {
                        out.set(&format!("{prefix}{key}"), value.clone());
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(Error::NoConfigMap(reference.name.clone())),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match fetched.secret(&reference.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        out.set(&format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(Error::NoSecret(reference.name.clone())),
            }
        }
    }
    Ok(())
}

/// A value from elsewhere; `None` where an optional source is missing.
fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    fetched: &Fetched,
    facts: &Facts,
) -> Result<Option<String>, Error> {
    let namespace = || pod.metadata.namespace.clone().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        return Ok(Some(downward::field(pod, &field.field_path, facts)?));
    }
    if let Some(reference) = &source.resource_field_ref {
        let spec = pod.spec.as_ref();
        return Ok(Some(downward::resource(spec, Some(container), reference, facts)?));
    }
    if let Some(reference) = &source.config_map_key_ref {
        let optional = reference.optional == Some(true);
        let (key, name) = (reference.key.clone(), reference.name.clone());
        return match fetched.config_map(&name) {
            Some(map) => match map.data.as_ref().and_then(|data| data.get(&key)) {
                Some(value) => Ok(Some(value.clone())),
                None if optional => Ok(None),
                None => Err(Error::NoConfigMapKey { key, namespace: namespace(), name }),
            },
            None if optional => Ok(None),
            None => Err(Error::NoConfigMap(name)),
        };
    }
    if let Some(reference) = &source.secret_key_ref {
        let optional = reference.optional == Some(true);
        let (key, name) = (reference.key.clone(), reference.name.clone());
        return match fetched.secret(&name) {
            Some(secret) => match secret.data.as_ref().and_then(|data| data.get(&key)) {
                Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
                None if optional => Ok(None),
                None => Err(Error::NoSecretKey { key, namespace: namespace(), name }),
            },
            None if optional => Ok(None),
            None => Err(Error::NoSecret(name)),
        };
    }
    Ok(None)
}

/// The documented `{SVCNAME}_SERVICE_HOST` family, for the namespace's services and `default/kubernetes`.
fn service_variables(services: &[(Key, Arc<Service>)], namespace: &str, links: bool) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let is_api = |key: &Key| &*key.namespace == "default" && &*key.name == "kubernetes";
    // The namespace's own come later: they win.
    let api = services.iter().filter(|(key, _)| is_api(key));
    let own = services.iter().filter(|(key, _)| links && &*key.namespace == namespace);
    api.chain(own).for_each(|(key, service)| service_variable(&key.name, service, &mut out));
    out
}

fn service_variable(name: &str, service: &Service, out: &mut BTreeMap<String, String>) {
    let (Some(host), Some(first)) = (service.cluster_ips.first(), service.ports.first()) else { return };
    let name = variable_name(name);
    out.insert(format!("{name}_SERVICE_HOST"), host.to_string());
    out.insert(format!("{name}_SERVICE_PORT"), first.port.to_string());
    for (index, port) in service.ports.iter().enumerate() {
        if !port.name.is_empty() {
            out.insert(format!("{name}_SERVICE_PORT_{}", variable_name(&port.name)), port.port.to_string());
        }
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        let url = format!("{protocol}://{}", std::net::SocketAddr::new(*host, port.port));
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_uppercase());
        if index == 0 {
            out.insert(format!("{name}_PORT"), url.clone());
        }
        out.insert(prefix.clone(), url);
        out.insert(format!("{prefix}_PROTO"), protocol.to_owned());
        out.insert(format!("{prefix}_PORT"), port.port.to_string());
        out.insert(format!("{prefix}_ADDR"), host.to_string());
    }
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// Expands `$(VAR)` in a command or its arguments with the container's final environment.
pub fn expand_all(words: Option<&Vec<String>>, env: &[(String, String)]) -> Vec<String> {
    let lookup = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    words.into_iter().flatten().map(|word| expand(word, lookup)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(container: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "web"}, "annotations": {"a.b/c": "d"}},
            "spec": {"serviceAccountName": "sa", "nodeName": "n1", "containers": [container]}
        }))
        .unwrap()
    }

    fn service(namespace: &str, name: &str, ip: &str, port_name: &str) -> (Key, Arc<Service>) {
        let known = crate::agent::services::Services::default();
        let object = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": ip, "ports": [{"port": 80, "name": port_name, "protocol": "TCP"}]}
        }));
        let key = Key::new(namespace, name);
        known.put_service(key.clone(), Some(&object.unwrap()));
        let lean = known.get(&key).service.unwrap();
        (key, lean)
    }

    fn built(container: serde_json::Value, fetched: &Fetched) -> Result<BTreeMap<String, String>, Error> {
        let pod = pod(container);
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let services = [
            service("default", "kubernetes", "10.43.0.1", "https"),
            service("ns", "my-web", "10.43.0.9", "http"),
            service("other", "no", "10.43.0.8", "x"),
        ];
        let facts = Facts {
            pod_ip: "10.42.0.5".into(),
            host_ip: "10.0.0.1".into(),
            node_name: "n1".into(),
            node_cpu: 2000,
            node_memory: 1 << 30,
            node_storage: 1 << 40,
        };
        Ok(build(&pod, container, &services, fetched, &facts)?.into_iter().collect())
    }

    fn fetched() -> Fetched {
        let map: ConfigMap =
            serde_json::from_value(json!({"metadata": {"name": "cm"}, "data": {"one": "1", "two": "2"}})).unwrap();
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": "s"}, "data": {"pass": "c2VjcmV0"}})).unwrap();
        Fetched {
            config_maps: [("cm".to_owned(), Some(Arc::new(map))), ("gone".to_owned(), None)].into(),
            secrets: [("s".to_owned(), Some(Arc::new(secret)))].into(),
        }
    }

    #[test]
    fn every_source_is_read_and_later_ones_win() {
        let env = built(
            json!({"name": "c",
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "s"}}],
            "resources": {"limits": {"cpu": "500m"}},
            "env": [
                {"name": "P_one", "value": "mine"},
                {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "two"}}},
                {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pass"}}},
                {"name": "MAYBE", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "x", "optional": true}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "SA", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
                {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
                {"name": "URL", "value": "http://$(IP):$(MY_WEB_SERVICE_PORT)/$(UNKNOWN)/$$(IP)"}
            ]}),
            &fetched(),
        )
        .unwrap();
        let expected = [
            ("P_one", "mine"),
            ("P_two", "2"),
            ("pass", "secret"),
            ("KEY", "2"),
            ("SECRET", "secret"),
            ("IP", "10.42.0.5"),
            ("LABEL", "web"),
            ("SA", "sa"),
            ("CPU", "500"),
            ("MEMORY", "1073741824"),
            ("URL", "http://10.42.0.5:80/$(UNKNOWN)/$(IP)"),
            ("KUBERNETES_SERVICE_HOST", "10.43.0.1"),
            ("MY_WEB_SERVICE_HOST", "10.43.0.9"),
            ("MY_WEB_SERVICE_PORT_HTTP", "80"),
            ("MY_WEB_PORT", "tcp://10.43.0.9:80"),
            ("MY_WEB_PORT_80_TCP_ADDR", "10.43.0.9"),
        ];
        for (name, value) in expected {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!env.contains_key("MAYBE") && !env.contains_key("NO_SERVICE_HOST"));
    }

    #[test]
    fn what_is_missing_is_named_as_upstream_names_it() {
        let one = |source: serde_json::Value| {
            built(json!({"name": "c", "env": [{"name": "X", "valueFrom": source}]}), &fetched())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(one(json!({"configMapKeyRef": {"name": "x", "key": "k"}})), "configmap \"x\" not found");
        assert_eq!(one(json!({"secretKeyRef": {"name": "x", "key": "k"}})), "secret \"x\" not found");
        assert_eq!(
            one(json!({"configMapKeyRef": {"name": "cm", "key": "k"}})),
            "couldn't find key k in ConfigMap ns/cm"
        );
    }
}
