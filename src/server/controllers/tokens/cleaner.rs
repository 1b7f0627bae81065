//! Removes bootstrap tokens when they expire: a timer is armed for each, nothing is looked at in between.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Preconditions};

use crate::api::bootstrap_token::{self, NAMESPACE};
use crate::reconcile::clock::until;
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};

pub struct TokenCleaner {
    secrets: Informer<Secret>,
}

/// The cache of bootstrap tokens, which two controllers share.
pub(super) fn bootstrap_tokens(env: &Env) -> Informer<Secret> {
    env.informers.selected(&format!("type={}", bootstrap_token::SECRET_TYPE))
}

impl TokenCleaner {
    pub fn new(env: &Env) -> Self {
        Self { secrets: bootstrap_tokens(env) }
    }
}

#[async_trait]
impl Controller for TokenCleaner {
    type Key = Key;

    fn name(&self) -> &'static str {
        "token-cleaner"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.secrets, |change| {
            let key = change.new.as_ref().map(|secret| Key::of(secret.as_ref()));
            key.filter(|key| key.namespace == NAMESPACE)
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let Some(secret) = self.secrets.get(&key.namespace, &key.name) else { return Ok(Action::done()) };
        let Some(expires) = bootstrap_token::secret_expires(&secret) else { return Ok(Action::done()) };
        let left = until(cx.env.clock.now(), expires);
        if !left.is_zero() {
            return Ok(Action::after(left));
        }
        let uid = secret.metadata.uid.clone();
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::default()
        };
        match cx.namespaced::<Secret>(&key.namespace).delete(&secret, &params).await {
            // Somebody made a new one of the same name.
            Err(error) if error.reason() == "Conflict" => Ok(Action::done()),
            outcome => outcome.map(|()| Action::done()),
        }
    }
}
