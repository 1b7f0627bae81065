//! The ConfigMap `cluster-info` in `kube-public`: where the API server is and which CA it has, signed with every
//! bootstrap token, so that a machine that knows a token can believe it before it trusts anybody.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ring::hmac;
use serde_json::json;
use tokio::sync::watch;

use crate::api::bootstrap_token::{NAMESPACE, Token, TokenSecret, Usage};
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Watches};

const HOME: &str = "kube-public";
const NAME: &str = "cluster-info";
const KUBECONFIG: &str = "kubeconfig";
const SIGNATURE: &str = "jws-kubeconfig-";

pub struct BootstrapSigner {
    secrets: Informer<Secret>,
    maps: Informer<ConfigMap>,
    /// By which other machines reach the API; the address may change.
    server: (watch::Receiver<IpAddr>, u16),
    ca_pem: String,
}

impl BootstrapSigner {
    /// `address` and `port` are where other machines reach the API.
    pub fn new(env: &Env, address: watch::Receiver<IpAddr>, port: u16, ca_pem: &str) -> Self {
        let maps = env.informers.selected(&format!("metadata.name={NAME}"));
        let secrets = super::cleaner::bootstrap_tokens(env);
        Self { secrets, maps, server: (address, port), ca_pem: ca_pem.to_owned() }
    }

    /// The tokens to sign with.
    fn tokens(&self, now: Timestamp) -> Vec<Token> {
        let secrets = self.secrets.store().state();
        let ours = secrets.iter().filter(|secret| secret.metadata.namespace.as_deref() == Some(NAMESPACE));
        let kept = ours.filter_map(|secret| TokenSecret::read(secret));
        kept.filter(|kept| kept.has(Usage::Signing) && !kept.is_expired(now)).map(|kept| kept.token).collect()
    }
}

/// A kubeconfig without a user, as kubeadm publishes it.
fn kubeconfig(server: &str, ca_pem: &str) -> String {
    let cluster = json!({"server": server, "certificate-authority-data": STANDARD.encode(ca_pem)});
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "", "cluster": cluster}],
        "contexts": null,
        "current-context": "",
        "preferences": {},
        "users": null,
    });
    serde_yaml_ng::to_string(&config).unwrap_or_default()
}

/// A JSON Web Signature without its payload (RFC 7515, appendix F).
fn signature(content: &str, token: &Token) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{}"}}"#, token.id));
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.secret.as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

/// What the ConfigMap should hold, given what it holds: entries of others stay.
fn wanted(held: &BTreeMap<String, String>, kubeconfig: &str, tokens: &[Token]) -> BTreeMap<String, String> {
    let others = held.iter().filter(|(key, _)| !key.starts_with(SIGNATURE));
    let mut data: BTreeMap<_, _> = others.map(|(key, value)| (key.clone(), value.clone())).collect();
    data.insert(KUBECONFIG.to_owned(), kubeconfig.to_owned());
    data.extend(tokens.iter().map(|token| (format!("{SIGNATURE}{}", token.id), signature(kubeconfig, token))));
    data
}

#[async_trait]
impl Controller for BootstrapSigner {
    type Key = ();

    fn name(&self) -> &'static str {
        "bootstrap-signer"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<()>) {
        watches.once(());
        watches.on_value(&self.server.0, [()]);
        watches.on(&self.secrets, |_| Some(()));
        watches.on(&self.maps, |change| (change.object().metadata.namespace.as_deref() == Some(HOME)).then_some(()));
    }

    /// An expired token's signature goes with its Secret, which the cleaner removes.
    async fn reconcile(&self, cx: &Context, (): &()) -> Result<Action, Error> {
        let tokens = self.tokens(cx.env.clock.now());
        let server = SocketAddr::new(*self.server.0.borrow(), self.server.1);
        let kubeconfig = kubeconfig(&format!("https://{server}"), &self.ca_pem);
        let writer = cx.namespaced::<ConfigMap>(HOME);
        let Some(existing) = self.maps.get(HOME, NAME) else {
            let data = Some(wanted(&BTreeMap::new(), &kubeconfig, &tokens));
            let metadata =
                ObjectMeta { name: Some(NAME.to_owned()), namespace: Some(HOME.to_owned()), ..ObjectMeta::default() };
            let created = writer.create(&ConfigMap { metadata, data, ..ConfigMap::default() }).await;
            return match created {
                Err(error) if error.reason() == "AlreadyExists" => Ok(Action::done()),
                other => other.map(|_| Action::done()),
            };
        };
        let held = existing.data.clone().unwrap_or_default();
        let data = wanted(&held, &kubeconfig, &tokens);
        if data != held {
            writer.replace(&ConfigMap { data: Some(data), ..(*existing).clone() }).await?;
        }
        Ok(Action::done())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_come_and_go_with_their_tokens() {
        let token = Token::parse("abcdef.0123456789abcdef").unwrap();
        let held = [("jws-kubeconfig-gone00", "x"), ("mine", "kept"), (KUBECONFIG, "old")];
        let held = held.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let data = wanted(&held, "content", std::slice::from_ref(&token));
        assert_eq!(data.keys().collect::<Vec<_>>(), ["jws-kubeconfig-abcdef", KUBECONFIG, "mine"]);
        assert_eq!(data[KUBECONFIG], "content");
        // The header, nothing, and what verifies over both header and content.
        let parts: Vec<_> = data["jws-kubeconfig-abcdef"].split('.').collect();
        assert_eq!((parts[0], parts[1]), ("eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9", ""));
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        let tag = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        hmac::verify(&key, format!("{}.Y29udGVudA", parts[0]).as_bytes(), &tag).unwrap();
    }
}
