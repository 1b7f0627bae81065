//! Blobs in containerd's content store, and the leases that keep them while nothing refers to them yet.
//! Knows digests, not images. Called by import, pull and unpack.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use containerd_client::services::v1::{
    AbortRequest, CreateRequest, DeleteRequest, Info, InfoRequest, ReadContentRequest, UpdateRequest, WriteAction,
    WriteContentRequest,
};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tonic::metadata::{Ascii, MetadataValue};

use super::client::{Client, optional, rpc};
use crate::agent::images::manifest::Descriptor;
use crate::agent::runtime::{Code, Error};

pub(super) type Labels = HashMap<String, String>;

/// Metadata larger than this is refused.
const MAX_METADATA: u64 = 16 << 20;
/// containerd drops what an orch that was killed left leased after this time.
const LEASE_LIFE: Duration = Duration::from_secs(6 * 3600);

/// Keeps what is written under it from the garbage collector until it is released.
pub(super) struct Lease {
    client: Client,
    id: String,
    pub(super) header: MetadataValue<Ascii>,
}

impl Lease {
    pub(super) async fn new(client: &Client) -> Result<Self, Error> {
        let id = format!("orch-{}", super::random_hex());
        let expires = Timestamp::now().checked_add(LEASE_LIFE).unwrap_or(Timestamp::MAX);
        let labels = HashMap::from([("containerd.io/gc.expire".to_owned(), format!("{expires:.0}"))]);
        let request = client.request(CreateRequest { id: id.clone(), labels });
        client.leases().create(request).await.map_err(rpc("create lease"))?;
        let header = id.parse().map_err(|_| Error::Runtime {
            code: Code::Unknown,
            operation: "create lease",
            message: format!("unusable id {id:?}"),
        })?;
        Ok(Self { client: client.clone(), id, header })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let client = self.client.clone();
        let request = client.request(DeleteRequest { id: std::mem::take(&mut self.id), sync: false });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = client.leases().delete(request).await {
                    tracing::debug!(%error, "a lease stays until it expires");
                }
            });
        }
    }
}

/// One writer per digest in this process; containerd refuses a second one with an error.
#[derive(Default)]
pub(super) struct WriteLocks(parking_lot::Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl WriteLocks {
    fn of(&self, digest: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock();
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        locks.entry(digest.to_owned()).or_default().clone()
    }
}

pub(super) async fn exists(client: &Client, digest: &str) -> Result<Option<Info>, Error> {
    let request = client.request(InfoRequest { digest: digest.to_owned() });
    let found = optional(client.content().info(request).await).map_err(rpc("look up content"))?;
    Ok(found.and_then(|response| response.info))
}

pub(super) async fn read(client: &Client, digest: &str) -> Result<Vec<u8>, Error> {
    let request = client.request(ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 });
    let mut stream = client.content().read(request).await.map_err(rpc("read content"))?.into_inner();
    let mut content = Vec::new();
    while let Some(piece) = stream.message().await.map_err(rpc("read content"))? {
        content.extend_from_slice(&piece.data);
        if content.len() as u64 > MAX_METADATA {
            let message = format!("{digest} is larger than image metadata can be");
            return Err(Error::Runtime { code: Code::InvalidArgument, operation: "read content", message });
        }
    }
    Ok(content)
}

pub(super) async fn read_json<T: serde::de::DeserializeOwned>(client: &Client, digest: &str) -> Result<T, Error> {
    let content = read(client, digest).await?;
    serde_json::from_slice(&content).map_err(|error| Error::Runtime {
        code: Code::InvalidArgument,
        operation: "parse image metadata",
        message: format!("{digest}: {error}"),
    })
}

/// Writes a blob unless it is there (then `open` is never polled); containerd verifies the digest. The labels are set either way.
pub(super) async fn write<S>(
    client: &Client,
    locks: &WriteLocks,
    lease: &Lease,
    blob: &Descriptor,
    labels: Labels,
    open: impl Future<Output = Result<S, Error>> + Send,
) -> Result<(), Error>
where
    S: Stream<Item = Result<Bytes, Error>> + Unpin + Send,
{
    let lock = locks.of(&blob.digest);
    let _writing = lock.lock().await;
    if exists(client, &blob.digest).await?.is_some() {
        return label(client, lease, &blob.digest, labels).await;
    }
    let reference = format!("orch-{}", blob.digest);
    // What a killed orch left half-written begins anew.
    let abort = client.request(AbortRequest { r#ref: reference.clone() });
    optional(client.content().abort(abort).await).map_err(rpc("abort content"))?;
    let (sender, receiver) = mpsc::channel(2);
    let messages = futures::stream::unfold(receiver, |mut receiver: mpsc::Receiver<WriteContentRequest>| async move {
        receiver.recv().await.map(|message| (message, receiver))
    });
    let commit = WriteContentRequest {
        action: WriteAction::Commit as i32,
        r#ref: reference,
        total: blob.size.cast_signed(),
        expected: blob.digest.clone(),
        labels,
        ..WriteContentRequest::default()
    };
    let drain = async {
        let request = client.leased(&lease.header, messages);
        let mut answers = client.content().write(request).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok::<_, tonic::Status>(())
    };
    let (fed, drained) = futures::join!(feed(open, sender, commit), drain);
    fed?;
    match drained {
        Err(status) if status.code() != tonic::Code::AlreadyExists => Err(rpc("write content")(status)),
        _ => Ok(()),
    }
}

async fn feed<S>(
    open: impl Future<Output = Result<S, Error>> + Send,
    sender: mpsc::Sender<WriteContentRequest>,
    mut commit: WriteContentRequest,
) -> Result<(), Error>
where
    S: Stream<Item = Result<Bytes, Error>> + Unpin + Send,
{
    let mut data = open.await?;
    let mut offset = 0;
    while let Some(chunk) = data.next().await {
        let chunk = chunk?;
        let write = WriteContentRequest {
            action: WriteAction::Write as i32,
            r#ref: commit.r#ref.clone(),
            total: commit.total,
            expected: commit.expected.clone(),
            offset,
            data: chunk.to_vec(),
            labels: Labels::new(),
        };
        offset += chunk.len() as i64;
        if sender.send(write).await.is_err() {
            // The other side ended; its answer says why.
            return Ok(());
        }
    }
    commit.offset = offset;
    let _ = sender.send(commit).await;
    Ok(())
}

/// Merges labels into a blob's own and puts the blob under the lease.
pub(super) async fn label(client: &Client, lease: &Lease, digest: &str, labels: Labels) -> Result<(), Error> {
    use containerd_client::services::v1::{AddResourceRequest, Resource};
    let resource = Resource { id: digest.to_owned(), r#type: "content".to_owned() };
    let request = client.request(AddResourceRequest { id: lease.id.clone(), resource: Some(resource) });
    client.leases().add_resource(request).await.map_err(rpc("lease content"))?;
    if labels.is_empty() {
        return Ok(());
    }
    let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
    let info = Info { digest: digest.to_owned(), labels, ..Info::default() };
    let request =
        client.request(UpdateRequest { info: Some(info), update_mask: Some(prost_types::FieldMask { paths }) });
    client.content().update(request).await.map_err(rpc("label content"))?;
    Ok(())
}
