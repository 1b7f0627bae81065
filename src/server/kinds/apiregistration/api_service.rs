//! APIService: who serves a group and version.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;

use crate::server::strategy::{Meta, NameRule, Strategy, Subresource};

pub struct ApiServices;

impl Strategy for ApiServices {
    type Kind = APIService;

    fn meta(&self) -> Meta {
        Meta {
            categories: &["api-extensions"],
            subresources: const { &[Subresource::status("APIService")] },
            unconditional_update: false,
            names: NameRule::PathSegment,
            ..Meta::cluster::<APIService>("apiservices")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut APIService) {
        let service = object.spec.as_mut().and_then(|spec| spec.service.as_mut());
        if let Some(service) = service {
            crate::server::kinds::defaults::absent(&mut service.port, 443);
        }
    }
}
