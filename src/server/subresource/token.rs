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
/// What the ServiceAccount plugin asks for in every pod. Programs that read such a token only once would fail
/// after an hour, so it lasts a year, and says in `warnafter` when it should have been read again.
const INJECTED_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;
const KIND: GroupKind<'static> = GroupKind { group: "authentication.k8s.io", kind: "TokenRequest" };

impl Token {
    pub fn new(issuer: Arc<Issuer>) -> Self {
        Self { issuer }
    }
}

#[async_trait]
impl Handler for Token {
    async fn serve(&self, call: Call) -> Result<Response<Body>> {
        let pipeline = call.pipeline();
        let (asked, mut request) = call.decode::<TokenRequest>().await?;
        let context = &asked.context;
        same_as_path(&request.metadata, &context.namespace, &context.name)?;
        pipeline.admit_created(context, &mut request, asked.dry_run()).await?;
        let reader = pipeline.reader();
        let account = reader.get::<ServiceAccount>(&context.namespace, &context.name)?;
        let account = account.ok_or_else(|| Failure::not_found(context.kind.meta().resource(), &context.name))?;
        let mut spec = request.spec.take().unwrap_or_default();
        let seconds = *spec.expiration_seconds.get_or_insert(DEFAULT_SECONDS);
        validate(seconds)?;
        let mut claims = claims(reader, &account.metadata, spec.bound_object_ref.as_ref())?;
        let audiences = spec.audiences.get_or_insert_default();
        if audiences.is_empty() {
            audiences.push(self.issuer.issuer.clone());
        }
        let now = jiff::Timestamp::now();
        let mut life = seconds;
        if claims.pod.is_some() && seconds == INJECTED_SECONDS && audiences.contains(&self.issuer.issuer) {
            claims.warnafter = Some(now.as_second() + seconds);
            life = EXTENDED_SECONDS;
        }
        let issued = self.issuer.issue(claims, audiences.clone(), life, now).map_err(Failure::internal)?;
        context.annotate("authentication.kubernetes.io/issued-credential-id", format!("JTI={}", issued.id));
        let expires = jiff::Timestamp::from_second(now.as_second().saturating_add(seconds)).unwrap_or(now);
        request.spec = Some(spec);
        request.metadata.name = account.metadata.name;
        request.metadata.namespace = account.metadata.namespace;
        request.metadata.creation_timestamp = Some(crate::server::pipeline::meta::now());
        request.status =
            Some(TokenRequestStatus { token: Some(issued.token), expiration_timestamp: Some(Time(expires)) });
        asked.answer(201, &request)
    }
}

/// The body's name and namespace are the path's, or absent.
fn same_as_path(metadata: &ObjectMeta, namespace: &str, name: &str) -> Result<()> {
    let pairs = [("name", &metadata.name, name), ("namespace", &metadata.namespace, namespace)];
    for (field, given, wanted) in pairs {
        let given = given.as_deref().unwrap_or_default();
        if !given.is_empty() && given != wanted {
            let detail = format!("must match the service account {field} if specified");
            let error = Error::invalid(&Path::new("metadata").child(field), given, &detail);
            return Err(Failure::invalid(KIND, name, &[error]));
        }
    }
    Ok(())
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
    Err(Failure::invalid(KIND, "", &[Error::invalid(&path, seconds, why)]))
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
    let kind = object.kind.as_deref().unwrap_or_default();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let missing = |resource| Failure::not_found(GroupResource { group: "", resource }, name);
    let found = match (group, kind) {
        ("", "Pod") => {
            let pod = reader.get::<Pod>(&namespace, name)?.ok_or_else(|| missing("pods"))?;
            claims.node = node_of(reader, &pod, account.name.as_deref().unwrap_or_default())?;
            claims.pod = Some(bound(&pod.metadata));
            pod.metadata
        }
        ("", "Secret") => {
            let secret = reader.get::<Secret>(&namespace, name)?.ok_or_else(|| missing("secrets"))?;
            claims.secret = Some(bound(&secret.metadata));
            secret.metadata
        }
        ("", "Node") => {
            let node = reader.get::<Node>("", name)?.ok_or_else(|| missing("nodes"))?;
            claims.node = Some(bound(&node.metadata));
            node.metadata
        }
        _ => {
            let text = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(Failure::bad_request(text));
        }
    };
    let wanted = object.uid.as_deref().unwrap_or_default();
    if !wanted.is_empty() && found.uid.as_deref() != Some(wanted) {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Failure::conflict(GroupResource { group, resource: kind }, name, &why));
    }
    Ok(claims)
}

/// The node that a pod's token tells of. The pod must run as the account.
fn node_of(reader: Reader<'_>, pod: &Pod, account: &str) -> Result<Option<Bound>> {
    let spec = pod.spec.as_ref();
    if spec.and_then(|spec| spec.service_account_name.as_deref()) != Some(account) {
        return Err(Failure::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    let Some(node) = spec.and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty()) else {
        return Ok(None);
    };
    // The node may be gone; its name stays true.
    let uid = reader.get::<Node>("", &node)?.and_then(|node| node.metadata.uid).unwrap_or_default();
    Ok(Some(Bound { name: node, uid }))
}

fn bound(meta: &ObjectMeta) -> Bound {
    Bound { name: meta.name.clone().unwrap_or_default(), uid: meta.uid.clone().unwrap_or_default() }
}
