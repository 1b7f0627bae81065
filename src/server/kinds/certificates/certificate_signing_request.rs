//! CertificateSigningRequest: asks a signer for a client or serving certificate.

use std::borrow::Cow;
use std::time::Duration;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::api::duration::human;
use crate::api::field::{Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Fields, Meta, Strategy, Subresource};
use crate::server::validation::certificate::{self, Through};

const SUBRESOURCES: &[Subresource] = &[
    Subresource {
        name: "approval",
        kind: "CertificateSigningRequest",
        group_version: None,
        verbs: &["get", "patch", "update"],
    },
    Subresource::status("CertificateSigningRequest"),
];

pub struct CertificateSigningRequests;

impl Strategy for CertificateSigningRequests {
    type Kind = CertificateSigningRequest;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["csr"],
            subresources: SUBRESOURCES,
            ..Meta::cluster::<CertificateSigningRequest>("certificatesigningrequests")
        }
    }

    fn prepare_create(&self, object: &mut CertificateSigningRequest) {
        object.status = None;
    }

    fn prepare_update(&self, new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
        // A request is written once.
        new.spec = old.spec.clone();
        new.status = old.status.clone();
    }

    fn prepare_status(&self, new: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
        new.spec = old.spec.clone();
        certificate::keep_verdicts(new, old);
        certificate::stamp(new, old, &Time(jiff::Timestamp::now()));
    }

    fn validate_status(&self, new: &CertificateSigningRequest, old: &CertificateSigningRequest) -> Errors {
        certificate::update(new, old, Through::Status)
    }

    fn validate_window(
        &self,
        _window: &str,
        new: &CertificateSigningRequest,
        old: &CertificateSigningRequest,
    ) -> Errors {
        certificate::update(new, old, Through::Approval)
    }

    fn default(&self, object: &mut CertificateSigningRequest) {
        let conditions = object.status.as_mut().and_then(|status| status.conditions.as_mut());
        for condition in conditions.into_iter().flatten() {
            defaults::required_text(&mut condition.status, "True");
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::AGE,
            Column::string("SignerName", "The signer that is asked."),
            Column::string("Requestor", "Who asks."),
            Column::string("RequestedDuration", "How long the certificate should be valid."),
            Column::string("Condition", "Whether the request was approved and the certificate issued."),
        ];
        COLUMNS
    }

    fn cells(&self, object: &CertificateSigningRequest, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let seconds = object.spec.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let lifetime = seconds.map(|seconds| human(Duration::from_secs(seconds)));
        Some(vec![
            cell::name(&object.metadata),
            cell::age(&object.metadata, now),
            cell::or(Some(&object.spec.signer_name), cell::NONE).into(),
            cell::text(&object.spec.username),
            cell::or(lifetime.as_deref(), cell::NONE).into(),
            condition(object).into(),
        ])
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }

    fn fields<'a>(&self, object: &'a CertificateSigningRequest) -> Fields<'a> {
        vec![("spec.signerName", Cow::from(object.spec.signer_name.as_str()))]
    }

    fn validate(&self, new: &CertificateSigningRequest, old: Option<&CertificateSigningRequest>) -> Errors {
        let mut errors = Errors::new();
        if old.is_none() {
            super::request::spec(&mut errors, &Path::new("spec"), &new.spec);
        }
        errors
    }
}

/// The verdict and what came of it.
fn condition(request: &CertificateSigningRequest) -> String {
    let status = request.status.as_ref();
    let conditions = || status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is = |kind: &str| conditions().any(|condition| condition.type_ == kind);
    let mut words = vec![match () {
        () if is("Denied") => "Denied",
        () if is("Approved") => "Approved",
        () => "Pending",
    }];
    if is("Failed") {
        words.push("Failed");
    }
    if status.and_then(|status| status.certificate.as_ref()).is_some_and(|certificate| !certificate.0.is_empty()) {
        words.push("Issued");
    }
    words.join(",")
}
