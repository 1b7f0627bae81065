//! `pods/log`, `pods/exec`, `pods/attach` and `pods/portforward`: which container on which kubelet, in
//! the kubelet's own paths and parameters. The messages about containers are upstream's.

use async_trait::async_trait;
use http::Response;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use super::kubelet::Kubelets;
use super::{Call, Handler, log_options};
use crate::api::gvk::GroupResource;
use crate::api::status::{Failure, Result};
use crate::server::http::body::{Body, empty};

/// What is asked of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Log,
    Exec,
    Attach,
    PortForward,
}

impl Stream {
    pub const ALL: [Self; 4] = [Self::Log, Self::Exec, Self::Attach, Self::PortForward];

    /// The subresource.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
        }
    }
}

/// Answers from the pod's kubelet.
pub struct Streams {
    kubelets: Kubelets,
    stream: Stream,
}

impl Streams {
    pub fn new(kubelets: Kubelets, stream: Stream) -> Self {
        Self { kubelets, stream }
    }
}

#[async_trait]
impl Handler for Streams {
    async fn serve(&self, call: Call) -> Result<Response<Body>> {
        let pipeline = call.pipeline();
        let (namespace, name) = (&call.context.namespace, &call.context.name);
        let missing = || Failure::not_found(call.context.kind.meta().resource(), name);
        let pod: Pod = pipeline.reader().get(namespace, name)?.ok_or_else(missing)?;
        let query = call.request.uri().query().unwrap_or_default().as_bytes();
        let query: Vec<_> = url::form_urlencoded::parse(query).into_owned().collect();
        if self.stream == Stream::Log {
            log_options::check(name, &query)?;
        }
        let path = kubelet_path(&pod, self.stream, &query)?;
        let host = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        if host.is_empty() {
            // A pod without a node has written nothing yet: that is an empty log, but no place to run a command.
            return match self.stream {
                Stream::Log => Ok(Response::new(empty())),
                _ => Err(Failure::bad_request(format!("pod {name} does not have a host assigned"))),
            };
        }
        let nodes = GroupResource { group: "", resource: "nodes" };
        let node: Node = pipeline.reader().get("", host)?.ok_or_else(|| Failure::not_found(nodes, host))?;
        self.kubelets.forward(&node, &path, call.request).await
    }
}

fn kubelet_path(pod: &Pod, stream: Stream, query: &[(String, String)]) -> Result<String> {
    let (name, namespace) = (&pod.metadata.name, &pod.metadata.namespace);
    let (name, namespace) = (name.as_deref().unwrap_or_default(), namespace.as_deref().unwrap_or_default());
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    if stream == Stream::PortForward {
        out.extend_pairs(query.iter().filter(|(key, _)| key == "ports"));
        return Ok(with_query(format!("/portForward/{namespace}/{name}"), &out.finish()));
    }
    let wanted = query.iter().find(|(key, _)| key == "container").map(|(_, value)| value.as_str());
    let container = container(pod, stream, wanted.unwrap_or_default())?;
    let room = match stream {
        Stream::Log => "containerLogs",
        Stream::Exec => "exec",
        _ => "attach",
    };
    for (key, value) in query.iter().filter(|(key, _)| key != "container") {
        match (stream, kubelet_name(key)) {
            (Stream::Log, _) => drop(out.append_pair(key, value)),
            (_, Some(short)) if truth(value) => drop(out.append_pair(short, "1")),
            (Stream::Exec, _) if key == "command" => drop(out.append_pair("command", value)),
            _ => {}
        }
    }
    Ok(with_query(format!("/{room}/{namespace}/{name}/{container}"), &out.finish()))
}

fn with_query(path: String, query: &str) -> String {
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// The kubelet's names for the API's stream parameters.
fn kubelet_name(key: &str) -> Option<&'static str> {
    Some(match key {
        "stdin" => "input",
        "stdout" => "output",
        "stderr" => "error",
        "tty" => "tty",
        _ => return None,
    })
}

/// As apimachinery's query conversion reads booleans.
fn truth(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "false" | "0")
}

/// The container meant: the one named, or the only one, or the one the pod's annotation prefers.
fn container(pod: &Pod, stream: Stream, wanted: &str) -> Result<String> {
    let none = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&none);
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let running: Vec<&str> = spec.containers.iter().map(|c| c.name.as_str()).collect();
    let init: Vec<&str> = spec.init_containers.iter().flatten().map(|c| c.name.as_str()).collect();
    let ephemeral: Vec<&str> = spec.ephemeral_containers.iter().flatten().map(|c| c.name.as_str()).collect();
    if !wanted.is_empty() {
        return match running.iter().chain(&init).chain(&ephemeral).any(|known| *known == wanted) {
            true => Ok(wanted.to_owned()),
            false => Err(Failure::bad_request(format!("container {wanted} is not valid for pod {name}"))),
        };
    }
    match running.as_slice() {
        [] => Err(Failure::bad_request(format!("a container name must be specified for pod {name}"))),
        [only] => Ok((*only).to_owned()),
        // Upstream's exec takes the first; its log insists on a name.
        [first, ..] if stream != Stream::Log => Ok((*first).to_owned()),
        several => {
            let mut message =
                format!("a container name must be specified for pod {name}, choose one of: [{}]", several.join(" "));
            for (title, names) in [("init", &init), ("ephemeral", &ephemeral)] {
                if !names.is_empty() {
                    message.push_str(&format!(" or one of the {title} containers: [{}]", names.join(" ")));
                }
            }
            Err(Failure::bad_request(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(containers: &[&str]) -> Pod {
        let containers: Vec<_> = containers.iter().map(|name| json!({"name": name})).collect();
        let init = json!([{"name": "setup"}]);
        let spec = json!({"containers": containers, "initContainers": init});
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec})).unwrap()
    }

    fn query(text: &str) -> Vec<(String, String)> {
        url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }

    #[test]
    fn parameters_become_the_kubelets() {
        let cases = [
            (Stream::Log, "follow=true&tailLines=5", "/containerLogs/ns/p/a?follow=true&tailLines=5"),
            (Stream::Log, "container=setup", "/containerLogs/ns/p/setup"),
            (
                Stream::Exec,
                "command=ls&command=-l&stdout=true&stderr=1&stdin=false",
                "/exec/ns/p/a?command=ls&command=-l&output=1&error=1",
            ),
            (Stream::Attach, "stdin=true&tty=true&command=x", "/attach/ns/p/a?input=1&tty=1"),
            (Stream::PortForward, "ports=80", "/portForward/ns/p?ports=80"),
        ];
        for (stream, text, path) in cases {
            assert_eq!(kubelet_path(&pod(&["a"]), stream, &query(text)).unwrap(), path);
        }
        let path = kubelet_path(&pod(&["a"]), Stream::Exec, &query("stdin=perhaps&stdout=0")).unwrap();
        assert_eq!(path, "/exec/ns/p/a?input=1");
    }

    #[test]
    fn the_container_is_found_or_asked_for() {
        let two = pod(&["a", "b"]);
        assert_eq!(container(&two, Stream::Exec, "").unwrap(), "a");
        assert_eq!(container(&two, Stream::Log, "b").unwrap(), "b");
        let message =
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [setup]";
        assert_eq!(container(&two, Stream::Log, "").unwrap_err().message(), message);
        assert_eq!(container(&two, Stream::Log, "x").unwrap_err().message(), "container x is not valid for pod p");
    }
}
