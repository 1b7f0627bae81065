//! CertificateSubjectRestriction: nobody asks the cluster's client signer for a place in `system:masters`.

use async_trait::async_trait;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::{concerns, forbidden};
use crate::api::csr::{KUBE_APISERVER_CLIENT, SigningRequest};
use crate::api::object::Object;
use crate::api::status::Result;
use crate::server::admission::{Attributes, Operation, Plugin};

pub struct CertificateSubjectRestriction;

const MASTERS: &str = "system:masters";

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        let request = object.and_then(|object| object.downcast_ref::<CertificateSigningRequest>());
        let Some(request) = request.filter(|request| request.spec.signer_name == KUBE_APISERVER_CLIENT) else {
            return Ok(());
        };
        if attributes.operation != Operation::Create || !concerns(attributes, "") {
            return Ok(());
        }
        let asked = SigningRequest::parse(&request.spec.request.0)
            .map_err(|error| forbidden(attributes, request, &format!("failed to parse CSR: {error}")))?;
        if asked.organizations.iter().any(|group| group == MASTERS) {
            let why = format!("use of {KUBE_APISERVER_CLIENT} signer with {MASTERS} group is not allowed");
            return Err(forbidden(attributes, request, &why));
        }
        Ok(())
    }
}
