//! Service: a name and an address for a set of pods.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::server::kinds::defaults::{absent, text};
use crate::server::strategy::{Meta, NameRule, PROXY, Strategy, Subresource};

const SUBRESOURCES: &[Subresource] = &[
    Subresource { name: "proxy", kind: "ServiceProxyOptions", group_version: None, verbs: PROXY },
    Subresource::status("Service"),
];

pub struct Services;

impl Strategy for Services {
    type Kind = Service;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["svc"],
            categories: &["all"],
            subresources: SUBRESOURCES,
            create_on_update: true,
            names: NameRule::Label,
            ..Meta::namespaced::<Service>("services")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut Service) {
        let Some(spec) = &mut object.spec else { return };
        text(&mut spec.session_affinity, "None");
        match spec.session_affinity.as_deref() {
            Some("None") => spec.session_affinity_config = None,
            Some("ClientIP") => {
                let client = spec.session_affinity_config.get_or_insert_default().client_ip.get_or_insert_default();
                absent(&mut client.timeout_seconds, 10800);
            }
            _ => {}
        }
        text(&mut spec.type_, "ClusterIP");
        for port in spec.ports.iter_mut().flatten() {
            text(&mut port.protocol, "TCP");
            let unset = match &port.target_port {
                None | Some(IntOrString::Int(0)) => true,
                Some(IntOrString::String(name)) => name.is_empty(),
                Some(IntOrString::Int(_)) => false,
            };
            if unset {
                port.target_port = Some(IntOrString::Int(port.port));
            }
        }
        let kind = spec.type_.as_deref().unwrap_or_default();
        let external_ips = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
        if matches!(kind, "NodePort" | "LoadBalancer") || kind == "ClusterIP" && external_ips {
            text(&mut spec.external_traffic_policy, "Cluster");
        }
        if matches!(kind, "NodePort" | "LoadBalancer" | "ClusterIP") {
            absent(&mut spec.internal_traffic_policy, "Cluster".to_owned());
        }
        if kind == "LoadBalancer" {
            absent(&mut spec.allocate_load_balancer_node_ports, true);
            let balancer = object.status.as_mut().and_then(|status| status.load_balancer.as_mut());
            for ingress in balancer.into_iter().flat_map(|balancer| balancer.ingress.iter_mut().flatten()) {
                if ingress.ip.as_deref().is_some_and(|ip| !ip.is_empty()) {
                    absent(&mut ingress.ip_mode, "VIP".to_owned());
                }
            }
        }
    }
}
