//! Bearer tokens of ServiceAccounts: signed by the cluster's key, and alive only as long as the account and the
//! object they are bound to. Called by the front door for each request with such a token.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::mpsc;

use crate::server::controllers::TokenSigner;
use crate::server::controllers::legacy::INVALID_SINCE;
use crate::server::controllers::uses::{self, TokenUse};
use crate::server::http::authn::{Authenticated, Refused, TokenAuthenticator, User, same};
use crate::server::pipeline::Reader;
use crate::server::pki::token::{Bound, Claims, Issuer, LEEWAY, LegacyClaims, Signed};
use crate::store::Store;

const INVALIDATED: &str = "service account token has been invalidated";

/// Checks tokens against the key and against what is stored now.
pub struct ServiceAccountTokens {
    issuer: Arc<Issuer>,
    store: Arc<dyn Store>,
    uses: Option<mpsc::Sender<TokenUse>>,
}

impl ServiceAccountTokens {
    pub fn new(issuer: Arc<Issuer>, store: Arc<dyn Store>) -> Self {
        Self { issuer, store, uses: None }
    }

    /// Tells of each use of a Secret's token that its label does not tell of.
    #[must_use]
    pub fn telling(mut self, uses: mpsc::Sender<TokenUse>) -> Self {
        self.uses = Some(uses);
        self
    }

    fn used(&self, secret: ObjectMeta) {
        let Some(uses) = &self.uses else { return };
        let ObjectMeta { namespace: Some(namespace), name: Some(name), uid: Some(uid), labels, .. } = secret else {
            return;
        };
        if let Some(day) = uses::due(labels.as_ref(), jiff::Timestamp::now()) {
            // Where many wait, the next use is told.
            let _ = uses.try_send(TokenUse { namespace, secret: name, uid, day });
        }
    }

    fn bound(&self, claims: &Claims, audiences: &[String], now: jiff::Timestamp) -> Result<Authenticated, Refused> {
        let own = [self.issuer.issuer.clone()];
        let wanted = if audiences.is_empty() { own.as_slice() } else { audiences };
        let audiences: Vec<String> = claims.aud.iter().filter(|audience| wanted.contains(audience)).cloned().collect();
        if audiences.is_empty() {
            let (has, wants) = (quoted(&claims.aud), quoted(wanted));
            return Err(Refused(format!("token audiences {has} is invalid for the target audiences {wants}")));
        }
        claims.check(now).map_err(|error| Refused(error.to_string()))?;
        Ok(Authenticated { user: user(claims, Reader::new(self.store.as_ref()), now)?, audiences })
    }
}

impl TokenAuthenticator for ServiceAccountTokens {
    fn authenticate(&self, token: &str, audiences: &[String]) -> Result<Option<Authenticated>, Refused> {
        let signed = match self.issuer.verify(token) {
            None => return Ok(None),
            Some(signed) => signed.map_err(|error| Refused(error.to_string()))?,
        };
        match signed {
            Signed::Bound(claims) => self.bound(&claims, audiences, jiff::Timestamp::now()).map(Some),
            Signed::Legacy(claims) => {
                let secret = legacy_secret(&claims, token, Reader::new(self.store.as_ref()))?;
                let marked = secret.labels.as_ref().and_then(|labels| labels.get(INVALID_SINCE));
                let user = match marked.is_some_and(|since| !since.is_empty()) {
                    true => Err(invalid(&claims)),
                    false => Ok(User::service_account(&claims.namespace, &claims.account, &claims.uid)),
                };
                // Also where it is refused: who still uses it is to find its Secret.
                self.used(secret);
                Ok(Some(Authenticated { user: user?, audiences: Vec::new() }))
            }
        }
    }
}

impl TokenSigner for Issuer {
    fn sign(&self, namespace: &str, account: &str, uid: &str, secret: &str) -> Result<String, String> {
        let account = Bound { name: account.to_owned(), uid: uid.to_owned() };
        self.issue_legacy(namespace, &account, secret).map_err(|error| error.to_string())
    }
}

/// A list as Go's `%q` shows it.
fn quoted(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

fn gone<T>(found: crate::api::status::Result<Option<T>>) -> Result<T, Refused> {
    found.ok().flatten().ok_or_else(|| Refused(INVALIDATED.to_owned()))
}

/// Whether the object was to be gone by `limit`, seconds since the epoch.
fn deleted(meta: &ObjectMeta, limit: i64) -> bool {
    meta.deletion_timestamp.as_ref().is_some_and(|time| time.0.as_second() < limit)
}

fn account(reader: Reader<'_>, namespace: &str, wanted: &Bound, limit: i64) -> Result<(), Refused> {
    let found = reader.get::<ServiceAccount>(namespace, &wanted.name).map_err(|error| Refused(error.to_string()))?;
    let found = found.ok_or_else(|| Refused(format!("serviceaccounts \"{}\" not found", wanted.name)))?;
    if deleted(&found.metadata, limit) {
        return Err(Refused(format!("service account {namespace}/{} has been deleted", wanted.name)));
    }
    let uid = found.metadata.uid.as_deref().unwrap_or_default();
    match uid == wanted.uid {
        true => Ok(()),
        false => Err(Refused(format!("service account UID ({uid}) does not match claim ({})", wanted.uid))),
    }
}

/// Whether the bound object is still the one and not gone; `what` and `claim` name it.
fn alive(found: &ObjectMeta, bound: &Bound, limit: i64, what: &str, claim: &str) -> Result<(), Refused> {
    if deleted(found, limit) {
        return Err(Refused(INVALIDATED.to_owned()));
    }
    let uid = found.uid.as_deref().unwrap_or_default();
    match uid == bound.uid {
        true => Ok(()),
        false => {
            let text = format!("{what} UID ({uid}) does not match service account {claim} ref claim ({})", bound.uid);
            Err(Refused(text))
        }
    }
}

/// The user a token stands for, where the account and every bound object are there and the same.
fn user(claims: &Claims, reader: Reader<'_>, now: jiff::Timestamp) -> Result<User, Refused> {
    let own = &claims.kubernetes;
    let limit = now.as_second() - LEEWAY;
    account(reader, &own.namespace, &own.serviceaccount, limit)?;
    let mut user = User::service_account(&own.namespace, &own.serviceaccount.name, &own.serviceaccount.uid);
    let mut tell = |key: &str, value: &str| {
        user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
    };
    tell("credential-id", &format!("JTI={}", claims.jti));
    if let Some(secret) = &own.secret {
        let found = gone(reader.get::<Secret>(&own.namespace, &secret.name))?;
        alive(&found.metadata, secret, limit, "secret", "secret")?;
    }
    if let Some(pod) = &own.pod {
        alive(&gone(reader.get::<Pod>(&own.namespace, &pod.name))?.metadata, pod, limit, "pod", "pod")?;
        tell("pod-name", &pod.name);
        tell("pod-uid", &pod.uid);
    }
    if let Some(node) = &own.node {
        // A token bound to a pod only tells its node; one bound to the node alone lives and dies with it.
        if own.pod.is_none() {
            alive(&gone(reader.get::<Node>("", &node.name))?.metadata, node, limit, "node", "node")?;
        }
        tell("node-name", &node.name);
        if !node.uid.is_empty() {
            tell("node-uid", &node.uid);
        }
    }
    Ok(user)
}

/// The Secret of a token, which counts as long as its Secret holds exactly this one.
fn legacy_secret(claims: &LegacyClaims, token: &str, reader: Reader<'_>) -> Result<ObjectMeta, Refused> {
    let LegacyClaims { namespace, secret: name, account: owner, uid, sub, .. } = claims;
    if *sub != format!("system:serviceaccount:{namespace}:{owner}") {
        return Err(Refused("sub claim is invalid".to_owned()));
    }
    let secret = gone(reader.get::<Secret>(namespace, name))?;
    if secret.metadata.deletion_timestamp.is_some() {
        return Err(Refused(INVALIDATED.to_owned()));
    }
    let kept = secret.data.as_ref().and_then(|data| data.get("token")).map(|kept| kept.0.as_slice());
    if !same(token.as_bytes(), kept.unwrap_or_default()) {
        return Err(Refused("service account token does not match server's copy".to_owned()));
    }
    let bound = Bound { name: owner.clone(), uid: uid.clone() };
    account(reader, namespace, &bound, i64::MAX)?;
    Ok(secret.metadata)
}

/// Nobody used it for so long that it is no longer believed.
fn invalid(claims: &LegacyClaims) -> Refused {
    let LegacyClaims { namespace, secret, account, .. } = claims;
    Refused(format!(
        "the token in secret {namespace}/{secret} for service account {namespace}/{account} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::server::pki::token::Kubernetes;
    use crate::store::memory::MemoryStore;
    use crate::store::{Change, Durability, Expect, Write};

    async fn put(store: &Arc<MemoryStore>, key: &str, object: Value) {
        let bytes = serde_json::to_vec(&object).unwrap();
        let change = Change::Put(Box::new(move |_| bytes.into()));
        let write = Write {
            key: format!("/registry/core/{key}").into(),
            expect: Expect::Absent,
            change,
            durability: Durability::Durable,
        };
        store.write(write).await.unwrap();
    }

    /// An account `robot`, a pod `p`, a pod `ending` that goes later and one, `ended`, that should have gone.
    async fn world() -> (Arc<MemoryStore>, ServiceAccountTokens) {
        let store = MemoryStore::new();
        put(&store, "serviceaccounts/ns/robot", json!({"metadata": {"name": "robot", "uid": "u1"}})).await;
        put(&store, "pods/ns/p", json!({"metadata": {"name": "p", "uid": "p1"}})).await;
        let now = jiff::Timestamp::now();
        for (name, seconds) in [("ending", -30), ("ended", -90)] {
            let at = now + jiff::SignedDuration::from_secs(seconds);
            let meta = json!({"name": name, "uid": "p1", "deletionTimestamp": at.to_string()});
            put(&store, &format!("pods/ns/{name}"), json!({"metadata": meta})).await;
        }
        put(&store, "nodes/n", json!({"metadata": {"name": "n", "uid": "n1"}})).await;
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let tokens = ServiceAccountTokens::new(Arc::new(Issuer::new(&pem, "https://issuer").unwrap()), store.clone());
        (store, tokens)
    }

    fn bound(name: &str, uid: &str) -> Option<Bound> {
        Some(Bound { name: name.to_owned(), uid: uid.to_owned() })
    }

    fn subject(uid: &str) -> Kubernetes {
        let serviceaccount = bound("robot", uid).unwrap();
        Kubernetes { namespace: "ns".to_owned(), serviceaccount, pod: None, secret: None, node: None, warnafter: None }
    }

    #[tokio::test]
    async fn a_token_lives_as_long_as_what_it_is_bound_to() {
        let (_, tokens) = world().await;
        let base = subject("u1");
        let pod = |name, uid| Kubernetes { pod: bound(name, uid), ..base.clone() };
        let node = |name, uid| Kubernetes { node: bound(name, uid), ..base.clone() };
        let cases = [
            (base.clone(), Ok("system:serviceaccount:ns:robot")),
            (subject("u0"), Err("service account UID (u1) does not match claim (u0)")),
            (pod("p", "p1"), Ok("system:serviceaccount:ns:robot")),
            (pod("p", "p0"), Err("pod UID (p1) does not match service account pod ref claim (p0)")),
            (pod("none", "p1"), Err(INVALIDATED)),
            (pod("ending", "p1"), Ok("system:serviceaccount:ns:robot")),
            (pod("ended", "p1"), Err(INVALIDATED)),
            (node("n", "n1"), Ok("system:serviceaccount:ns:robot")),
            (node("n", "n0"), Err("node UID (n1) does not match service account node ref claim (n0)")),
            (node("none", "n1"), Err(INVALIDATED)),
            (Kubernetes { node: bound("none", ""), ..pod("p", "p1") }, Ok("system:serviceaccount:ns:robot")),
            (Kubernetes { secret: bound("none", ""), ..base.clone() }, Err(INVALIDATED)),
        ];
        for (claims, expected) in cases {
            let token = tokens.issuer.issue(claims.clone(), vec![], 600, jiff::Timestamp::now()).unwrap();
            let found = tokens.authenticate(&token, &[]).map(|found| found.unwrap().user.name);
            let found = found.map_err(|refused| refused.to_string());
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{claims:?}");
        }
        assert!(tokens.authenticate("not.a.token", &[]).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_token_is_for_its_audiences() {
        let (_, tokens) = world().await;
        let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let issue = |audiences: &[&str]| {
            tokens.issuer.issue(subject("u1"), list(audiences), 600, jiff::Timestamp::now()).unwrap()
        };
        let found = |token: &str, wanted: &[&str]| {
            tokens.authenticate(token, &list(wanted)).map(|found| found.unwrap().audiences)
        };
        assert_eq!(found(&issue(&[]), &[]).unwrap(), ["https://issuer"]);
        assert_eq!(found(&issue(&["vault", "x"]), &["y", "vault"]).unwrap(), ["vault"]);
        assert_eq!(
            found(&issue(&["vault"]), &[]).unwrap_err().to_string(),
            r#"token audiences ["vault"] is invalid for the target audiences ["https://issuer"]"#
        );
    }

    #[tokio::test]
    async fn a_use_is_told_until_the_label_tells_of_it() {
        let (store, tokens) = world().await;
        let (sender, mut told) = uses::channel();
        let tokens = tokens.telling(sender);
        let today = uses::due(None, jiff::Timestamp::now()).unwrap();
        let marked = json!({INVALID_SINCE: "2026-01-01"});
        for (name, labels) in [("new", json!({})), ("known", json!({uses::LAST_USED: today})), ("marked", marked)] {
            let token = tokens.issuer.issue_legacy("ns", &subject("u1").serviceaccount, name).unwrap();
            let data = json!({"token": k8s_openapi::ByteString(token.as_bytes().to_vec())});
            let metadata = json!({"name": name, "namespace": "ns", "uid": "s1", "labels": labels});
            put(&store, &format!("secrets/ns/{name}"), json!({"metadata": metadata, "data": data})).await;
            assert_eq!(tokens.authenticate(&token, &[]).is_ok(), name != "marked");
        }
        let used = told.try_recv().unwrap();
        assert_eq!((used.secret.as_str(), used.uid.as_str()), ("new", "s1"));
        assert_eq!(told.try_recv().unwrap().secret, "marked");
        assert!(told.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_secrets_token_must_be_the_one_it_holds() {
        let (store, tokens) = world().await;
        let token = tokens.issuer.issue_legacy("ns", &subject("u1").serviceaccount, "kept").unwrap();
        assert!(tokens.authenticate(&token, &[]).is_err(), "no such Secret");
        let data = |token: &str| json!({"token": k8s_openapi::ByteString(token.as_bytes().to_vec())});
        put(&store, "secrets/ns/kept", json!({"metadata": {"name": "kept"}, "data": data(&token)})).await;
        let found = tokens.authenticate(&token, &[]).unwrap().unwrap();
        assert_eq!((found.user.name.as_str(), found.audiences.len()), ("system:serviceaccount:ns:robot", 0));
        let other = tokens.issuer.issue_legacy("ns", &subject("u1").serviceaccount, "marked").unwrap();
        let metadata = json!({"name": "marked", "labels": {INVALID_SINCE: "2026-01-01"}});
        put(&store, "secrets/ns/marked", json!({"metadata": metadata, "data": data(&other)})).await;
        assert!(tokens.authenticate(&other, &[]).unwrap_err().to_string().contains("has been marked invalid"));
    }
}
