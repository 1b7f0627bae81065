//! The API server's HTTP side: what comes in by a socket or from the same process goes through
//! routing, authorization and the pipeline, and comes out as Kubernetes answers.

pub mod authn;
pub mod authz;
pub mod body;
pub mod cached;
pub mod endpoint;
pub mod gzip;
pub mod health;
pub mod listener;
pub mod metrics;
pub mod negotiate;
mod non_resource;
pub mod openid;
mod resource;
pub mod respond;
pub mod route;
pub mod session;
pub mod view;
mod watch;
mod watch_socket;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use http::{Request, Response};
use tokio_util::sync::CancellationToken;

use crate::api::status::Result;
use crate::server::admission::Chain;
use crate::server::authorization::Authorization;
use crate::server::openapi::OpenApi;
use crate::server::pipeline::query::Query;
use crate::server::pipeline::{Pipeline, ServiceRanges};
use crate::server::subresource::Subresources;
use crate::store::Store;
use authn::{Authenticator, Connection, User};
use authz::{Authorizer, Decision};
use body::Body;
use endpoint::Endpoints;
use health::{Health, Scope};
use metrics::Metrics;
use openid::OpenId;
use route::RequestInfo;
use session::Session;

/// What an API server is made of, besides its store.
pub struct ApiServerConfig {
    pub authenticator: Authenticator,
    pub admission: Chain,
    pub subresources: Subresources,
    pub services: ServiceRanges,
    /// Paths of orch's own.
    pub endpoints: Endpoints,
    /// How others verify the tokens of ServiceAccounts, where there is a key that signs them.
    pub openid: Option<OpenId>,
}

impl Default for ApiServerConfig {
    /// No way to log in; in-process callers only.
    fn default() -> Self {
        Self {
            authenticator: Authenticator::default(),
            admission: Chain::standard(),
            subresources: Subresources::standard(None),
            services: ServiceRanges::default(),
            endpoints: Endpoints::default(),
            openid: None,
        }
    }
}

/// The API server. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    pipeline: Arc<Pipeline>,
    authenticator: Authenticator,
    authorization: Arc<Authorization>,
    health: Health,
    metrics: Arc<Metrics>,
    /// The process was told to stop.
    stopping: Arc<AtomicBool>,
    subresources: Subresources,
    endpoints: Endpoints,
    openid: Option<OpenId>,
    openapi: OpenApi,
}

impl ApiServer {
    pub fn new(config: ApiServerConfig, store: Arc<dyn Store>) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let health = health(&store, &stopping);
        let metrics = Arc::new(Metrics::new(store.clone()));
        let authorization = Arc::new(Authorization::standard(&store));
        let pipeline = Arc::new(Pipeline::new(store, config.admission, config.services));
        let ApiServerConfig { authenticator, subresources, endpoints, openid, .. } = config;
        let openapi = OpenApi::default();
        let inner = Inner {
            pipeline,
            authenticator,
            authorization,
            health,
            metrics,
            stopping,
            subresources,
            endpoints,
            openid,
            openapi,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Where other parts add their health checks.
    pub fn health(&self) -> &Health {
        &self.inner.health
    }

    /// Where other parts show what they count.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// From now on `/readyz` sends new clients elsewhere.
    pub fn shutting_down(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
    }

    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.inner.pipeline
    }

    /// A request from the network: authentication, then [`Self::handle`].
    pub async fn serve(&self, connection: &Connection, mut request: Request<Body>) -> Response<Body> {
        if let Some(peer) = connection.peer {
            request.extensions_mut().insert(peer);
        }
        match self.inner.authenticator.request(connection, request.headers()) {
            Ok(user) => self.answer(user, request, connection.closing.clone()).await,
            Err(failure) => {
                let mut response = respond::failure(&failure, negotiate::Format::Json);
                respond::common(response.headers_mut(), request.headers().get("audit-id").cloned());
                response
            }
        }
    }

    /// Everything after authentication.
    pub async fn handle(&self, user: User, request: Request<Body>) -> Response<Body> {
        self.answer(user, request, CancellationToken::new()).await
    }

    /// Sessions end when `closing` is cancelled.
    async fn answer(&self, user: User, mut request: Request<Body>, closing: CancellationToken) -> Response<Body> {
        let audit_id = request.headers().get("audit-id").cloned();
        let query = Query::parse(request.uri().query());
        let format = negotiate::accept(request.headers(), &query).unwrap_or_default().format;
        let info = route::request_info(request.method(), request.uri().path(), &query);
        let labels = metrics::Request::of(&info, request.headers());
        let lasts = labels.is_long_running();
        let running = Arc::new(self.inner.metrics.begin(labels));
        let session = lasts.then(|| Session::new(running.clone(), closing));
        if let Some(session) = &session {
            request.extensions_mut().insert(session.clone());
        }
        let result = self.authorized(user, info, query, request).await;
        let mut response = result.unwrap_or_else(|failure| respond::failure(&failure, format));
        respond::common(response.headers_mut(), audit_id);
        running.answered(response.status().as_u16());
        match session {
            Some(session) => response.map(|body| session.hold(body)),
            None => response,
        }
    }

    async fn authorized(
        &self,
        user: User,
        info: RequestInfo,
        query: Query,
        mut request: Request<Body>,
    ) -> Result<Response<Body>> {
        authn::strip(request.headers_mut());
        let authorizer = self.inner.authorization.as_ref();
        let user = authn::impersonate::user(authorizer, user, request.headers_mut()).await?;
        authz::check(authorizer, &user, &info).await?;
        if info.is_resource {
            return self.resource(Arc::new(user), info, query, request).await;
        }
        if let Some(endpoint) = self.inner.endpoints.get(info.path.as_str()) {
            let (parts, body) = request.into_parts();
            let answer = endpoint.serve(&parts.method, body::read(body).await?).await?;
            return respond::value(200, &answer, negotiate::accept(&parts.headers, &query)?.format);
        }
        self.non_resource(&info, &query, &request.into_parts().0).await
    }

    /// What the authorizer says, for reviews and for subresources that ask about more than their own path.
    pub async fn decide(&self, user: &User, request: &RequestInfo) -> Decision {
        self.inner.authorization.authorize(user, request).await
    }

    /// Who answers for tokens, for reviews.
    pub fn authenticator(&self) -> &Authenticator {
        &self.inner.authenticator
    }

    /// A service that makes every request as `user`: the in-process client's transport.
    pub fn as_user(&self, user: User) -> InProcess {
        InProcess { server: self.clone(), user }
    }
}

/// The checks that every API server has.
fn health(store: &Arc<dyn Store>, stopping: &Arc<AtomicBool>) -> Health {
    let health = Health::default();
    health.add("ping", Scope::Live, Arc::new(|| Ok(())));
    let (store, stopping) = (store.clone(), stopping.clone());
    let writes: health::Check = Arc::new(move || store.health().map_err(|error| error.to_string()));
    health.add("etcd", Scope::Live, writes.clone());
    health.add_component("etcd-0", writes);
    let shutdown = move || match stopping.load(Ordering::Relaxed) {
        true => Err("process is shutting down".to_owned()),
        false => Ok(()),
    };
    health.add(health::LAST, Scope::Ready, Arc::new(shutdown));
    health
}

/// Requests into this process's API server, without a socket.
#[derive(Clone)]
pub struct InProcess {
    server: ApiServer,
    user: User,
}

impl tower::Service<Request<kube::client::Body>> for InProcess {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let Self { server, user } = self.clone();
        Box::pin(async move { Ok(server.handle(user, request.map(body::wrap)).await) })
    }
}
