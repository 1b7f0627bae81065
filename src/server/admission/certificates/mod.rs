//! Who may say what about certificate signing requests: the three plugins, one file each, and what they share.

mod approval;
mod signing;
mod subject;

pub use approval::CertificateApproval;
pub use signing::CertificateSigning;
pub use subject::CertificateSubjectRestriction;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::Attributes;
use crate::api::status::{Failure, Result};
use crate::server::authorization::Decision;
use crate::server::http::route::RequestInfo;

const GROUP: &str = "certificates.k8s.io";

/// Whether the request is for this subresource of a CertificateSigningRequest.
fn concerns(attributes: &Attributes<'_>, subresource: &str) -> bool {
    let meta = attributes.context.kind.meta();
    let ours = meta.group == GROUP && meta.plural == "certificatesigningrequests";
    ours && attributes.context.subresource == subresource
}

fn forbidden(attributes: &Attributes<'_>, request: &CertificateSigningRequest, why: &str) -> Failure {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    Failure::forbidden(attributes.context.kind.meta().resource(), name, why)
}

/// Whether the user may do `verb` for the signer, by its name or by its domain's.
async fn check_signer(attributes: &Attributes<'_>, request: &CertificateSigningRequest, verb: &str) -> Result<()> {
    let signer = request.spec.signer_name.as_str();
    let domain = signer.split('/').next().unwrap_or_default();
    for name in [signer.to_owned(), format!("{domain}/*")] {
        let asked = RequestInfo {
            verb: verb.to_owned(),
            is_resource: true,
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: "signers".to_owned(),
            name,
            ..RequestInfo::default()
        };
        if let Decision::Allow(_) = attributes.context.decide(&asked).await {
            return Ok(());
        }
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(forbidden(attributes, request, &why))
}
