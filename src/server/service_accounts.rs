//! Bearer tokens of ServiceAccounts: signed by the cluster's key, and alive only as long as the account and the
//! object they are bound to. Called by the front door for each request with such a token.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::server::http::authn::{TokenAuthenticator, User};
use crate::server::pipeline::Reader;
use crate::server::pki::token::{Bound, Claims, Issuer};
use crate::store::Store;

/// Checks tokens against the key and against what is stored now.
pub struct ServiceAccountTokens {
    issuer: Arc<Issuer>,
    store: Arc<dyn Store>,
}

impl ServiceAccountTokens {
    pub fn new(issuer: Arc<Issuer>, store: Arc<dyn Store>) -> Self {
        Self { issuer, store }
    }
}

impl TokenAuthenticator for ServiceAccountTokens {
    fn authenticate(&self, token: &str, audiences: &[String]) -> Option<User> {
        let own = [self.issuer.issuer.clone()];
        let audiences = if audiences.is_empty() { own.as_slice() } else { audiences };
        let claims = self.issuer.verify(token, audiences).ok()?;
        user(&claims, Reader::new(self.store.as_ref()))
    }
}

/// The user a token stands for; `None` where the account or a bound object is gone or another one.
fn user(claims: &Claims, reader: Reader<'_>) -> Option<User> {
    let own = &claims.kubernetes;
    let account: ServiceAccount = reader.get(&own.namespace, &own.serviceaccount.name).ok()??;
    alive(&account.metadata, &own.serviceaccount)?;
    let mut user = User::service_account(&own.namespace, &own.serviceaccount.name, &own.serviceaccount.uid);
    let mut tell = |key: &str, value: &str| {
        user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
    };
    tell("credential-id", &format!("JTI={}", claims.jti));
    if let Some(pod) = &own.pod {
        alive(&reader.get::<Pod>(&own.namespace, &pod.name).ok()??.metadata, pod)?;
        tell("pod-name", &pod.name);
        tell("pod-uid", &pod.uid);
    }
    if let Some(secret) = &own.secret {
        alive(&reader.get::<Secret>(&own.namespace, &secret.name).ok()??.metadata, secret)?;
    }
    if let Some(node) = &own.node {
        // A token bound to a pod only tells its node; one bound to the node alone lives and dies with it.
        if own.pod.is_none() {
            alive(&reader.get::<Node>("", &node.name).ok()??.metadata, node)?;
        }
        tell("node-name", &node.name);
        tell("node-uid", &node.uid);
    }
    Some(user)
}

fn alive(found: &ObjectMeta, bound: &Bound) -> Option<()> {
    (found.uid.as_deref() == Some(bound.uid.as_str())).then_some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::pki::token::Kubernetes;
    use crate::store::memory::MemoryStore;
    use crate::store::{Change, Durability, Expect, Write};

    async fn put(store: &Arc<MemoryStore>, key: &str, object: serde_json::Value) {
        let bytes = serde_json::to_vec(&object).unwrap();
        let change = Change::Put(Box::new(move |_| bytes.into()));
        let write = Write { key: key.into(), expect: Expect::Absent, change, durability: Durability::Durable };
        store.write(write).await.unwrap();
    }

    fn tokens(store: &Arc<MemoryStore>) -> ServiceAccountTokens {
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        ServiceAccountTokens::new(Arc::new(Issuer::new(&pem, "https://issuer").unwrap()), store.clone())
    }

    fn subject(uid: &str, pod: Option<&str>) -> Kubernetes {
        let bound = |name: &str, uid: &str| Bound { name: name.to_owned(), uid: uid.to_owned() };
        Kubernetes {
            namespace: "ns".to_owned(),
            serviceaccount: bound("robot", uid),
            pod: pod.map(|uid| bound("p", uid)),
            secret: None,
            node: None,
            warnafter: None,
        }
    }

    #[tokio::test]
    async fn a_token_lives_as_long_as_what_it_is_bound_to() {
        let store = MemoryStore::new();
        put(&store, "/registry/core/serviceaccounts/ns/robot", json!({"metadata": {"name": "robot", "uid": "u1"}}))
            .await;
        put(&store, "/registry/core/pods/ns/p", json!({"metadata": {"name": "p", "uid": "p1"}})).await;
        let tokens = tokens(&store);
        let now = jiff::Timestamp::now();
        let check = |kubernetes: Kubernetes| {
            let token = tokens.issuer.issue(kubernetes, vec![], 600, now).unwrap();
            tokens.authenticate(&token, &[]).map(|user| user.name)
        };
        assert_eq!(check(subject("u1", None)).as_deref(), Some("system:serviceaccount:ns:robot"));
        assert!(check(subject("u1", Some("p1"))).is_some());
        assert!(check(subject("u0", None)).is_none(), "an account of the same name that was deleted");
        assert!(check(subject("u1", Some("p0"))).is_none(), "a pod that is gone");
        assert!(tokens.authenticate("not.a.token", &[]).is_none());
    }
}
