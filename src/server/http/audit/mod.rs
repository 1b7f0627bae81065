//! The audit log: who asked for what and what came of it, as far as the policy asks.
//!
//! A request that is recorded has a [`Trail`]; each stage that it reaches becomes a line. Where no log is asked for, none
//! of this happens.

mod event;
mod log;
mod policy;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde_json::Value;

use self::event::{Event, ObjectReference};
pub use self::log::{Log, LogOptions, Mode};
use self::policy::{Level, Stage, Verdict};
pub use self::policy::{Policy, PolicyError};
use super::authn::{Notes, User};
use super::authz::Decision;
use super::body::{self, Body};
use super::negotiate::{self, Format};
use super::respond;
use super::route::RequestInfo;
use crate::api::duration;
use crate::server::pipeline::Payload;
use crate::server::pipeline::context::Annotations;

/// The longest part of a client's name that is recorded.
const MAX_AGENT: usize = 1024;
/// What takes longer is told how long it took.
const SLOW: Duration = Duration::from_millis(500);
/// Where requests of this process come from.
const LOOPBACK: &str = "::1";

/// What is counted, on whichever requests.
#[derive(Clone, Default)]
struct Counts {
    events: Counter,
    lost: Counter,
    levels: Family<[(&'static str, &'static str); 1], Counter>,
}

/// A policy and where its events go.
pub struct Audit {
    policy: Policy,
    log: Arc<Log>,
    counts: Counts,
}

impl Audit {
    pub fn new(policy: Policy, log: Log) -> Self {
        Self { policy, log: Arc::new(log), counts: Counts::default() }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let Counts { events, lost, levels } = self.counts.clone();
        registry.register("apiserver_audit_event", "Audit events recorded", events);
        registry.register("apiserver_audit_requests_rejected", "Audit events that could not be recorded", lost);
        registry.register("apiserver_audit_level", "Requests by the level at which they are recorded", levels);
    }

    /// Writes what waits, and takes no more.
    pub async fn close(&self) {
        self.log.close().await;
    }

    fn begin(&self, id: &str, user: Option<&User>, info: &RequestInfo, request: &Request<Body>) -> Option<Trail> {
        let verdict = self.policy.verdict(user, info);
        self.counts.levels.get_or_create(&[("level", verdict.level.as_str())]).inc();
        if verdict.level == Level::None {
            return None;
        }
        let mut event = Event::new(verdict.level, id.to_owned(), Timestamp::now());
        event.request_uri = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        event.verb.clone_from(&info.verb);
        event.user = user.map(event::User::from).unwrap_or_default();
        event.source_ips = source_ips(request);
        event.user_agent = agent(request.headers());
        event.object_ref = info.is_resource.then(|| ObjectReference {
            resource: info.resource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            api_group: info.group.clone(),
            api_version: info.version.clone(),
            subresource: info.subresource.clone(),
            ..ObjectReference::default()
        });
        let noted = request.extensions().get::<Notes>().map(|notes| notes.annotations.clone()).unwrap_or_default();
        Some(Trail {
            event: Mutex::new(event),
            begun: Instant::now(),
            annotations: Arc::new(Mutex::new(noted)),
            complete: AtomicBool::new(false),
            verdict,
            log: self.log.clone(),
            counts: self.counts.clone(),
        })
    }

    /// Begins to record a request, if the policy says so. A body that belongs into the record is read here.
    ///
    /// # Errors
    /// What to answer where the body cannot be read, or the log not be written and nothing may happen unrecorded.
    pub(super) async fn request(
        &self,
        id: &str,
        user: &User,
        info: &RequestInfo,
        request: &mut Request<Body>,
        lasts: bool,
    ) -> Result<Option<Arc<Trail>>, Box<Response<Body>>> {
        let Some(trail) = self.begin(id, Some(user), info, request) else { return Ok(None) };
        let trail = Arc::new(trail);
        if !trail.reached(Stage::RequestReceived).await && self.log.mode == Mode::BlockingStrict {
            trail.complete.store(true, Ordering::Relaxed);
            return Err(Box::new(unrecorded(request)));
        }
        request.extensions_mut().insert(trail.annotations.clone());
        request.extensions_mut().insert(trail.clone());
        let mutates = matches!(info.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
        if mutates && !lasts && info.is_resource {
            let bytes = body::read(std::mem::replace(request.body_mut(), body::empty())).await;
            let bytes = bytes.map_err(|failure| Box::new(respond::failure(&failure, Format::Json)))?;
            trail.asked(request.headers(), &bytes, info.verb == "patch");
            *request.body_mut() = body::full(bytes);
        }
        Ok(Some(trail))
    }

    /// The record of a request whose credentials were wrong.
    pub(super) fn refused(&self, id: &str, info: &RequestInfo, request: &Request<Body>, code: u16) -> Option<Trail> {
        let trail = self.begin(id, None, info, request)?;
        let tried = match request.headers().contains_key(http::header::AUTHORIZATION) {
            true => "Authentication failed, attempted: bearer",
            false => "Authentication failed, no credentials provided",
        };
        let status = Status { message: Some(tried.to_owned()), code: Some(code.into()), ..Status::default() };
        trail.event.lock().response_status = Some(status.into());
        Some(trail)
    }
}

/// The record of one request while it is answered. A request that lasts is complete when this is dropped.
pub struct Trail {
    event: Mutex<Event>,
    begun: Instant,
    /// What the pipeline adds.
    annotations: Annotations,
    complete: AtomicBool,
    verdict: Verdict,
    log: Arc<Log>,
    counts: Counts,
}

impl Trail {
    fn line(&self, stage: Stage) -> Option<Vec<u8>> {
        if self.verdict.omit_stages.contains(&stage) {
            return None;
        }
        let mut event = self.event.lock();
        event.annotations.extend(self.annotations.lock().clone());
        let took = self.begun.elapsed();
        if stage == Stage::ResponseComplete && took > SLOW {
            event.annotations.insert("apiserver.latency.k8s.io/total".to_owned(), duration::format_go(took));
        }
        Some(event.line(stage, Timestamp::now()))
    }

    fn count(&self, taken: bool) {
        if taken { &self.counts.events } else { &self.counts.lost }.inc();
    }

    /// The one event of a request that got no further than its credentials.
    pub(super) async fn ended(&self) {
        self.reached(Stage::ResponseStarted).await;
        self.complete.store(true, Ordering::Relaxed);
    }

    /// False where the stage belongs into the log and is not there.
    async fn reached(&self, stage: Stage) -> bool {
        let Some(line) = self.line(stage) else { return true };
        let written = self.log.write(line).await;
        self.count(written);
        written
    }

    /// The request's handler panicked: its last event.
    pub(super) async fn panicked(&self, why: &str) {
        let status = Status {
            status: Some("Failure".to_owned()),
            reason: Some("InternalError".to_owned()),
            message: Some(format!("APIServer panic'd: {why}")),
            code: Some(500),
            ..Status::default()
        };
        self.event.lock().response_status = Some(status.into());
        self.reached(Stage::Panic).await;
        self.complete.store(true, Ordering::Relaxed);
    }

    /// The request's own object or patch.
    fn asked(&self, headers: &HeaderMap, bytes: &Bytes, is_patch: bool) {
        if bytes.is_empty() {
            return;
        }
        let media = negotiate::content(headers).ok();
        let json = match media.filter(|_| !is_patch) {
            Some(media) => Payload { bytes: bytes.clone(), media }.to_json().ok(),
            None => Some(bytes.clone()),
        };
        let Some(object) = json.and_then(|json| serde_json::from_slice::<Value>(&json).ok()) else { return };
        let mut event = self.event.lock();
        if let Some(reference) = event.object_ref.as_mut().filter(|_| !is_patch) {
            reference.complete(&object);
        }
        if self.verdict.level >= Level::Request {
            event.request_object = Some(self.shown(object));
        }
    }

    fn shown(&self, object: Value) -> Value {
        if self.verdict.omit_managed_fields { event::without_managed_fields(object) } else { object }
    }

    /// The request goes on as somebody else.
    pub(super) fn impersonates(&self, user: &User) {
        self.event.lock().impersonated_user = Some(user.into());
    }

    /// What the authorizer said.
    pub(super) fn decided(&self, decision: &Decision) {
        let (word, reason) = match decision {
            Decision::Allow(reason) => ("allow", reason),
            Decision::Deny(reason) => ("forbid", reason),
        };
        let annotations = &mut self.event.lock().annotations;
        annotations.insert("authorization.k8s.io/decision".to_owned(), word.to_owned());
        annotations.insert("authorization.k8s.io/reason".to_owned(), reason.clone());
    }

    /// Records the answer. One that lasts has only started; what remains is recorded when the last trail is dropped.
    pub(super) async fn answered(&self, response: Response<Body>, lasts: bool) -> Response<Body> {
        if self.complete.load(Ordering::Relaxed) {
            return response;
        }
        let code = i32::from(response.status().as_u16());
        let plain = Status { code: Some(code), ..Status::default() };
        if lasts && code < 400 {
            self.event.lock().response_status = Some(plain.into());
            self.reached(Stage::ResponseStarted).await;
            return response;
        }
        let (parts, body) = response.into_parts();
        let body = match body.collect().await {
            Ok(whole) => whole.to_bytes(),
            // What we made ourselves can be read.
            Err(_) => Bytes::new(),
        };
        let wanted = self.verdict.level == Level::RequestResponse;
        let object = (wanted || code >= 400 || self.event.lock().verb == "delete")
            .then(|| serde_json::from_slice::<Value>(&body).ok())
            .flatten();
        {
            let mut event = self.event.lock();
            event.response_status = Some(object.as_ref().and_then(status_of).unwrap_or(plain).into());
            event.response_object = object.filter(|_| wanted).map(|object| self.shown(object));
        }
        self.reached(Stage::ResponseComplete).await;
        self.complete.store(true, Ordering::Relaxed);
        Response::from_parts(parts, body::full(body))
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if !self.complete.load(Ordering::Relaxed)
            && let Some(line) = self.line(Stage::ResponseComplete)
        {
            self.count(self.log.try_write(line));
        }
    }
}

/// Upstream's answer is a text, not a Status.
fn unrecorded(request: &Request<Body>) -> Response<Body> {
    let uri = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    respond::error(500, format!("Internal Server Error: {uri:?}: failed to store audit event"))
}

/// The answer's Status, where it is one.
fn status_of(object: &Value) -> Option<Status> {
    let is_status = object["kind"] == "Status" && object["apiVersion"] == "v1";
    is_status.then(|| serde_json::from_value(object.clone()).ok()).flatten()
}

/// Everybody who says to have passed the request on, then who really sent it.
fn source_ips(request: &Request<Body>) -> Vec<String> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut ips: Vec<String> = Vec::new();
    let mut add = |text: &str| {
        if let Ok(ip) = text.trim().parse::<std::net::IpAddr>()
            && !ips.contains(&ip.to_string())
        {
            ips.push(ip.to_string());
        }
    };
    header("x-forwarded-for").split(',').for_each(&mut add);
    add(header("x-real-ip"));
    match request.extensions().get::<SocketAddr>() {
        Some(peer) => add(&peer.ip().to_canonical().to_string()),
        None => add(LOOPBACK),
    }
    ips
}

fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match agent.len() > MAX_AGENT {
        true => format!("{}...TRUNCATED", &agent[..MAX_AGENT]),
        false => agent.to_owned(),
    }
}
