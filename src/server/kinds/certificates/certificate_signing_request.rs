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
use crate::server::strategy::{Column, Fields, Meta, NameRule, Strategy, Subresource};
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
            names: NameRule::PathSegment,
            ..Meta::cluster::<CertificateSigningRequest>("certificatesigningrequests")
        }
    }

    fn prepare_create(&self, object: &mut CertificateSigningRequest) {
        object.status = Some(Default::default());
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
            Column::string(
                "SignerName",
                "signerName indicates the requested signer, and is a qualified name.\n\nList/watch requests for CertificateSigningRequests can filter on this field using a \"spec.signerName=NAME\" fieldSelector.\n\nWell-known Kubernetes signers are:\n 1. \"kubernetes.io/kube-apiserver-client\": issues client certificates that can be used to authenticate to kube-apiserver.\n  Requests for this signer are never auto-approved by kube-controller-manager, can be issued by the \"csrsigning\" controller in kube-controller-manager.\n 2. \"kubernetes.io/kube-apiserver-client-kubelet\": issues client certificates that kubelets use to authenticate to kube-apiserver.\n  Requests for this signer can be auto-approved by the \"csrapproving\" controller in kube-controller-manager, and can be issued by the \"csrsigning\" controller in kube-controller-manager.\n 3. \"kubernetes.io/kubelet-serving\" issues serving certificates that kubelets use to serve TLS endpoints, which kube-apiserver can connect to securely.\n  Requests for this signer are never auto-approved by kube-controller-manager, and can be issued by the \"csrsigning\" controller in kube-controller-manager.\n\nMore details are available at https://k8s.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers\n\nCustom signerNames can also be specified. The signer defines:\n 1. Trust distribution: how trust (CA bundles) are distributed.\n 2. Permitted subjects: and behavior when a disallowed subject is requested.\n 3. Required, permitted, or forbidden x509 extensions in the request (including whether subjectAltNames are allowed, which types, restrictions on allowed values) and behavior when a disallowed extension is requested.\n 4. Required, permitted, or forbidden key usages / extended key usages.\n 5. Expiration/certificate lifetime: whether it is fixed by the signer, configurable by the admin.\n 6. Whether or not requests for CA certificates are allowed.",
            ),
            Column::string(
                "Requestor",
                "request contains an x509 certificate signing request encoded in a \"CERTIFICATE REQUEST\" PEM block. When serialized as JSON or YAML, the data is additionally base64-encoded.",
            ),
            Column::string(
                "RequestedDuration",
                "expirationSeconds is the requested duration of validity of the issued certificate. The certificate signer may issue a certificate with a different validity duration so a client must check the delta between the notBefore and and notAfter fields in the issued certificate to determine the actual duration.\n\nThe v1.22+ in-tree implementations of the well-known Kubernetes signers will honor this field as long as the requested duration is not greater than the maximum duration they will honor per the --cluster-signing-duration CLI flag to the Kubernetes controller manager.\n\nCertificate signers may not honor this field for various reasons:\n\n  1. Old signer that is unaware of the field (such as the in-tree\n     implementations prior to v1.22)\n  2. Signer whose configured maximum is shorter than the requested duration\n  3. Signer whose configured minimum is longer than the requested duration\n\nThe minimum valid value for expirationSeconds is 600, i.e. 10 minutes.",
            ),
            Column::string(
                "Condition",
                "conditions applied to the request. Known conditions are \"Approved\", \"Denied\", and \"Failed\".",
            ),
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
