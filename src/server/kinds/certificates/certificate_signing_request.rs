//! CertificateSigningRequest: asks a signer for a client or serving certificate.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use crate::server::kinds::defaults;
use crate::server::strategy::{Meta, Strategy, Subresource};

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
    }

    fn default(&self, object: &mut CertificateSigningRequest) {
        let conditions = object.status.as_mut().and_then(|status| status.conditions.as_mut());
        for condition in conditions.into_iter().flatten() {
            defaults::required_text(&mut condition.status, "True");
        }
    }
}
