//! Kinds of resource.k8s.io.

pub mod device_class;
pub mod resource_claim;
pub mod resource_claim_template;
pub mod resource_slice;

use k8s_openapi::api::resource::v1::DeviceClaim;

use crate::server::kinds::defaults::{number, text};

/// How many devices of what, where a request leaves it out.
fn device_claim(claim: &mut DeviceClaim) {
    for request in claim.requests.iter_mut().flatten() {
        if let Some(exactly) = &mut request.exactly {
            text(&mut exactly.allocation_mode, "ExactCount");
            if exactly.allocation_mode.as_deref() == Some("ExactCount") {
                number(&mut exactly.count, 1);
            }
        }
        for sub in request.first_available.iter_mut().flatten() {
            text(&mut sub.allocation_mode, "ExactCount");
            if sub.allocation_mode.as_deref() == Some("ExactCount") {
                number(&mut sub.count, 1);
            }
        }
    }
}
