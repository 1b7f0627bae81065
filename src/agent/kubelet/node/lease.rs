//! The node's heartbeat: its Lease in kube-node-lease, renewed every ten seconds.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::PostParams;
use kube::{Api, Client};

const NAMESPACE: &str = "kube-node-lease";
/// Upstream's defaults: 40 s of validity, renewed at a quarter of it.
const DURATION: i32 = 40;
const EVERY: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(7);

/// Renews until dropped, and calls `beat` each time. A lease that somebody deleted is made again.
pub async fn keep(client: &Client, name: &str, node: &Node, beat: impl Fn()) {
    let api: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let mut held: Option<Lease> = None;
    let mut retry = RETRY;
    let mut failing = false;
    loop {
        match renew(&api, name, node, held.take()).await {
            Ok(lease) => {
                held = Some(lease);
                retry = RETRY;
                failing = false;
                beat();
                tokio::time::sleep(EVERY).await;
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(node = name, %error, "lease not renewed; trying until it is");
                }
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(LONGEST_RETRY);
            }
        }
    }
}

async fn renew(api: &Api<Lease>, name: &str, node: &Node, held: Option<Lease>) -> Result<Lease, kube::Error> {
    let held = match held {
        Some(lease) => Some(lease),
        None => api.get_opt(name).await?,
    };
    let params = PostParams::default();
    match held {
        Some(mut lease) => {
            let spec = lease.spec.get_or_insert_default();
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            spec.holder_identity = Some(name.to_owned());
            spec.lease_duration_seconds = Some(DURATION);
            api.replace(name, &params, &lease).await
        }
        None => api.create(&params, &new(name, node)).await,
    }
}

fn new(name: &str, node: &Node) -> Lease {
    let owner = node.metadata.uid.clone().map(|uid| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid,
        ..OwnerReference::default()
    });
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(DURATION),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    }
}
