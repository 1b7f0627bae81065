//! Carrying out the handlers of lifecycle hooks and probes: exec, HTTP GET, TCP connect, gRPC health, sleep.
//! Says what happened; what follows from it is for `probes` and `start`/`stop` to decide.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{grpc, http};
use crate::agent::runtime::{Error as RuntimeError, Runtime};
use crate::api::transport::dial_error;

/// What a handler found, with the text that goes to the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure(String),
    /// Nothing was learned: a probe does not count it.
    Unknown(String),
}

/// A container as its handlers reach it.
#[derive(Clone)]
pub struct Target {
    pub runtime: Arc<dyn Runtime>,
    pub container: Container,
    pub id: String,
    /// The pod's address; the node's for pods on the host's network.
    pub ip: std::net::IpAddr,
}

impl Target {
    /// A port by number or by the container's name for it.
    fn port(&self, port: &IntOrString) -> Result<u16, String> {
        match port {
            IntOrString::Int(number) => u16::try_from(*number).map_err(|_| format!("invalid port number: {number}")),
            IntOrString::String(name) => {
                let mut ports = self.container.ports.iter().flatten();
                let named = ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port);
                let number = named.and_then(|port| u16::try_from(port).ok()).or_else(|| name.parse().ok());
                number.ok_or_else(|| format!("couldn't find port: {name}"))
            }
        }
    }

    fn host(&self, given: Option<&str>) -> String {
        given.filter(|host| !host.is_empty()).map_or_else(|| self.ip.to_string(), str::to_owned)
    }

    pub async fn exec(&self, command: &[String], timeout: Duration) -> Outcome {
        match self.runtime.exec_sync(&self.id, command, Some(timeout)).await {
            Ok(output) if output.exit_code == 0 => Outcome::Success,
            Ok(output) => Outcome::Failure(String::from_utf8_lossy(&output.combined()).into_owned()),
            Err(RuntimeError::ExecTimeout { .. }) => {
                let command = command.join(" ");
                Outcome::Failure(format!("command timed out: {command:?} timed out after {}", short(timeout)))
            }
            Err(error) => Outcome::Unknown(error.rpc()),
        }
    }

    pub async fn http_get(&self, action: &HTTPGetAction, timeout: Duration) -> Outcome {
        let port = match self.port(&action.port) {
            Ok(port) => port,
            Err(why) => return Outcome::Unknown(why),
        };
        let headers = action.http_headers.iter().flatten();
        let request = http::Get {
            tls: action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: self.host(action.host.as_deref()),
            port,
            path: action.path.clone().unwrap_or_else(|| "/".to_owned()),
            headers: headers.map(|header| (header.name.clone(), header.value.clone())).collect(),
        };
        http::get(&request, timeout).await
    }

    pub async fn tcp(&self, port: &IntOrString, host: Option<&str>, timeout: Duration) -> Outcome {
        let port = match self.port(port) {
            Ok(port) => port,
            Err(why) => return Outcome::Unknown(why),
        };
        let address = format!("{}:{port}", bracketed(&self.host(host)));
        match tokio::time::timeout(timeout, tokio::net::TcpStream::connect(&address)).await {
            Ok(Ok(_)) => Outcome::Success,
            Ok(Err(error)) => Outcome::Failure(format!("dial tcp {address}: {}", dial_error(&error))),
            Err(_) => Outcome::Failure(format!("dial tcp {address}: i/o timeout")),
        }
    }

    pub async fn grpc(&self, port: i32, service: &str, timeout: Duration) -> Outcome {
        let Ok(port) = u16::try_from(port) else { return Outcome::Unknown(format!("invalid port number: {port}")) };
        let address = format!("{}:{port}", bracketed(&self.ip.to_string()));
        grpc::check(&address, service, timeout).await
    }

    /// A lifecycle hook, which has no timeout but the caller's.
    pub async fn hook(&self, handler: &LifecycleHandler) -> Outcome {
        const LONG: Duration = Duration::from_secs(24 * 3600);
        if let Some(action) = &handler.exec {
            return match self.exec(action.command.as_deref().unwrap_or_default(), LONG).await {
                Outcome::Unknown(why) => Outcome::Failure(why),
                other => other,
            };
        }
        if let Some(action) = &handler.http_get {
            return self.http_get(action, Duration::from_secs(60)).await;
        }
        if let Some(action) = &handler.tcp_socket {
            return self.tcp(&action.port, action.host.as_deref(), Duration::from_secs(60)).await;
        }
        if let Some(action) = &handler.sleep {
            let seconds = u64::try_from(action.seconds).unwrap_or(0);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
        Outcome::Success
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Go's short form of whole seconds.
fn short(duration: Duration) -> String {
    super::words::go_seconds(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX))
}
