//! Signs approved requests to the built-in signers, or says why it cannot.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::{APPROVED, DENIED, FAILED, certificate, said, with_condition};
use crate::api::csr::{self, SigningRequest};
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};

/// The cluster's CA.
pub trait CertificateSigner: Send + Sync + 'static {
    /// A certificate (PEM) of the request's subject, key and names, for at most `seconds`.
    fn sign(
        &self,
        request: &SigningRequest,
        usages: &[String],
        seconds: Option<i32>,
        now: Timestamp,
    ) -> Result<String, String>;
}

pub struct Signing {
    requests: Informer<CertificateSigningRequest>,
    signer: Arc<dyn CertificateSigner>,
}

impl Signing {
    pub fn new(env: &Env, signer: Arc<dyn CertificateSigner>) -> Self {
        Self { requests: env.informers.get(), signer }
    }
}

/// Whether a signer of ours may sign it, or why not. `None`: not for us.
fn recognized(signer: &str, request: &SigningRequest, usages: &[String]) -> Option<Result<(), String>> {
    match signer {
        csr::KUBE_APISERVER_CLIENT => Some(csr::client_usages(usages)),
        csr::KUBELET_CLIENT => Some(csr::kubelet_client(request, usages)),
        csr::KUBELET_SERVING => Some(csr::kubelet_serving(request, usages)),
        _ => None,
    }
}

/// Approved, and nothing has come of it yet.
fn is_waiting(request: &CertificateSigningRequest) -> bool {
    let verdict = said(request, APPROVED).is_some() && said(request, DENIED).is_none();
    verdict && said(request, FAILED).is_none() && certificate(request).is_empty()
}

#[async_trait]
impl Controller for Signing {
    type Key = Key;

    fn name(&self) -> &'static str {
        "csrsigning"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.requests, |change| {
            let waiting = change.new.as_ref().filter(|request| is_waiting(request));
            waiting.map(|request| Key::of(request.as_ref()))
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let found = self.requests.get("", &key.name).filter(|request| is_waiting(request));
        let Some(request) = found else { return Ok(Action::done()) };
        let spec = &request.spec;
        // Validation lets in no request that cannot be read.
        let asked = SigningRequest::parse(&spec.request.0).map_err(|error| Error::Invalid(error.to_string()))?;
        let usages = spec.usages.as_deref().unwrap_or_default();
        let now = cx.env.clock.now();
        let answered = match recognized(&spec.signer_name, &asked, usages) {
            None => return Ok(Action::done()),
            Some(Err(why)) => with_condition(&request, FAILED, "SignerValidationFailure", &why, now),
            Some(Ok(())) => {
                let signed = self.signer.sign(&asked, usages, spec.expiration_seconds, now).map_err(Error::Invalid)?;
                let mut signed_request = (*request).clone();
                signed_request.status.get_or_insert_default().certificate = Some(ByteString(signed.into_bytes()));
                signed_request
            }
        };
        cx.cluster().replace_status(&answered).await?;
        Ok(Action::done())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_waits_for_a_signature() {
        let cases: [(&[&str], &str, bool); 6] = [
            (&[], "", false),
            (&["Approved"], "", true),
            (&["Denied"], "", false),
            (&["Approved", "Failed"], "", false),
            (&["Approved", "Denied"], "", false),
            (&["Approved"], "eA==", false),
        ];
        for (conditions, certificate, expected) in cases {
            let conditions: Vec<_> = conditions.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
            let status = json!({"conditions": conditions, "certificate": certificate});
            let spec = json!({"request": "", "signerName": csr::KUBELET_CLIENT});
            let request = serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap();
            assert_eq!(is_waiting(&request), expected, "{request:?}");
        }
        assert_eq!(recognized("example.com/mine", &SigningRequest::default(), &[]), None);
        assert!(recognized(csr::KUBELET_SERVING, &SigningRequest::default(), &[]).unwrap().is_err());
    }
}
