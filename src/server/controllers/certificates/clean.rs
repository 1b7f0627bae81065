//! Sweeps requests away that nobody needs any more: an hour after their verdict, a day after nobody gave one, and
//! when the certificate has expired. A timer is armed for each.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{DeleteParams, Preconditions};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{APPROVED, DENIED, FAILED, certificate, conditions, said};
use crate::reconcile::clock::until;
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};

const AFTER_VERDICT: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

pub struct Cleaning {
    requests: Informer<CertificateSigningRequest>,
}

impl Cleaning {
    pub fn new(env: &Env) -> Self {
        Self { requests: env.informers.get() }
    }
}

/// When the request is to go; `None` where that depends on what becomes of it.
fn due(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let issued = !certificate(request).is_empty();
    let after = |kind: &str| {
        let since = said(request, kind)?.last_update_time.as_ref()?;
        since.0.checked_add(AFTER_VERDICT).ok()
    };
    let pending = conditions(request).is_empty().then(|| {
        let created = request.metadata.creation_timestamp.as_ref()?;
        created.0.checked_add(PENDING).ok()
    });
    let approved = issued.then(|| after(APPROVED)).flatten();
    let expired = issued.then(|| end(certificate(request))).flatten();
    [approved, after(DENIED), after(FAILED), pending.flatten(), expired].into_iter().flatten().min()
}

/// When a certificate ends.
fn end(pem: &[u8]) -> Option<Timestamp> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[async_trait]
impl Controller for Cleaning {
    type Key = Key;

    fn name(&self) -> &'static str {
        "csrcleaner"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.requests, |change| change.new.as_ref().map(|request| Key::of(request.as_ref())));
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let Some(request) = self.requests.get("", &key.name) else { return Ok(Action::done()) };
        let Some(due) = due(&request) else { return Ok(Action::done()) };
        let left = until(cx.env.clock.now(), due);
        if left > Duration::ZERO {
            return Ok(Action::after(left));
        }
        let uid = request.metadata.uid.clone();
        let preconditions = Some(Preconditions { uid, resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        cx.cluster().delete(request.as_ref(), &params).await?;
        Ok(Action::done())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn due_of(conditions: Value, certificate: &str) -> Option<String> {
        let metadata = json!({"creationTimestamp": "2026-01-01T00:00:00Z"});
        let spec = json!({"request": "", "signerName": "a/b"});
        let certificate = k8s_openapi::ByteString(certificate.as_bytes().to_vec());
        let status = json!({"conditions": conditions, "certificate": certificate});
        let request = json!({"metadata": metadata, "spec": spec, "status": status});
        due(&serde_json::from_value(request).unwrap()).map(|at| at.to_string())
    }

    #[test]
    fn everything_has_its_time() {
        let said = |kind: &str| json!([{"type": kind, "status": "True", "lastUpdateTime": "2026-01-01T12:00:00Z"}]);
        let cases = [
            (json!([]), "", Some("2026-01-02T00:00:00Z")),
            (said("Denied"), "", Some("2026-01-01T13:00:00Z")),
            (said("Failed"), "", Some("2026-01-01T13:00:00Z")),
            (said("Approved"), "", None),
            (said("Approved"), "x", Some("2026-01-01T13:00:00Z")),
            (said("Mine"), "", None),
        ];
        for (conditions, certificate, expected) in cases {
            assert_eq!(due_of(conditions.clone(), certificate).as_deref(), expected, "{conditions}");
        }
        let mut params = rcgen::CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(2026, 1, 1);
        let expired = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
        assert_eq!(due_of(said("Approved"), &expired).as_deref(), Some("2026-01-01T00:00:00Z"));
    }
}
