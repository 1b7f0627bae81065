//! Secrets of type `kubernetes.io/service-account-token`: filled with a token, the CA and the namespace of the account
//! that their annotation names, and removed with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{DeleteParams, Preconditions};
use serde_json::json;

use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};

pub(super) const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// Signs the tokens that Secrets hold.
pub trait TokenSigner: Send + Sync + 'static {
    /// The token of an account (by name and UID) that the named Secret is to hold.
    fn sign(&self, namespace: &str, account: &str, uid: &str, secret: &str) -> Result<String, String>;
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Fill the Secret, or remove it.
    Secret(Key),
    /// Take the name of a Secret that is gone out of its account.
    Reference { account: Key, secret: String },
}

pub struct AccountTokens {
    secrets: Informer<Secret>,
    accounts: Informer<ServiceAccount>,
    signer: Arc<dyn TokenSigner>,
    ca_pem: String,
}

impl AccountTokens {
    pub fn new(env: &Env, signer: Arc<dyn TokenSigner>, ca_pem: String) -> Self {
        let secrets = env.informers.selected(&format!("type={TYPE}"));
        Self { secrets, accounts: env.informers.get(), signer, ca_pem }
    }

    async fn fill(&self, cx: &Context, key: &Key) -> Result<(), Error> {
        let Some(secret) = self.secrets.get(&key.namespace, &key.name) else { return Ok(()) };
        let Some(owner) = owner(&secret) else { return Ok(()) };
        let writer = cx.namespaced::<Secret>(&key.namespace);
        let account = match self.accounts.get(&owner.namespace, &owner.name) {
            Some(account) if is_of(&account, &secret) => account,
            // The cache may be behind; nothing is removed on its word alone.
            _ => match cx.namespaced::<ServiceAccount>(&owner.namespace).api().get_opt(&owner.name).await? {
                Some(account) if is_of(&account, &secret) => Arc::new(account),
                _ => {
                    let uid = secret.metadata.uid.clone();
                    let preconditions = Some(Preconditions { uid, resource_version: None });
                    let params = DeleteParams { preconditions, ..DeleteParams::default() };
                    return settled(writer.delete(&secret, &params).await);
                }
            },
        };
        let uid = account.metadata.uid.as_deref().unwrap_or_default();
        let token = || self.signer.sign(&key.namespace, &owner.name, uid, &key.name).map_err(Error::Invalid);
        match filled(&secret, uid, &self.ca_pem, token)? {
            Some(secret) => settled(writer.replace(&secret).await),
            None => Ok(()),
        }
    }

    async fn forget(&self, cx: &Context, account: &Key, secret: &str) -> Result<(), Error> {
        let Some(found) = self.accounts.get(&account.namespace, &account.name) else { return Ok(()) };
        let named = |reference: &k8s_openapi::api::core::v1::ObjectReference| reference.name.as_deref() == Some(secret);
        let held = found.secrets.as_deref().unwrap_or_default();
        if self.secrets.get(&account.namespace, secret).is_some() || !held.iter().any(named) {
            return Ok(());
        }
        let kept: Vec<_> = held.iter().filter(|reference| !named(reference)).collect();
        let metadata = json!({"resourceVersion": found.metadata.resource_version});
        let patch = json!({"metadata": metadata, "secrets": kept});
        cx.namespaced::<ServiceAccount>(&account.namespace).merge(&account.name, &patch).await.map(drop)
    }
}

/// Changed or gone meanwhile: the watch brings the key again where something is left to do.
fn settled<T>(outcome: Result<T, Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if matches!(error.reason(), "Conflict" | "NotFound") => Ok(()),
        other => other.map(drop),
    }
}

fn annotation<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    let annotations = secret.metadata.annotations.as_ref()?;
    annotations.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

/// The account that a Secret names.
pub(super) fn owner(secret: &Secret) -> Option<Key> {
    let namespace = secret.metadata.namespace.clone().unwrap_or_default();
    annotation(secret, ACCOUNT_NAME).map(|name| Key::new(namespace, name))
}

/// Whether the account is the one that the Secret means, and not a later one of the same name.
pub(super) fn is_of(account: &ServiceAccount, secret: &Secret) -> bool {
    annotation(secret, ACCOUNT_UID).is_none_or(|uid| account.metadata.uid.as_deref() == Some(uid))
}

/// The Secret with what it lacks; `None` where it lacks nothing.
fn filled(
    secret: &Secret,
    uid: &str,
    ca_pem: &str,
    token: impl FnOnce() -> Result<String, Error>,
) -> Result<Option<Secret>, Error> {
    let mut full = secret.clone();
    let data = full.data.get_or_insert_default();
    let is_empty =
        |data: &BTreeMap<String, ByteString>, key: &str| data.get(key).is_none_or(|value| value.0.is_empty());
    data.insert("ca.crt".to_owned(), ByteString(ca_pem.as_bytes().to_vec()));
    if is_empty(data, "namespace") {
        let namespace = secret.metadata.namespace.clone().unwrap_or_default();
        data.insert("namespace".to_owned(), ByteString(namespace.into_bytes()));
    }
    if is_empty(data, "token") {
        data.insert("token".to_owned(), ByteString(token()?.into_bytes()));
    }
    full.metadata.annotations.get_or_insert_default().insert(ACCOUNT_UID.to_owned(), uid.to_owned());
    Ok((full != *secret).then_some(full))
}

#[async_trait]
impl Controller for AccountTokens {
    type Key = Task;

    fn name(&self) -> &'static str {
        "serviceaccount-token"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Task>) {
        watches.on(&self.secrets, |change| match &change.new {
            Some(secret) => Some(Task::Secret(Key::of(secret.as_ref()))),
            None => {
                let secret = change.object().metadata.name.clone().unwrap_or_default();
                owner(change.object()).map(|account| Task::Reference { account, secret })
            }
        });
        let this = self.clone();
        watches.on(&self.accounts, move |change| {
            let account = Key::of(change.object().as_ref());
            let fresh = change.old.is_none() || change.new.is_none();
            let secrets = if fresh { this.secrets.store().state() } else { Vec::new() };
            let owned = secrets.into_iter().filter(move |secret| owner(secret).as_ref() == Some(&account));
            owned.map(|secret| Task::Secret(Key::of(secret.as_ref()))).collect::<Vec<_>>()
        });
    }

    async fn reconcile(&self, cx: &Context, task: &Task) -> Result<Action, Error> {
        match task {
            Task::Secret(key) => self.fill(cx, key).await?,
            Task::Reference { account, secret } => self.forget(cx, account, secret).await?,
        }
        Ok(Action::done())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(data: serde_json::Value) -> Secret {
        let metadata = json!({"name": "s", "namespace": "ns", "annotations": {ACCOUNT_NAME: "robot"}});
        serde_json::from_value(json!({"metadata": metadata, "data": data})).unwrap()
    }

    #[test]
    fn what_is_missing_is_filled_in_once() {
        let fill = |secret: &Secret| filled(secret, "u1", "ca", || Ok("new".to_owned())).unwrap();
        let full = fill(&secret(json!({}))).unwrap();
        let data = full.data.clone().unwrap();
        let text = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
        assert_eq!((text("token"), text("ca.crt"), text("namespace")), ("new".into(), "ca".into(), "ns".into()));
        assert_eq!(annotation(&full, ACCOUNT_UID), Some("u1"));
        assert_eq!(fill(&full), None, "nothing is left to do");
        let kept = fill(&secret(json!({"token": "b2xk", "ca.crt": "eA=="}))).unwrap().data.unwrap();
        assert_eq!((kept["token"].0.as_slice(), kept["ca.crt"].0.as_slice()), (&b"old"[..], &b"ca"[..]));
    }

    #[test]
    fn an_account_of_the_same_name_is_another() {
        let account = |uid: &str| serde_json::from_value(json!({"metadata": {"name": "robot", "uid": uid}})).unwrap();
        let mut owned = secret(json!({}));
        assert!(is_of(&account("u1"), &owned));
        owned.metadata.annotations.get_or_insert_default().insert(ACCOUNT_UID.to_owned(), "u1".to_owned());
        assert!(is_of(&account("u1"), &owned) && !is_of(&account("u2"), &owned));
        assert_eq!(owner(&owned), Some(Key::new("ns", "robot")));
    }
}
