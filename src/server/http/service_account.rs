//! ServiceAccount tokens: signed by this cluster, and good only while what they are bound to exists.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::authn::{TokenAuthenticator, User};
use crate::server::pipeline::Reader;
use crate::server::pki::token::{Bound, Claims, Issuer};
use crate::store::Store;

/// How long a pod's token outlives the pod's deletion timestamp.
const GRACE_SECONDS: i64 = 60;

pub struct ServiceAccountTokens {
    issuer: Arc<Issuer>,
    store: Arc<dyn Store>,
}

impl ServiceAccountTokens {
    pub fn new(issuer: Arc<Issuer>, store: Arc<dyn Store>) -> Self {
        Self { issuer, store }
    }

    /// Whether the account and whatever else the token names are still the same objects.
    fn still_valid(&self, claims: &Claims) -> bool {
        let reader = Reader::new(self.store.as_ref());
        let kubernetes = &claims.kubernetes;
        let namespace = kubernetes.namespace.as_str();
        let account = reader.get::<ServiceAccount>(namespace, &kubernetes.serviceaccount.name);
        let account = account.ok().flatten().map(|account| account.metadata);
        let pod = |bound: &Bound| reader.get::<Pod>(namespace, &bound.name).ok().flatten().map(|pod| pod.metadata);
        let secret =
            |bound: &Bound| reader.get::<Secret>(namespace, &bound.name).ok().flatten().map(|secret| secret.metadata);
        same(account.as_ref(), &kubernetes.serviceaccount)
            && kubernetes.pod.as_ref().is_none_or(|bound| same(pod(bound).as_ref(), bound))
            && kubernetes.secret.as_ref().is_none_or(|bound| same(secret(bound).as_ref(), bound))
    }
}

fn same(found: Option<&ObjectMeta>, bound: &Bound) -> bool {
    found.is_some_and(|meta| {
        let deleted = meta.deletion_timestamp.as_ref().map(|time| time.0.as_second() + GRACE_SECONDS);
        let gone = deleted.is_some_and(|end| end < jiff::Timestamp::now().as_second());
        meta.uid.as_deref() == Some(&bound.uid) && !gone
    })
}

impl TokenAuthenticator for ServiceAccountTokens {
    fn authenticate(&self, token: &str, audiences: &[String]) -> Option<User> {
        let own = [self.issuer.issuer.clone()];
        let audiences = if audiences.is_empty() { &own[..] } else { audiences };
        let claims = self.issuer.verify(token, audiences).ok()?;
        if !self.still_valid(&claims) {
            return None;
        }
        let kubernetes = claims.kubernetes;
        let account = &kubernetes.serviceaccount;
        let mut user = User::service_account(&kubernetes.namespace, &account.name, &account.uid);
        user.extra = extra(claims.jti, kubernetes.pod, kubernetes.node);
        Some(user)
    }
}

fn extra(id: String, pod: Option<Bound>, node: Option<Bound>) -> BTreeMap<String, Vec<String>> {
    let mut extra = BTreeMap::new();
    let mut add = |name: &str, value: String| {
        extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value]);
    };
    add("credential-id", format!("JTI={id}"));
    if let Some(pod) = pod {
        add("pod-name", pod.name);
        add("pod-uid", pod.uid);
    }
    if let Some(node) = node {
        add("node-name", node.name);
        add("node-uid", node.uid);
    }
    extra
}
