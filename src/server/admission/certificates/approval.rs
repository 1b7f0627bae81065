//! CertificateApproval: who approves or denies a request needs `approve` on its signer.

use async_trait::async_trait;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::{check_signer, concerns};
use crate::api::object::Object;
use crate::api::status::Result;
use crate::server::admission::{Attributes, Operation, Plugin};

pub struct CertificateApproval;

#[async_trait]
impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        let request = object.and_then(|object| object.downcast_ref::<CertificateSigningRequest>());
        match request {
            Some(request) if attributes.operation == Operation::Update && concerns(attributes, "approval") => {
                check_signer(attributes, request, "approve").await
            }
            _ => Ok(()),
        }
    }
}
