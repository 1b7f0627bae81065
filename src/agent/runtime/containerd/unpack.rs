//! From layers in the content store to a stack of snapshots. Reads no layer itself: containerd's diff
//! service does. Idempotent; two at once do the work twice at worst and agree on the result.

use std::collections::HashMap;

use containerd_client::services::v1::ApplyRequest;
use containerd_client::services::v1::snapshots::{
    CommitSnapshotRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest,
};
use containerd_client::types::Mount;

use super::client::{Client, created, optional, rpc};
use super::content::{self, Labels, Lease};
use super::images::{Resolved, descriptor};
use crate::agent::images::manifest::{Descriptor, chain_ids};
use crate::agent::runtime::{Code, Error};

pub(super) const SNAPSHOTTER: &str = "overlayfs";

/// Makes the image's snapshots where they are missing and ties them to its configuration, so that they
/// live as long as the image does.
pub(super) async fn unpack(client: &Client, lease: &Lease, image: &Resolved) -> Result<(), Error> {
    if image.layers.len() != image.diff_ids.len() {
        let message = format!("{} layers but {} diff ids", image.layers.len(), image.diff_ids.len());
        return Err(Error::Runtime { code: Code::InvalidArgument, operation: "unpack", message });
    }
    let chain = chain_ids(&image.diff_ids);
    let Some(top) = chain.last() else { return Ok(()) };
    if !present(client, top).await? {
        let mut parent = String::new();
        for ((layer, diff_id), name) in image.layers.iter().zip(&image.diff_ids).zip(&chain) {
            if !present(client, name).await? {
                unpack_layer(client, lease, layer, diff_id, &parent, name).await?;
            }
            parent.clone_from(name);
        }
    }
    let reference = HashMap::from([(format!("containerd.io/gc.ref.snapshot.{SNAPSHOTTER}"), top.clone())]);
    content::label(client, lease, &image.id, reference).await
}

pub(super) async fn present(client: &Client, name: &str) -> Result<bool, Error> {
    let stat = StatSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: name.to_owned() };
    let found = optional(client.snapshots().stat(client.request(stat)).await).map_err(rpc("stat snapshot"))?;
    Ok(found.is_some())
}

async fn unpack_layer(
    client: &Client,
    lease: &Lease,
    layer: &Descriptor,
    diff_id: &str,
    parent: &str,
    name: &str,
) -> Result<(), Error> {
    let key = format!("extract-{} {name}", super::random_hex());
    let prepare = PrepareSnapshotRequest {
        snapshotter: SNAPSHOTTER.to_owned(),
        key: key.clone(),
        parent: parent.to_owned(),
        labels: Labels::new(),
    };
    let prepared = client.snapshots().prepare(client.leased(&lease.header, prepare)).await;
    let mounts = prepared.map_err(rpc("prepare snapshot"))?.into_inner().mounts;
    let result = apply(client, lease, layer, diff_id, mounts).await;
    if result.is_ok() {
        let commit = CommitSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            name: name.to_owned(),
            key: key.clone(),
            labels: Labels::new(),
        };
        let committed = client.snapshots().commit(client.leased(&lease.header, commit)).await;
        if created(committed).map_err(rpc("commit snapshot"))? {
            return Ok(());
        }
    }
    let remove = RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key };
    if let Err(error) = client.snapshots().remove(client.request(remove)).await {
        tracing::debug!(%error, "an unfinished snapshot stays until its lease expires");
    }
    result
}

async fn apply(
    client: &Client,
    lease: &Lease,
    layer: &Descriptor,
    diff_id: &str,
    mounts: Vec<Mount>,
) -> Result<(), Error> {
    let request = ApplyRequest { diff: Some(descriptor(layer)), mounts, payloads: HashMap::default(), sync_fs: false };
    let applied = client.diff().apply(client.leased(&lease.header, request)).await;
    let applied = applied.map_err(rpc("apply layer"))?.into_inner().applied.unwrap_or_default();
    if applied.digest == diff_id {
        return Ok(());
    }
    let message = format!("wrong diff id calculated on extraction {:?}, expected {diff_id:?}", applied.digest);
    Err(Error::Runtime { code: Code::InvalidArgument, operation: "unpack", message })
}
