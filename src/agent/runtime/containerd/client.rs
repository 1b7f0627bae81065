//! The gRPC connection to containerd: typed clients, the namespace and lease headers, and the mapping
//! of its status codes. Holds no state about images or containers. Used by every file beside it.

use containerd_client::services::v1::{
    containers_client::ContainersClient, content_client::ContentClient, diff_client::DiffClient,
    events_client::EventsClient, images_client::ImagesClient, leases_client::LeasesClient,
    snapshots::snapshots_client::SnapshotsClient, tasks_client::TasksClient, version_client::VersionClient,
};
use std::path::Path;

use jiff::Timestamp;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::agent::runtime::{Code, Error};

/// Larger than any answer that is not streamed; the generated configuration lets containerd send as much.
const MAX_MESSAGE: usize = 64 << 20;

#[derive(Clone)]
pub(super) struct Client {
    channel: Channel,
    namespace: MetadataValue<Ascii>,
}

impl Client {
    /// A connection that is made at the first call, and again after it broke.
    pub(super) fn new(socket: &Path, namespace: &str) -> Result<Self, Error> {
        let invalid = |message: String| Error::Runtime { code: Code::InvalidArgument, operation: "connect", message };
        let namespace = namespace.parse().map_err(|_| invalid(format!("invalid namespace {namespace:?}")))?;
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: http::Uri| {
            let path = path.clone();
            async move { tokio::net::UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
        });
        // The address is never looked up: the connector knows the socket.
        let endpoint = Endpoint::from_static("http://containerd.invalid");
        Ok(Self { channel: endpoint.connect_with_connector_lazy(connector), namespace })
    }

    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("containerd-namespace", self.namespace.clone());
        request
    }

    /// A request whose new resources the lease keeps from the garbage collector.
    pub(super) fn leased<T>(&self, lease: &MetadataValue<Ascii>, message: T) -> Request<T> {
        let mut request = self.request(message);
        request.metadata_mut().insert("containerd-lease", lease.clone());
        request
    }

    pub(super) fn namespace(&self) -> &str {
        self.namespace.to_str().unwrap_or_default()
    }

    pub(super) fn containers(&self) -> ContainersClient<Channel> {
        ContainersClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
    pub(super) fn content(&self) -> ContentClient<Channel> {
        ContentClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
    pub(super) fn diff(&self) -> DiffClient<Channel> {
        DiffClient::new(self.channel.clone())
    }
    pub(super) fn events(&self) -> EventsClient<Channel> {
        EventsClient::new(self.channel.clone())
    }
    pub(super) fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
    pub(super) fn leases(&self) -> LeasesClient<Channel> {
        LeasesClient::new(self.channel.clone())
    }
    pub(super) fn snapshots(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.channel.clone())
    }
    pub(super) fn tasks(&self) -> TasksClient<Channel> {
        TasksClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
    pub(super) fn version(&self) -> VersionClient<Channel> {
        VersionClient::new(self.channel.clone())
    }
}

/// Names the failed operation: `.map_err(rpc("create container"))`.
pub(super) fn rpc(operation: &'static str) -> impl Fn(Status) -> Error {
    move |status| match status.code() {
        // A lost connection; containerd's own "unavailable" (a locked reference) has a message of its own.
        tonic::Code::Unavailable => Error::Unavailable { message: format!("{operation}: {}", status.message()) },
        code => Error::Runtime { code: code_of(code), operation, message: status.message().to_owned() },
    }
}

fn code_of(code: tonic::Code) -> Code {
    match code {
        tonic::Code::NotFound => Code::NotFound,
        tonic::Code::AlreadyExists => Code::AlreadyExists,
        tonic::Code::InvalidArgument => Code::InvalidArgument,
        tonic::Code::DeadlineExceeded => Code::DeadlineExceeded,
        tonic::Code::PermissionDenied => Code::PermissionDenied,
        tonic::Code::FailedPrecondition => Code::FailedPrecondition,
        tonic::Code::Unavailable => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// `Ok(None)` instead of a NotFound.
pub(super) fn optional<T>(result: Result<tonic::Response<T>, Status>) -> Result<Option<T>, Status> {
    match result {
        Ok(response) => Ok(Some(response.into_inner())),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// `Ok(false)` when it already exists.
pub(super) fn created<T>(result: Result<tonic::Response<T>, Status>) -> Result<bool, Status> {
    match result {
        Ok(_) => Ok(true),
        Err(status) if status.code() == tonic::Code::AlreadyExists => Ok(false),
        Err(status) => Err(status),
    }
}

pub(super) fn timestamp(at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    // Go's zero time comes as a year-1 timestamp: that means "not yet".
    at.filter(|at| at.seconds > 0).and_then(|at| Timestamp::new(at.seconds, at.nanos).ok())
}
