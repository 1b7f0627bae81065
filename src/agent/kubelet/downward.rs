//! The downward API: fields and resources of a pod as text, for environment variables and volumes. Pure.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceFieldSelector};

use super::env::Facts;
use super::model;
use crate::api::quantity::Quantity;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("unsupported fieldPath: {0}")]
    Path(String),
    #[error("unsupported container resource : {0}")]
    Resource(String),
    #[error("container {0} not found")]
    Container(String),
}

/// The text of a field; labels and annotations as a whole come as `key="value"` lines.
pub fn field(pod: &Pod, path: &str, facts: &Facts) -> Result<String, Error> {
    let meta = &pod.metadata;
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(Error::Path(path.to_owned())),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    let text = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "metadata.labels" => Some(lines(meta.labels.as_ref())),
        "metadata.annotations" => Some(lines(meta.annotations.as_ref())),
        "spec.nodeName" => Some(facts.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" | "status.hostIPs" => Some(facts.host_ip.clone()),
        "status.podIP" | "status.podIPs" => Some(facts.pod_ip.clone()),
        _ => return Err(Error::Path(path.to_owned())),
    };
    Ok(text.unwrap_or_default())
}

fn lines(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let lines: Vec<_> = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// A container's request or limit in units of the divisor, rounded up; an absent limit is the node's.
pub fn resource(
    spec: Option<&PodSpec>,
    container: Option<&Container>,
    reference: &ResourceFieldSelector,
    facts: &Facts,
) -> Result<String, Error> {
    let named = reference.container_name.as_deref().filter(|name| !name.is_empty());
    let found = named.and_then(|name| spec.and_then(|spec| model::find_container(spec, name)));
    let container = match named {
        Some(name) => &found.ok_or_else(|| Error::Container(name.to_owned()))?.1,
        None => container.ok_or_else(|| Error::Container(String::new()))?,
    };
    let unsupported = || Error::Resource(reference.resource.clone());
    let (list, name) = reference.resource.split_once('.').ok_or_else(unsupported)?;
    let resources = container.resources.as_ref();
    let limits = resources.and_then(|r| r.limits.as_ref());
    let requests = resources.and_then(|r| r.requests.as_ref());
    let milli = |quantity: &str| quantity.parse::<Quantity>().ok().map(|quantity| i128::from(quantity.milli()));
    let limit = limits.and_then(|list| list.get(name)).and_then(|quantity| milli(&quantity.0));
    let request = requests.and_then(|list| list.get(name)).and_then(|quantity| milli(&quantity.0));
    let node = match name {
        "cpu" => i128::from(facts.node_cpu),
        "memory" => i128::from(facts.node_memory) * 1000,
        "ephemeral-storage" => i128::from(facts.node_storage) * 1000,
        _ if name.starts_with("hugepages-") => 0,
        _ => return Err(unsupported()),
    };
    let value = match list {
        "limits" => limit.unwrap_or(node),
        "requests" => request.or(limit).unwrap_or(0),
        _ => return Err(unsupported()),
    };
    let divisor = reference.divisor.as_ref().and_then(|quantity| milli(&quantity.0)).filter(|divisor| *divisor > 0);
    let divisor = divisor.unwrap_or(1000);
    Ok(((value + divisor - 1) / divisor).to_string())
}
