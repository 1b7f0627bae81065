//! CertificateSigning: who writes a certificate or a condition into the status needs `sign` on the request's signer.

use async_trait::async_trait;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::{check_signer, concerns};
use crate::api::object::Object;
use crate::api::status::Result;
use crate::server::admission::{Attributes, Operation, Plugin};

pub struct CertificateSigning;

fn typed(object: Option<&dyn Object>) -> Option<&CertificateSigningRequest> {
    object.and_then(|object| object.downcast_ref())
}

#[async_trait]
impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        if attributes.operation != Operation::Update || !concerns(attributes, "status") {
            return Ok(());
        }
        match (typed(object), typed(attributes.old)) {
            (Some(new), Some(old)) if new.status != old.status => check_signer(attributes, new, "sign").await,
            _ => Ok(()),
        }
    }
}
