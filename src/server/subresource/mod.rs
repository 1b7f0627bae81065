//! Subresources and virtual resources that are more than a window on their object: each is a
//! [`Handler`] in a file of its own, found by group, resource and name.
//!
//! `http` has authorized the request and checked the verb against the catalog before it comes here;
//! everything else (decoding, answers, upgrades) is the handler's.

mod authentication;
mod binding;
mod component_status;
pub mod dial;
mod eviction;
pub mod kubelet;
mod log_options;
mod proxy;
mod relay;
mod review;
mod streams;
mod token;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use http::request::Parts;
use http::{Request, Response};
use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::status::Result;
use crate::server::http::body::{self, Body};
use crate::server::http::negotiate::Accept;
use crate::server::http::route::RequestInfo;
use crate::server::http::{ApiServer, negotiate, respond};
use crate::server::pipeline::decode::{of_type, unfit};
use crate::server::pipeline::query::Query;
use crate::server::pipeline::{Context, Payload, Pipeline, go_error};
use crate::server::pki::token::Issuer;
use crate::server::strategy::Meta;

/// One request to a subresource.
pub struct Call {
    pub server: ApiServer,
    /// The parent's kind, namespace and name, and who asks.
    pub context: Context,
    pub info: RequestInfo,
    pub query: Query,
    pub accept: Accept,
    /// With its body, and its `OnUpgrade` where the connection can be upgraded.
    pub request: Request<Body>,
}

#[async_trait]
pub trait Handler: Send + Sync + 'static {
    async fn serve(&self, call: Call) -> Result<Response<Body>>;
}

type Name = (&'static str, &'static str, &'static str);

/// The handlers by group, resource and subresource (empty for a virtual resource).
#[derive(Clone, Default)]
pub struct Subresources(HashMap<Name, Arc<dyn Handler>>);

impl Subresources {
    /// Those that need nothing but the store; tokens where there is a key to sign them.
    pub fn standard(issuer: Option<Arc<Issuer>>) -> Self {
        let mut all = Self::default();
        all.add("", "pods", "binding", Arc::new(binding::Binding));
        all.add("", "bindings", "", Arc::new(binding::Binding));
        all.add("", "pods", "eviction", Arc::new(eviction::Evict));
        all.add("", "componentstatuses", "", Arc::new(component_status::ComponentStatuses));
        authentication::add(&mut all);
        review::add(&mut all);
        if let Some(issuer) = issuer {
            all.add("", "serviceaccounts", "token", Arc::new(token::Token::new(issuer)));
        }
        all
    }

    /// Those that the cluster's nodes and pods answer.
    pub fn add_streams(&mut self, kubelets: &kubelet::Kubelets) {
        for stream in streams::Stream::ALL {
            self.add("", "pods", stream.name(), Arc::new(streams::Streams::new(kubelets.clone(), stream)));
        }
        for of in proxy::Of::ALL {
            self.add("", of.resource(), "proxy", Arc::new(proxy::Proxy::new(kubelets.clone(), of)));
        }
    }

    pub fn add(&mut self, group: &'static str, resource: &'static str, name: &'static str, handler: Arc<dyn Handler>) {
        self.0.insert((group, resource, name), handler);
    }

    pub fn find(&self, group: &str, resource: &str, name: &str) -> Option<Arc<dyn Handler>> {
        self.0.get(&(group, resource, name) as &(&str, &str, &str)).cloned()
    }
}

impl Call {
    pub fn pipeline(&self) -> Arc<Pipeline> {
        self.server.pipeline().clone()
    }

    /// The rest of the call and the body as a `K`.
    pub async fn decode<K: DeserializeOwned + Resource>(self) -> Result<(Asked, K)> {
        self.decode_also(None).await
    }

    /// [`Self::decode`] of a kind that another version is taken for too.
    pub async fn decode_also<K: DeserializeOwned + Resource>(self, also: Option<&str>) -> Result<(Asked, K)> {
        let (parts, body) = self.request.into_parts();
        let media = negotiate::content(&parts.headers)?;
        let payload = Payload { bytes: body::read(body).await?, media };
        let meta = Meta::namespaced::<K>("");
        let mut json = payload.to_json_as(K::API_VERSION, K::KIND)?;
        if let Some(also) = also
            && let Ok(mut value) = serde_json::from_slice::<Value>(&json)
            && value.get("apiVersion").is_some_and(|said| said == also)
        {
            value["apiVersion"] = K::API_VERSION.into();
            json = value.to_string().into();
        }
        let json = of_type(&meta, &json).map_err(|error| error.into_failure(&meta, &json))?;
        let decoded = serde_json::from_slice(&json);
        let decoded = decoded.map_err(|error| unfit(&meta, &go_error::words(&json, &error, &meta)))?;
        let Self { server, context, info, query, accept, .. } = self;
        Ok((Asked { server, context, info, query, accept, parts }, decoded))
    }
}

/// A [`Call`] whose body was read.
pub struct Asked {
    pub server: ApiServer,
    pub context: Context,
    pub info: RequestInfo,
    pub query: Query,
    pub accept: Accept,
    pub parts: Parts,
}

impl Asked {
    pub fn dry_run(&self) -> bool {
        self.query.all("dryRun").any(|value| value == "All")
    }
    pub fn answer(&self, code: u16, value: &impl Serialize) -> Result<Response<Body>> {
        let mut response = respond::value(code, value, self.accept.format)?;
        respond::warn(response.headers_mut(), self.context.take_warnings());
        Ok(response)
    }
    /// 201 with `status: Success`.
    pub fn created(&self) -> Result<Response<Body>> {
        let status = Status { status: Some("Success".to_owned()), code: Some(201), ..Default::default() };
        self.answer(201, &status)
    }
}
