//! Secret: data that is not shown by default; typed, and immutable on request.

use k8s_openapi::api::core::v1::Secret;

use crate::server::strategy::{Meta, Strategy};

pub struct Secrets;

impl Strategy for Secrets {
    type Kind = Secret;

    fn meta(&self) -> Meta {
        Meta::namespaced::<Secret>("secrets")
    }
}
