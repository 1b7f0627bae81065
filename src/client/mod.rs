//! The one client everything but the API server uses: `kube::Client`, over TLS or straight into this
//! process. Callers cannot tell which.

mod counted;
pub mod paths;
pub mod pinned;
mod remote;

use bytes::Bytes;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};

pub use counted::{Counts, counted};
pub use remote::remote;

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error("{0}")]
    Client(#[from] kube::Error),
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client whose requests go to `service`, in this process: no socket, no TLS.
pub fn in_process<S, B>(service: S) -> Client
where
    S: tower::Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Client::new(service, "default")
}

/// A client that reads where to go and who to be from a kubeconfig's text.
pub async fn from_kubeconfig(text: &str) -> Result<Client, ClientError> {
    let kubeconfig = Kubeconfig::from_yaml(text)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
