//! Requests for resources: finds the kind, reads the options and the body, and hands over to the pipeline.

use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, HeaderMap, Request, Response};

use super::ApiServer;
use super::apart::{LARGE, MANY, apart};
use super::authn::User;
use super::body::{self, Body};
use super::negotiate::{self, Accept, Format, Shown};
use super::route::RequestInfo;
use super::view::{self, Include};
use super::{door, respond, upgrade, watch, watch_socket};
use crate::api::selector::FieldSelector;
use crate::api::status::{Failure, Result};
use crate::server::catalog::catalog;
use crate::server::discovery;
use crate::server::kinds::autoscaling::scale;
use crate::server::pipeline::context::{Annotations, Writes};
use crate::server::pipeline::options::{DeleteOptions, GetOptions, ListOptions, WriteKind, WriteOptions};
use crate::server::pipeline::patch::{Patch, PatchKind};
use crate::server::pipeline::query::Query;
use crate::server::pipeline::update::Part;
use crate::server::pipeline::{Answer, Context, KindRef, Payload, What, parts};
use crate::server::strategy::{Kind, Meta, Verb};
use crate::server::subresource::Call;

/// The kind a path names, where the path fits its scope.
fn find(info: &RequestInfo) -> Result<KindRef> {
    let kind = catalog().find(&info.group, &info.version, &info.resource).ok_or_else(Failure::no_route)?;
    let meta = kind.meta();
    let is_namespace = info.group.is_empty() && info.resource == "namespaces";
    let in_namespace = !info.namespace.is_empty() && !is_namespace;
    match (meta.namespaced, in_namespace) {
        (false, true) => Err(Failure::no_route()),
        (true, false) if !info.name.is_empty() => Err(Failure::no_route()),
        _ => Ok(KindRef::BuiltIn(kind)),
    }
}

/// What is only created is shown in no table.
fn has_table(info: &RequestInfo, meta: &Meta) -> bool {
    meta.verbs.contains(&Verb::Get) && !matches!(info.subresource.as_str(), "binding" | "eviction" | "token")
}

/// Everything the handlers below read of a request.
struct Asked {
    info: RequestInfo,
    query: Query,
    headers: HeaderMap,
    accept: Accept,
    include: Include,
}

/// The body of a request.
enum Sent {
    Nothing,
    Object(Payload),
    Patch(PatchKind, Bytes),
    Applied(Bytes),
}

impl Sent {
    async fn read(asked: &Asked, body: Body) -> Result<Self> {
        let headers = &asked.headers;
        Ok(match asked.info.verb.as_str() {
            "create" | "update" | "delete" | "deletecollection" => Self::Object(payload(headers, body).await?),
            "patch" if negotiate::content_type(headers) == negotiate::APPLY => Self::Applied(body::read(body).await?),
            "patch" => {
                let (kind, bytes) = patch_body(headers, body).await?;
                Self::Patch(kind, bytes)
            }
            _ => Self::Nothing,
        })
    }

    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Object(payload) => payload.bytes.len(),
            Self::Patch(_, bytes) | Self::Applied(bytes) => bytes.len(),
        }
    }
}

impl ApiServer {
    pub(super) async fn resource(
        &self,
        user: Arc<User>,
        info: RequestInfo,
        query: Query,
        request: Request<Body>,
        format: Format,
    ) -> Result<Response<Body>> {
        let kind = match find(&info) {
            // Below a group that there is, the API answers; below any other, nobody does.
            Err(_) if !discovery::has_group(&info.group) => return Ok(respond::page_not_found()),
            found => found?,
        };
        if let Some(refusal) = door::check(&info, kind.meta(), request.method(), request.headers(), format)? {
            return Ok(refusal);
        }
        // Watching one object by its path is watching the collection with a selector for its name.
        let name = if info.verb == "watch" { "" } else { info.name.as_str() };
        let namespace = if kind.meta().namespaced { info.namespace.as_str() } else { "" };
        let mut context = Context::new(user, kind, namespace, name);
        context.subresource.clone_from(&info.subresource);
        context.verb.clone_from(&info.verb);
        context.agent = agent(request.headers());
        context.authorizer = Some(self.inner.authorization.clone());
        if let Some(annotations) = request.extensions().get::<Annotations>() {
            context.annotations = annotations.clone();
        }
        context.writes = request.extensions().get::<Writes>().cloned();
        if let Some(warning) = context.kind.meta().deprecated {
            context.warn(warning);
            context.annotate("k8s.io/deprecated", "true");
            self.inner.metrics.deprecated(context.kind.meta(), &info.subresource);
        }
        if !has_table(&info, context.kind.meta()) {
            negotiate::without_table(request.headers(), &query)?;
        }
        if let Some(handler) = self.inner.subresources.find(&info.group, &info.resource, &info.subresource) {
            // Streams negotiate by themselves.
            let accept = negotiate::accept(request.headers(), &query).unwrap_or_default();
            return handler.serve(Call { server: self.clone(), context, info, query, accept, request }).await;
        }
        let accept = match info.verb.as_str() {
            "watch" => negotiate::stream(request.headers(), &query)?,
            _ => negotiate::accept(request.headers(), &query)?,
        };
        let include = match accept.view.shown {
            Shown::Table => Include::parse(query.get("includeObject"))?,
            _ => Include::default(),
        };
        let (parts, body) = request.into_parts();
        let asked = Asked { info, query, headers: parts.headers, accept, include };
        if asked.info.verb == "watch" {
            let mut extensions = parts.extensions;
            return self.watch(context, &asked, &mut extensions).await;
        }
        let sent = Sent::read(&asked, body).await?;
        let store = self.inner.pipeline.store();
        let large_there = || store.get(&context.key()).is_some_and(|item| item.value.len() > LARGE);
        let long = match asked.info.verb.as_str() {
            "list" | "deletecollection" => store.count(&context.prefix()) > MANY,
            "get" => false,
            "create" => sent.len() > LARGE,
            _ => sent.len() > LARGE || large_there(),
        };
        let work = self.clone().work(context, asked, sent);
        if long { apart(work).await } else { work.await }
    }

    async fn work(self, context: Context, asked: Asked, sent: Sent) -> Result<Response<Body>> {
        let shown = match asked.info.verb.as_str() {
            "list" => self.list(&context, &asked).await,
            "deletecollection" => self.delete_collection(&context, &asked, &sent).await,
            _ => match self.single(&context, &asked, &sent).await {
                Ok(answer) => show(&context, answer, &asked).await,
                Err(failure) => Ok(respond::failure(&failure, asked.accept.format)),
            },
        };
        let mut response = shown?;
        respond::warn(response.headers_mut(), context.take_warnings());
        Ok(response)
    }

    async fn single(&self, context: &Context, asked: &Asked, sent: &Sent) -> Result<Answer> {
        let pipeline = &self.inner.pipeline;
        let query = &asked.query;
        let info = &asked.info;
        let scale = info.subresource == "scale";
        let part = match parts::part(&info.group, &info.resource, &info.subresource) {
            Some(part) => part,
            None if scale => Part::Main,
            None => return Err(Failure::no_route()),
        };
        match (info.verb.as_str(), sent) {
            ("get", _) if scale => pipeline.scale(context),
            ("get", _) => pipeline.get(context, &GetOptions::parse(query)?).await,
            ("create", Sent::Object(payload)) => {
                pipeline.create(context, payload, &WriteOptions::parse(query, WriteKind::Create)?).await
            }
            ("update", Sent::Object(payload)) => {
                let options = WriteOptions::parse(query, WriteKind::Update)?;
                match scale {
                    true => pipeline.update_scale(context, payload, &options).await,
                    false => pipeline.update(context, payload, &options, part).await,
                }
            }
            ("patch", Sent::Applied(config)) => {
                let options = WriteOptions::parse(query, WriteKind::Apply)?;
                match scale {
                    true => pipeline.apply_scale(context, config, &options).await,
                    false => pipeline.apply(context, config.clone(), &options, part).await,
                }
            }
            ("patch", Sent::Patch(kind, bytes)) => {
                let options = WriteOptions::parse(query, WriteKind::Patch)?;
                let patch = Patch::parse(*kind, bytes, options.field_validation)?;
                match scale {
                    true => pipeline.patch_scale(context, &patch, &options).await,
                    false => pipeline.patch(context, &patch, &options, part).await,
                }
            }
            ("delete", Sent::Object(payload)) => {
                pipeline.delete(context, &DeleteOptions::parse(query, &delete_options(payload)?)?).await
            }
            _ => Err(Failure::method_not_allowed()),
        }
    }

    async fn list(&self, context: &Context, asked: &Asked) -> Result<Response<Body>> {
        let options = ListOptions::parse(&asked.query)?;
        let listed = self.inner.pipeline.list(context, &options).await?;
        let bytes = view::list(&*context.kind, &listed, asked.accept.view, asked.include)?;
        respond::negotiated(200, bytes, asked.accept.format, &asked.headers).await
    }

    async fn delete_collection(&self, context: &Context, asked: &Asked, sent: &Sent) -> Result<Response<Body>> {
        let list = ListOptions::parse(&asked.query)?;
        let Sent::Object(payload) = sent else { return Err(Failure::method_not_allowed()) };
        let options = DeleteOptions::parse(&asked.query, &delete_options(payload)?)?;
        let listed = self.inner.pipeline.delete_collection(context, &list, &options).await?;
        let bytes = view::list(&*context.kind, &listed, asked.accept.view, asked.include)?;
        respond::negotiated(200, bytes, asked.accept.format, &asked.headers).await
    }

    async fn watch(&self, context: Context, asked: &Asked, extensions: &mut Extensions) -> Result<Response<Body>> {
        let mut options = ListOptions::parse(&asked.query)?;
        options.watch = true;
        // The old path of one object's watch.
        if !asked.info.name.is_empty() {
            options.field_selector = named(&asked.info.name, &options.field_selector)?;
        }
        let warnings = context.take_warnings();
        let stream = self.inner.pipeline.watch(context, &options).await?;
        let sent = self.inner.metrics.watch_events(stream.context().kind.meta());
        let events = watch::Events::new(stream, asked.accept, asked.include, sent);
        let mut response = match upgrade::is_asked_for(&asked.headers, watch_socket::PROTOCOL) {
            true => watch_socket::respond(events, &asked.headers, extensions)?,
            false => watch::respond(events),
        };
        respond::warn(response.headers_mut(), warnings);
        Ok(response)
    }
}

/// The selector of one object's watch; a selector of another object contradicts the path.
fn named(name: &str, selector: &str) -> Result<String> {
    let given = FieldSelector::parse(selector).map_err(|error| Failure::bad_request(error.to_string()))?;
    match given.exact("metadata.name") {
        _ if given.is_everything() => Ok(format!("metadata.name={name}")),
        Some(selected) if selected == name => Ok(selector.to_owned()),
        _ => Err(Failure::bad_request("fieldSelector metadata.name doesn't match requested name")),
    }
}

/// The manager's name is the first word of the client's.
fn agent(headers: &HeaderMap) -> String {
    let given = headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
    given.unwrap_or_default().to_owned()
}

fn delete_options(payload: &Payload) -> Result<Bytes> {
    payload.options_to_json("meta.k8s.io/v1", "DeleteOptions").map_err(|why| Failure::new(500, "", why))
}

async fn payload(headers: &HeaderMap, body: Body) -> Result<Payload> {
    let media = negotiate::content(headers)?;
    Ok(Payload { bytes: body::read(body).await?, media })
}

/// The body of a patch, and which kind its media type says it is.
async fn patch_body(headers: &HeaderMap, body: Body) -> Result<(PatchKind, Bytes)> {
    let kind = match negotiate::content_type(headers).as_str() {
        "application/json-patch+json" => PatchKind::Json,
        "application/merge-patch+json" => PatchKind::Merge,
        "application/strategic-merge-patch+json" => PatchKind::Strategic,
        _ => return Err(Failure::unsupported_media_type(&negotiate::PATCHES)),
    };
    Ok((kind, body::read(body).await?))
}

async fn show(context: &Context, answer: Answer, asked: &Asked) -> Result<Response<Body>> {
    let shown = |kind: &dyn Kind| view::object(kind, answer.bytes.clone(), asked.accept.view, asked.include);
    let bytes = match answer.what {
        What::Object => shown(&*context.kind)?,
        What::Scale => shown(scale::kind())?,
        What::Status => answer.bytes,
    };
    respond::negotiated(answer.code, bytes, asked.accept.format, &asked.headers).await
}
