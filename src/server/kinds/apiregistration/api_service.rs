//! APIService: who serves a group and version.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, NameRule, Strategy, Subresource};

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

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Service", "The reference to the service that hosts this API endpoint."),
            Column::string("Available", "Whether this service is available."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &APIService, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let service = object.spec.as_ref().and_then(|spec| spec.service.as_ref());
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let service = service.map(|service| format!("{}/{}", text(&service.namespace), text(&service.name)));
        Some(vec![
            cell::name(&object.metadata),
            cell::or(service.as_deref(), "Local").into(),
            available(object).into(),
            cell::age(&object.metadata, now),
        ])
    }
}

/// The Available condition, with the reason where it does not hold.
fn available(service: &APIService) -> String {
    let mut conditions = service.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let Some(found) = conditions.find(|condition| condition.type_ == "Available") else { return "Unknown".to_owned() };
    match found.reason.as_deref() {
        Some(reason) if found.status != "True" => format!("{} ({reason})", found.status),
        _ => found.status.clone(),
    }
}
