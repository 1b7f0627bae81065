//! What every node of a cluster must know alike: read from the ConfigMap that the server writes, and kept, so that an
//! agent starts without the server too.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde::{Deserialize, Serialize};

use super::failure::{JoinError, Retry, unreached};
use super::{FIRST_RETRY, LONGEST_RETRY};
use crate::keys;
use crate::net::overlay::Backend;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "orch-cluster";
/// A server that does not answer within this is asked again later: what was kept is good enough to start.
const PATIENCE: Duration = Duration::from_secs(5);

/// As the ConfigMap's data has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cluster {
    pub cluster_cidr: Ipv4Net,
    pub service_cidr: Ipv4Net,
    pub cluster_dns: Ipv4Addr,
    pub cluster_domain: String,
    #[serde(with = "backend")]
    pub flannel_backend: Backend,
}

mod backend {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::net::overlay::Backend;

    pub fn serialize<S: Serializer>(backend: &Backend, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(backend.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Backend, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Cluster {
    /// Asks the server; what was kept in `file` counts where it does not answer.
    pub async fn learn(client: &Client, file: &Path) -> Result<Self, JoinError> {
        let kept = keys::read(file)?.and_then(|text| serde_json::from_str::<Self>(&text).ok());
        let mut retry = Retry::new(FIRST_RETRY, LONGEST_RETRY);
        loop {
            let why = match (tokio::time::timeout(PATIENCE, Self::ask(client)).await, &kept) {
                (Ok(Ok(asked)), _) => {
                    if kept.as_ref() != Some(&asked) {
                        keys::write_private(file, &serde_json::to_string(&asked).unwrap_or_default())?;
                    }
                    return Ok(asked);
                }
                (Ok(Err(error @ JoinError::Cluster(_))), _) => return Err(error),
                (found, Some(kept)) => {
                    let why = found.map_or_else(|_| "it does not answer".to_owned(), |error| said(error.err()));
                    tracing::warn!("starting without the server: {why}");
                    return Ok(kept.clone());
                }
                (found, None) => {
                    found.map_or_else(|_| "the server does not answer".to_owned(), |error| said(error.err()))
                }
            };
            retry.wait(why).await;
        }
    }

    async fn ask(client: &Client) -> Result<Self, JoinError> {
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        let map = maps.get(NAME).await.map_err(|error| match error {
            kube::Error::Api(status) => JoinError::Refused(status.message),
            other => JoinError::Refused(unreached(&other)),
        })?;
        let data = map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into())).collect();
        serde_json::from_value(serde_json::Value::Object(data)).map_err(|error| JoinError::Cluster(error.to_string()))
    }
}

fn said(error: Option<JoinError>) -> String {
    error.map(|error| error.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        let cluster = Cluster {
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            cluster_dns: "10.43.0.10".parse().unwrap(),
            cluster_domain: "cluster.local".to_owned(),
            flannel_backend: Backend::HostGateway,
        };
        let text = serde_json::to_string(&cluster).unwrap();
        assert!(text.contains("\"flannel-backend\":\"host-gw\""), "{text}");
        assert_eq!(serde_json::from_str::<Cluster>(&text).unwrap(), cluster);
    }
}
