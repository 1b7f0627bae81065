//! The API server's HTTP side: what comes in by a socket or from the same process goes through
//! routing, authorization and the pipeline, and comes out as Kubernetes answers.

mod apart;
pub mod audit;
pub mod authn;
pub mod authz;
pub mod body;
pub mod cached;
mod deadline;
mod door;
pub mod endpoint;
mod flow;
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
pub mod upgrade;
pub mod view;
mod watch;
mod watch_socket;

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Instant;

use futures::FutureExt;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio_util::sync::CancellationToken;

use crate::api::status::{Failure, Result};
use crate::api::tunnel;
use crate::server::admission::Chain;
use crate::server::authorization::Authorization;
use crate::server::openapi::OpenApi;
use crate::server::pipeline::query::Query;
use crate::server::pipeline::{Pipeline, ServiceRanges, random};
use crate::server::subresource::Subresources;
use crate::server::tunnel::Tunnels;
use crate::store::Store;
use audit::{Audit, Trail};
use authn::{Authenticator, Certificate, Connection, Notes, User};
use authz::{Authorizer, Decision};
use body::Body;
use endpoint::Endpoints;
use flow::FlowControl;
use health::{Health, Scope};
use metrics::{Metrics, Told};
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
    /// The agents' ways in.
    pub tunnels: Arc<Tunnels>,
    /// How others verify the tokens of ServiceAccounts, where there is a key that signs them.
    pub openid: Option<OpenId>,
    /// `None` records nothing.
    pub audit: Option<Audit>,
    /// Requests from the network that are answered at once; watches and sessions do not count.
    pub inflight: usize,
}

/// Upstream's defaults for reading and for changing requests, together.
pub const INFLIGHT: usize = 400 + 200;

impl Default for ApiServerConfig {
    /// No way to log in; in-process callers only.
    fn default() -> Self {
        Self {
            authenticator: Authenticator::default(),
            admission: Chain::standard(),
            subresources: Subresources::standard(None),
            services: ServiceRanges::default(),
            endpoints: Endpoints::default(),
            tunnels: Arc::default(),
            openid: None,
            audit: None,
            inflight: INFLIGHT,
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
    audit: Option<Audit>,
    flow: FlowControl,
    /// The process was told to stop.
    stopping: Arc<AtomicBool>,
    subresources: Subresources,
    endpoints: Endpoints,
    tunnels: Arc<Tunnels>,
    openid: Option<OpenId>,
    openapi: OpenApi,
}

impl ApiServer {
    pub fn new(config: ApiServerConfig, store: Arc<dyn Store>) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let health = health(&store, &stopping);
        let metrics = Arc::new(Metrics::new(store.clone()));
        let authorization = Arc::new(Authorization::standard(&store));
        let flow = FlowControl::new(store.clone(), metrics.clone(), config.inflight);
        metrics.add(|registry| {
            flow.register(registry);
            config.admission.register(registry);
            config.authenticator.register(registry);
            config.tunnels.register(registry);
        });
        let pipeline = Arc::new(Pipeline::new(store, config.admission, config.services));
        let ApiServerConfig { authenticator, subresources, endpoints, tunnels, openid, audit, .. } = config;
        if let Some(audit) = &audit {
            metrics.add(|registry| audit.register(registry));
        }
        let openapi = OpenApi::new(metrics.burst());
        let inner = Inner {
            pipeline,
            authenticator,
            authorization,
            health,
            metrics,
            audit,
            flow,
            stopping,
            subresources,
            endpoints,
            tunnels,
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

    /// Writes what of the audit log waits for the disk; nothing is recorded after this.
    pub async fn close_audit(&self) {
        if let Some(audit) = &self.inner.audit {
            audit.close().await;
        }
    }

    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.inner.pipeline
    }

    /// A request from the network: authentication, then [`Self::handle`].
    pub async fn serve(&self, connection: &Connection, mut request: Request<Body>) -> Response<Body> {
        if let Some(peer) = connection.peer {
            request.extensions_mut().insert(peer);
        }
        if request.uri().path() == tunnel::PATH
            && let Some(Certificate::Subject(shown)) = &connection.certificate
        {
            request.extensions_mut().insert(shown.clone());
        }
        if let Some(left) = connection.certificate.as_ref().and_then(Certificate::time_left) {
            self.inner.metrics.certificate(left);
        }
        let (mut notes, begun) = (Notes::default(), Instant::now());
        let found = self.inner.authenticator.request(connection, request.headers(), &mut notes);
        self.inner.metrics.access.authenticated(found.as_ref().ok(), begun.elapsed());
        if !notes.is_empty() {
            request.extensions_mut().insert(notes);
        }
        match found {
            Ok(user) => self.answer(user, request, connection.closing.clone()).await,
            Err(failure) => self.unauthenticated(&failure, request).await,
        }
    }

    async fn unauthenticated(&self, failure: &Failure, request: Request<Body>) -> Response<Body> {
        let audit_id = audit_id(request.headers());
        let trail = self.inner.audit.as_ref().and_then(|audit| {
            let query = Query::parse(request.uri().query());
            let info = route::request_info(request.method(), request.uri().path(), &query);
            audit.refused(audit_id.to_str().unwrap_or_default(), &info, &request, failure.code())
        });
        drop(request);
        if let Some(trail) = trail {
            trail.ended().await;
        }
        let mut response = respond::failure(failure, negotiate::Format::Json);
        respond::common(response.headers_mut(), Some(audit_id));
        response
    }

    /// Everything after authentication.
    pub async fn handle(&self, user: User, request: Request<Body>) -> Response<Body> {
        self.answer(user, request, CancellationToken::new()).await
    }

    /// Sessions end when `closing` is cancelled.
    async fn answer(&self, user: User, mut request: Request<Body>, closing: CancellationToken) -> Response<Body> {
        let audit_id = audit_id(request.headers());
        let query = Query::parse(request.uri().query());
        let format = negotiate::of_failures(request.headers(), &query);
        let info = route::request_info(request.method(), request.uri().path(), &query);
        let tried = metrics::Tried::of(&info, &query, request.headers());
        let running = Arc::new(self.inner.metrics.begin(tried));
        let lasts = running.lasts();
        let begun = match &self.inner.audit {
            Some(audit) => {
                let id = audit_id.to_str().unwrap_or_default();
                audit.request(id, &user, &info, &mut request, lasts).await
            }
            None => Ok(None),
        };
        let trail = begun.as_ref().ok().cloned().flatten();
        let notes = request.extensions_mut().remove::<Notes>();
        if let Some(writes) = running.writes() {
            request.extensions_mut().insert(writes.clone());
        }
        let session = lasts.then(|| Session::new(running.clone(), closing, trail.clone()));
        if let Some(session) = &session {
            request.extensions_mut().insert(session.clone());
        }
        let mut response = match begun {
            Ok(_) => self.caught(user, info, query, request, format).await,
            Err(refusal) => *refusal,
        };
        respond::common(response.headers_mut(), Some(audit_id));
        if let Some(notes) = notes {
            respond::warn(response.headers_mut(), notes.warnings);
        }
        running.answered(&response);
        if let Some(trail) = &trail {
            response = trail.answered(response, lasts).await;
        }
        match session {
            Some(session) => response.map(|body| session.hold(body)),
            None => response,
        }
    }

    /// A handler that panics takes no more than its own request with it.
    async fn caught(
        &self,
        user: User,
        info: RequestInfo,
        query: Query,
        request: Request<Body>,
        format: negotiate::Format,
    ) -> Response<Body> {
        let trail = request.extensions().get::<Arc<Trail>>().cloned();
        let result = match AssertUnwindSafe(self.in_time(user, info, query, request, format)).catch_unwind().await {
            Ok(result) => result,
            Err(panic) => {
                if let Some(trail) = trail {
                    trail.panicked(&panic_text(panic.as_ref())).await;
                }
                let text = "This request caused apiserver to panic. Look in the logs for details.";
                return respond::error(500, text.to_owned());
            }
        };
        result.unwrap_or_else(|failure| respond::failure(&failure, format))
    }

    /// Until the request's deadline, where it has one.
    async fn in_time(
        &self,
        user: User,
        info: RequestInfo,
        query: Query,
        request: Request<Body>,
        format: negotiate::Format,
    ) -> Result<Response<Body>> {
        if request.extensions().get::<Session>().is_some() {
            return self.admitted(user, info, query, request, format).await;
        }
        let (limit, missed) = (deadline::asked(&query)?, deadline::missed(&info));
        let answer = self.admitted(user, info, query, request, format);
        tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
            let mut response = respond::failure(&missed, format);
            response.extensions_mut().insert(Told::Terminated);
            Ok(response)
        })
    }

    /// The user as whom the request is treated.
    async fn impersonated(&self, real: User, request: &mut Request<Body>) -> Result<User> {
        authn::strip(request.headers_mut());
        let before = real.clone();
        let user = authn::impersonate::user(self.inner.authorization.as_ref(), real, request.headers_mut()).await?;
        if let Some(trail) = request.extensions().get::<Arc<Trail>>().filter(|_| user != before) {
            trail.impersonates(&user);
        }
        Ok(user)
    }

    /// Waits its turn, where many come from the network at once; what lasts is not held up, and a watch only until it
    /// has begun.
    async fn admitted(
        &self,
        user: User,
        info: RequestInfo,
        query: Query,
        mut request: Request<Body>,
        format: negotiate::Format,
    ) -> Result<Response<Body>> {
        let user = self.impersonated(user, &mut request).await?;
        let extensions = request.extensions();
        let begins = info.verb == "watch" || extensions.get::<Session>().is_none();
        let held_up = extensions.get::<SocketAddr>().is_some() && begins;
        if !held_up {
            return self.authorized(user, info, query, request, format).await;
        }
        let admitted = match self.inner.flow.admit(&user, &info, &query).await {
            Ok(admitted) => admitted,
            Err(refusal) => return Ok(*refusal),
        };
        let result = self.authorized(user, info, query, request, format).await;
        let mut response = result.unwrap_or_else(|failure| respond::failure(&failure, format));
        admitted.answered(&mut response);
        Ok(response)
    }

    async fn authorized(
        &self,
        user: User,
        info: RequestInfo,
        query: Query,
        request: Request<Body>,
        format: negotiate::Format,
    ) -> Result<Response<Body>> {
        let begun = Instant::now();
        let decision = self.inner.authorization.authorize(&user, &info).await;
        self.inner.metrics.access.authorized(&decision, begun.elapsed());
        if let Some(trail) = request.extensions().get::<Arc<Trail>>() {
            trail.decided(&decision);
        }
        authz::settle(decision, &user, &info)?;
        if info.is_resource {
            return self.resource(Arc::new(user), info, query, request, format).await;
        }
        if info.path == tunnel::PATH {
            return self.inner.tunnels.accept(self.inner.pipeline.store(), &user, &info, request);
        }
        if let Some(endpoint) = self.inner.endpoints.get(info.path.as_str()) {
            let (parts, body) = request.into_parts();
            let answer = endpoint.serve(&parts.method, body::read(body).await?).await?;
            return respond::value(200, &answer, negotiate::accept(&parts.headers, &query)?.format);
        }
        self.non_resource(&info, &query, &request.into_parts().0, format).await
    }

    /// What the authorizer says, for reviews and for subresources that ask about more than their own path.
    pub async fn decide(&self, user: &User, request: &RequestInfo) -> Decision {
        self.inner.authorization.authorize(user, request).await
    }

    /// Who decides, for reviews that ask for more than a decision.
    pub fn authorization(&self) -> &Arc<Authorization> {
        &self.inner.authorization
    }

    /// Who answers for tokens, for reviews.
    pub fn authenticator(&self) -> &Authenticator {
        &self.inner.authenticator
    }

    /// A service that makes every request as `user`: the in-process client's transport.
    pub fn as_user(&self, user: User) -> InProcess {
        InProcess { server: self.clone(), user, agent: None }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown").to_owned()
}

/// The request's own id, or a new one.
fn audit_id(headers: &HeaderMap) -> HeaderValue {
    let new = || HeaderValue::from_str(&random::uid()).unwrap_or_else(|_| HeaderValue::from_static(""));
    headers.get("audit-id").cloned().unwrap_or_else(new)
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
    agent: Option<HeaderValue>,
}

impl InProcess {
    /// Its requests say that they are from this program, which is then the manager of the fields that they write.
    #[must_use]
    pub fn program(self, name: &'static str) -> Self {
        Self { agent: Some(HeaderValue::from_static(name)), ..self }
    }
}

impl tower::Service<Request<kube::client::Body>> for InProcess {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = std::result::Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<kube::client::Body>) -> Self::Future {
        let Self { server, user, agent } = self.clone();
        if let Some(agent) = agent {
            request.headers_mut().insert(USER_AGENT, agent);
        }
        Box::pin(async move {
            let (method, begun) = (request.method().clone(), Instant::now());
            let response = server.handle(user, request.map(body::wrap)).await;
            let code = Some(response.status().as_u16());
            server.inner.metrics.own_requests.answered(&method, code, begun.elapsed());
            Ok(response)
        })
    }
}
