//! How a tunnel begins and ends: an agent's request for it, as its node, which leaves HTTP/1.1 behind.

use std::sync::Arc;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio_util::sync::CancellationToken;

use super::{Tunnel, Tunnels, membership};
use crate::api::status::{Failure, Result};
use crate::api::tunnel::PROTOCOL;
use crate::server::authorization::RequestInfo;
use crate::server::authorization::node::{Identity, identify};
use crate::server::http::authn::CertificateSubject;
use crate::server::http::body::{Body, empty};
use crate::server::http::session::Session;
use crate::server::http::{authz, upgrade};
use crate::server::pipeline::user::User;
use crate::store::Store;

impl Tunnels {
    /// Answers a node's agent and keeps its tunnel for as long as both sides want. The request was authorized.
    ///
    /// # Errors
    /// 403 where it is not a node of this cluster that asks, with its certificate; 400 where the connection cannot become a tunnel.
    pub fn accept(
        self: &Arc<Self>,
        store: &Arc<dyn Store>,
        user: &User,
        info: &RequestInfo,
        mut request: Request<Body>,
    ) -> Result<Response<Body>> {
        let shown =
            request.extensions_mut().remove::<CertificateSubject>().filter(|shown| shown.user.name == user.name);
        let (Identity::Node(node), Some(shown)) = (identify(user), shown) else {
            return Err(authz::denied(user, info, "only a node may open a tunnel, and only its own"));
        };
        if let Some(why) = membership::refusal(store.as_ref(), node, &shown.key_fingerprint) {
            return Err(authz::denied(user, info, &why));
        }
        let asked = upgrade::is_asked_for(request.headers(), PROTOCOL);
        let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>().filter(|_| asked) else {
            return Err(Failure::bad_request("Upgrade request required"));
        };
        let session = request.extensions_mut().remove::<Session>();
        self.follow_nodes(store);
        let (tunnels, node) = (self.clone(), node.to_owned());
        tokio::spawn(async move {
            let work = tunnels.keep(&node, upgrade, shown.not_after);
            match session {
                Some(session) => session.run(work).await,
                None => work.await,
            }
            tracing::info!(node, "the node's tunnel is closed");
        });
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        Ok(response)
    }

    /// From the agent's last word of HTTP/1.1 to the tunnel's end.
    async fn keep(self: &Arc<Self>, node: &str, upgrade: OnUpgrade, not_after: i64) {
        // However this ends, what belongs to the tunnel ends with it.
        let closed = CancellationToken::new();
        let _end = closed.clone().drop_guard();
        let begun = async { Tunnel::begin(upgrade.await?, closed).await };
        let (tunnel, driver) = match begun.await {
            Ok(begun) => begun,
            Err(error) => return tracing::debug!(node, %error, "a tunnel did not begin"),
        };
        let tunnel = Arc::new(tunnel);
        let _listed = self.list(node, tunnel.clone());
        tracing::info!(node, "the node's agent has opened a tunnel");
        tokio::select! {
            ended = driver => if let Err(error) = ended {
                tracing::debug!(node, %error, "a tunnel ended");
            },
            () = tunnel.closed() => {}
            () = membership::expired(not_after) => tracing::info!(node, "the certificate of the tunnel has expired"),
        }
    }
}
