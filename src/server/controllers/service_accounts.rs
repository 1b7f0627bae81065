//! What every namespace has from the start: the `default` ServiceAccount, and the ConfigMap
//! `kube-root-ca.crt` by which pods recognise the API server.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};

const DEFAULT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const CA_FILE: &str = "ca.crt";
/// Upstream's words, which tools show.
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

fn is_terminating(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    namespace.metadata.deletion_timestamp.is_some() || phase == Some("Terminating")
}

/// The object is there already, or its namespace is going: nothing is left to do.
fn settled<K>(outcome: Result<K, Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.reason() == "AlreadyExists" || super::namespace_is_terminating(&error) => Ok(()),
        other => other.map(drop),
    }
}

/// Keyed by namespace.
pub struct ServiceAccounts {
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
}

impl ServiceAccounts {
    pub fn new(env: &Env) -> Self {
        Self { namespaces: env.informers.get(), accounts: env.informers.get() }
    }
}

#[async_trait]
impl Controller for ServiceAccounts {
    type Key = Key;

    fn name(&self) -> &'static str {
        "serviceaccount"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.namespaces, |change| change.new.as_ref().map(|namespace| Key::of(namespace.as_ref())));
        watches.on(&self.accounts, |change| {
            let namespace = change.object().metadata.namespace.clone().unwrap_or_default();
            change.new.is_none().then(|| Key::new("", namespace))
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let live = self.namespaces.get("", &key.name).is_some_and(|namespace| !is_terminating(&namespace));
        if live && self.accounts.get(&key.name, DEFAULT).is_none() {
            let metadata = ObjectMeta {
                name: Some(DEFAULT.to_owned()),
                namespace: Some(key.name.clone()),
                ..ObjectMeta::default()
            };
            let account = ServiceAccount { metadata, ..ServiceAccount::default() };
            settled(cx.namespaced(&key.name).create(&account).await)?;
        }
        Ok(Action::done())
    }
}

/// Keyed by namespace.
pub struct RootCa {
    namespaces: Informer<Namespace>,
    published: Informer<ConfigMap>,
    pem: String,
}

impl RootCa {
    pub fn new(env: &Env, pem: String) -> Self {
        // Only these ConfigMaps are cached: the others may be many and large.
        let published = env.informers.selected(&format!("metadata.name={ROOT_CA}"));
        Self { namespaces: env.informers.get(), published, pem }
    }
}

#[async_trait]
impl Controller for RootCa {
    type Key = Key;

    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.namespaces, |change| change.new.as_ref().map(|namespace| Key::of(namespace.as_ref())));
        watches.on(&self.published, |change| {
            Some(Key::new("", change.object().metadata.namespace.clone().unwrap_or_default()))
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let live = self.namespaces.get("", &key.name).is_some_and(|namespace| !is_terminating(&namespace));
        if !live {
            return Ok(Action::done());
        }
        let data = Some([(CA_FILE.to_owned(), self.pem.clone())].into());
        let existing = self.published.get(&key.name, ROOT_CA);
        let writer = cx.namespaced::<ConfigMap>(&key.name);
        match existing {
            Some(existing) if existing.data == data => {}
            Some(existing) => {
                let updated = ConfigMap { data, ..(*existing).clone() };
                writer.replace(&updated).await?;
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(ROOT_CA.to_owned()),
                    namespace: Some(key.name.clone()),
                    annotations: Some([("kubernetes.io/description".to_owned(), DESCRIPTION.to_owned())].into()),
                    ..ObjectMeta::default()
                };
                settled(writer.create(&ConfigMap { metadata, data, ..ConfigMap::default() }).await)?;
            }
        }
        Ok(Action::done())
    }
}
