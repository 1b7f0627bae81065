//! `serviceaccounts/<name>/token`: a TokenRequest, answered with a signed token.

use std::sync::Arc;

use async_trait::async_trait;
use http::Response;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestStatus};
use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{Call, Handler};
use crate::api::field::{Error, Path};
use crate::api::gvk::{GroupKind, GroupResource};
use crate::api::status::{Failure, Result};
use crate::server::http::body::Body;
use crate::server::pipeline::Reader;
use crate::server::pki::token::{Bound, Issuer, Kubernetes};

pub struct Token {
    issuer: Arc<Issuer>,
}

const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;

impl Token {
    pub fn new(issuer: Arc<Issuer>) -> Self {
        Self { issuer }
    }
}

#[async_trait]
impl Handler for Token {
    async fn serve(&self, call: Call) -> Result<Response<Body>> {
        let pipeline = call.pipeline();
        let (asked, mut request) = call.decode::<TokenRequest>("TokenRequest").await?;
        let context = &asked.context;
        let mut spec = request.spec.take().unwrap_or_default();
        let seconds = spec.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
        validate(seconds)?;
        let reader = pipeline.reader();
        let account = reader.get::<ServiceAccount>(&context.namespace, &context.name)?;
        let account = account.ok_or_else(|| Failure::not_found(context.kind.meta().resource(), &context.name))?;
        let claims = claims(reader, &account.metadata, spec.bound_object_ref.as_ref())?;
        let now = jiff::Timestamp::now();
        let audiences = spec.audiences.get_or_insert_default();
        if audiences.is_empty() {
            audiences.push(self.issuer.issuer.clone());
        }
        let token = self.issuer.issue(claims, audiences.clone(), seconds, now).map_err(Failure::internal)?;
        let expires = jiff::Timestamp::from_second(now.as_second().saturating_add(seconds)).unwrap_or(now);
        spec.expiration_seconds = Some(seconds);
        request.spec = Some(spec);
        request.metadata = ObjectMeta {
            name: account.metadata.name,
            namespace: account.metadata.namespace,
            creation_timestamp: Some(crate::server::pipeline::meta::now()),
            ..Default::default()
        };
        request.status = Some(TokenRequestStatus { token: Some(token), expiration_timestamp: Some(Time(expires)) });
        asked.answer(201, &request)
    }
}

fn validate(seconds: i64) -> Result<()> {
    let path = Path::new("spec").child("expirationSeconds");
    let why = if seconds < MIN_SECONDS {
        "may not specify a duration less than 10 minutes"
    } else if seconds > MAX_SECONDS {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(());
    };
    let kind = GroupKind { group: "authentication.k8s.io", kind: "TokenRequest" };
    Err(Failure::invalid(kind, "", &[Error::invalid(&path, seconds, why)]))
}

/// Who the token is for, and the object it is bound to.
fn claims(reader: Reader<'_>, account: &ObjectMeta, object: Option<&BoundObjectReference>) -> Result<Kubernetes> {
    let namespace = account.namespace.clone().unwrap_or_default();
    let mut claims = Kubernetes {
        namespace: namespace.clone(),
        serviceaccount: bound(account),
        pod: None,
        secret: None,
        node: None,
        warnafter: None,
    };
    let Some(object) = object else { return Ok(claims) };
    let name = object.name.as_deref().unwrap_or_default();
    let version = object.api_version.as_deref().unwrap_or_default();
    let missing = |resource| Failure::not_found(GroupResource { group: "", resource }, name);
    let found = match (version, object.kind.as_deref().unwrap_or_default()) {
        ("v1", "Pod") => {
            let pod = reader.get::<Pod>(&namespace, name)?.ok_or_else(|| missing("pods"))?;
            let spec = pod.spec.as_ref();
            if spec.and_then(|spec| spec.service_account_name.as_deref()) != account.name.as_deref() {
                return Err(Failure::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    account.name.as_deref().unwrap_or_default()
                )));
            }
            if let Some(node) = spec.and_then(|spec| spec.node_name.as_deref()) {
                // The node may be gone; its name stays true.
                let uid = reader.get::<Node>("", node)?.and_then(|node| node.metadata.uid).unwrap_or_default();
                claims.node = Some(Bound { name: node.to_owned(), uid });
            }
            claims.pod = Some(bound(&pod.metadata));
            pod.metadata
        }
        ("v1", "Secret") => {
            let secret = reader.get::<Secret>(&namespace, name)?.ok_or_else(|| missing("secrets"))?;
            claims.secret = Some(bound(&secret.metadata));
            secret.metadata
        }
        ("v1", "Node") => {
            let node = reader.get::<Node>("", name)?.ok_or_else(|| missing("nodes"))?;
            claims.node = Some(bound(&node.metadata));
            node.metadata
        }
        (version, kind) => {
            let text = format!("cannot bind token to object of type {version}, Kind={kind}");
            return Err(Failure::bad_request(text));
        }
    };
    let wanted = object.uid.as_deref().unwrap_or_default();
    let uid = found.uid.as_deref().unwrap_or_default();
    if !wanted.is_empty() && wanted != uid {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        let about = GroupResource { group: "", resource: "serviceaccounts/token" };
        return Err(Failure::conflict(about, name, &why));
    }
    Ok(claims)
}

fn bound(meta: &ObjectMeta) -> Bound {
    Bound { name: meta.name.clone().unwrap_or_default(), uid: meta.uid.clone().unwrap_or_default() }
}
