//! Service: a name and an address for a set of pods.

mod allocated;
mod validate;
mod warnings;

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec, ServiceStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::api::field::Errors;
use crate::server::kinds::cell;
use crate::server::kinds::defaults::{absent, absent_text, text};
use crate::server::strategy::{Column, Fields, Meta, NameRule, PROXY, Strategy, Subresource};

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

    fn prepare_create(&self, object: &mut Service) {
        object.status = Some(ServiceStatus { load_balancer: Some(Default::default()), conditions: None });
        object.spec.iter_mut().for_each(allocated::mirror_cluster_ips);
    }

    fn prepare_update(&self, new: &mut Service, old: &Service) {
        new.status = old.status.clone();
        let (Some(new), Some(old)) = (&mut new.spec, &old.spec) else { return };
        allocated::keep(new, old);
        allocated::drop_unused(new, old);
    }

    fn prepare_status(&self, new: &mut Service, old: &Service) {
        new.spec = old.spec.clone();
    }

    fn same_spec(&self, new: &Service, old: &Service) -> bool {
        new.spec == old.spec
    }

    fn validate(&self, new: &Service, old: Option<&Service>) -> Errors {
        validate::service(new, old)
    }

    fn validate_status(&self, new: &Service, old: &Service) -> Errors {
        validate::status(new, old)
    }

    fn warnings(&self, new: &Service, _old: Option<&Service>) -> Vec<String> {
        warnings::warnings(new)
    }

    fn status_warnings(&self, new: &Service) -> Vec<String> {
        warnings::of_status(new)
    }

    fn default(&self, object: &mut Service) {
        let spec = object.spec.get_or_insert_default();
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
            absent_text(&mut spec.internal_traffic_policy, "Cluster");
        }
        if kind == "LoadBalancer" {
            absent(&mut spec.allocate_load_balancer_node_ports, true);
            let balancer = object.status.as_mut().and_then(|status| status.load_balancer.as_mut());
            for ingress in balancer.into_iter().flat_map(|balancer| balancer.ingress.iter_mut().flatten()) {
                if ingress.ip.as_deref().is_some_and(|ip| !ip.is_empty()) {
                    absent_text(&mut ingress.ip_mode, "VIP");
                }
            }
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Type", "type determines how the Service is exposed. Defaults to ClusterIP. Valid options are ExternalName, ClusterIP, NodePort, and LoadBalancer. \"ClusterIP\" allocates a cluster-internal IP address for load-balancing to endpoints. Endpoints are determined by the selector or if that is not specified, by manual construction of an Endpoints object or EndpointSlice objects. If clusterIP is \"None\", no virtual IP is allocated and the endpoints are published as a set of endpoints rather than a virtual IP. \"NodePort\" builds on ClusterIP and allocates a port on every node which routes to the same endpoints as the clusterIP. \"LoadBalancer\" builds on NodePort and creates an external load-balancer (if supported in the current cloud) which routes to the same endpoints as the clusterIP. \"ExternalName\" aliases this service to the specified externalName. Several other fields do not apply to ExternalName services. More info: https://kubernetes.io/docs/concepts/services-networking/service/#publishing-services-service-types"),
            Column::string("Cluster-IP", "clusterIP is the IP address of the service and is usually assigned randomly. If an address is specified manually, is in-range (as per system configuration), and is not in use, it will be allocated to the service; otherwise creation of the service will fail. This field may not be changed through updates unless the type field is also being changed to ExternalName (which requires this field to be blank) or the type field is being changed from ExternalName (in which case this field may optionally be specified, as describe above).  Valid values are \"None\", empty string (\"\"), or a valid IP address. Setting this to \"None\" makes a \"headless service\" (no virtual IP), which is useful when direct endpoint connections are preferred and proxying is not required.  Only applies to types ClusterIP, NodePort, and LoadBalancer. If this field is specified when creating a Service of type ExternalName, creation will fail. This field will be wiped when updating a Service to type ExternalName. More info: https://kubernetes.io/docs/concepts/services-networking/service/#virtual-ips-and-service-proxies"),
            Column::string(
                "External-IP",
                "externalIPs is a list of IP addresses for which nodes in the cluster will also accept traffic for this service.  These IPs are not managed by Kubernetes.  The user is responsible for ensuring that traffic arrives at a node with this IP.  A common example is external load-balancers that are not part of the Kubernetes system.",
            ),
            Column::string("Port(s)", "The list of ports that are exposed by this service. More info: https://kubernetes.io/docs/concepts/services-networking/service/#virtual-ips-and-service-proxies"),
            Column::AGE,
            Column::string(
                "Selector",
                "Route service traffic to pods with label keys and values matching this selector. If empty or not present, the service is assumed to have an external process managing its endpoints, which Kubernetes will not modify. Only applies to types ClusterIP, NodePort, and LoadBalancer. Ignored if type is ExternalName. More info: https://kubernetes.io/docs/concepts/services-networking/service/",
            )
            .wide(),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Service, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let ports: Vec<_> = spec.ports.iter().flatten().map(port).collect();
        Some(vec![
            cell::name(&object.metadata),
            cell::text(&spec.type_),
            cell::or(spec.cluster_ip.as_deref(), cell::NONE).into(),
            external(object, &spec).into(),
            cell::list(&ports).into(),
            cell::age(&object.metadata, now),
            cell::labels(spec.selector.as_ref()).into(),
        ])
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn fields<'a>(&self, object: &'a Service) -> Fields<'a> {
        let spec = object.spec.as_ref();
        let cluster_ip = spec.and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
        let kind = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or_default();
        vec![("spec.clusterIP", Cow::from(cluster_ip)), ("spec.type", Cow::from(kind))]
    }
}

fn port(port: &ServicePort) -> String {
    let protocol = port.protocol.as_deref().unwrap_or_default();
    match port.node_port {
        Some(node_port) if node_port > 0 => format!("{}:{node_port}/{protocol}", port.port),
        _ => format!("{}/{protocol}", port.port),
    }
}

/// Where the service is reached from outside.
fn external(service: &Service, spec: &ServiceSpec) -> String {
    let ips = spec.external_ips.clone().unwrap_or_default();
    match spec.type_.as_deref() {
        Some("ClusterIP" | "NodePort") => cell::list(&ips),
        Some("LoadBalancer") => {
            let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            let ingress = status.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
            let balancer = cell::balancer(ingress.iter().map(cell::ingress_of));
            let all: Vec<_> = Some(balancer).filter(|given| !given.is_empty()).into_iter().chain(ips).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        Some("ExternalName") => spec.external_name.clone().unwrap_or_default(),
        _ => cell::UNKNOWN.to_owned(),
    }
}
