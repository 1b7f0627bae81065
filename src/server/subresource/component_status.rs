//! ComponentStatuses: how the scheduler, the controllers and the store are, made from the server's own health
//! checks when somebody asks. Nothing is stored.

use async_trait::async_trait;
use bytes::Bytes;
use http::Response;
use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{ComponentCondition, ComponentStatus};
use serde_json::{Value, json};

use super::{Call, Handler};
use crate::api::status::{Failure, Result};
use crate::server::http::body::Body;
use crate::server::http::respond;
use crate::server::http::view::{self, Include};
use crate::server::pipeline::list::Listed;
use crate::server::pipeline::options::ListOptions;
use crate::server::pipeline::selection::Selection;

pub struct ComponentStatuses;

#[async_trait]
impl Handler for ComponentStatuses {
    async fn serve(&self, call: Call) -> Result<Response<Body>> {
        let kind = &*call.context.kind;
        let include = Include::parse(call.query.get("includeObject"))?;
        let mut all = Vec::new();
        for (name, found) in call.server.health().components() {
            let object = serde_json::to_vec(&object(name, found)).map_err(Failure::internal)?;
            all.push((name, Bytes::from(object)));
        }
        let bytes = if call.info.name.is_empty() {
            let selection = Selection::parse(kind, &ListOptions::parse(&call.query)?)?;
            let mut items = Vec::new();
            for (_, object) in all {
                if selection.matches(kind, &object)? {
                    items.push(object);
                }
            }
            let revision = call.pipeline().store().revision();
            let listed = Listed { items, revision, continue_token: None, remaining: None };
            view::list(kind, &listed, call.accept.view, include)?
        } else {
            let wanted = all.into_iter().find(|(name, _)| *name == call.info.name);
            let missing = || Failure::not_found(kind.meta().resource(), &call.info.name);
            let (_, object) = wanted.ok_or_else(missing)?;
            view::object(kind, object, call.accept.view, include)?
        };
        let mut response = respond::bytes(200, bytes, call.accept.format)?;
        respond::warn(response.headers_mut(), call.context.take_warnings());
        Ok(response)
    }
}

fn object(name: &str, found: std::result::Result<(), String>) -> Value {
    let (status, message, error) = match found {
        Ok(()) => ("True", Some("ok".to_owned()), None),
        Err(why) => ("False", None, Some(why)),
    };
    let condition = ComponentCondition { type_: "Healthy".to_owned(), status: status.to_owned(), message, error };
    json!({
        "kind": ComponentStatus::KIND, "apiVersion": ComponentStatus::API_VERSION,
        "metadata": {"name": name, "creationTimestamp": null}, "conditions": [condition],
    })
}
