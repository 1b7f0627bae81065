//! Ingress: HTTP routes to Services.

use k8s_openapi::api::networking::v1::Ingress;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

pub struct Ingresses;

impl Strategy for Ingresses {
    type Kind = Ingress;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["ing"],
            subresources: const { &[Subresource::status("Ingress")] },
            generation: true,
            ..Meta::namespaced::<Ingress>("ingresses")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "Class",
                "The name of the IngressClass resource that should be used for additional configuration",
            ),
            Column::string("Hosts", "Hosts that incoming requests are matched against before the ingress rule"),
            Column::string("Address", "Address is a list containing ingress points for the load-balancer"),
            Column::string("Ports", "Ports of TLS configurations that open"),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Ingress, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = status.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
        let address = cell::balancer(ingress.iter().map(|point| (point.ip.as_deref(), point.hostname.as_deref())));
        let hosts = spec.rules.iter().flatten().filter_map(|rule| rule.host.clone().filter(|host| !host.is_empty()));
        let secure = spec.tls.as_ref().is_some_and(|tls| !tls.is_empty());
        Some(vec![
            cell::name(&object.metadata),
            cell::or(spec.ingress_class_name.as_deref(), cell::NONE).into(),
            cell::three(hosts).as_deref().unwrap_or("*").into(),
            address.into(),
            if secure { "80, 443" } else { "80" }.into(),
            cell::age(&object.metadata, now),
        ])
    }
}
