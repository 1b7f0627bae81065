//! NetworkPolicy: who may talk to which pods.

use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::defaults::text;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

pub struct NetworkPolicies;

impl Strategy for NetworkPolicies {
    type Kind = NetworkPolicy;

    fn meta(&self) -> Meta {
        Meta { short_names: &["netpol"], generation: true, ..Meta::namespaced::<NetworkPolicy>("networkpolicies") }
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut NetworkPolicy) {
        let spec = object.spec.get_or_insert_default();
        spec.pod_selector.get_or_insert_default();
        let ingress = spec.ingress.iter_mut().flatten().flat_map(|rule| rule.ports.iter_mut().flatten());
        let egress = spec.egress.iter_mut().flatten().flat_map(|rule| rule.ports.iter_mut().flatten());
        ingress.chain(egress).for_each(|port| text(&mut port.protocol, "TCP"));
        if spec.policy_types.as_ref().is_none_or(Vec::is_empty) {
            let mut types = vec!["Ingress".to_owned()];
            if spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()) {
                types.push("Egress".to_owned());
            }
            spec.policy_types = Some(types);
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "Pod-Selector",
                "podSelector selects the pods to which this NetworkPolicy object applies. The array of rules is applied to any pods selected by this field. An empty selector matches all pods in the policy's namespace. Multiple network policies can select the same set of pods. In this case, the ingress rules for each are combined additively. This field is optional. If it is not specified, it defaults to an empty selector.",
            ),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &NetworkPolicy, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let selector = object.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
        Some(vec![cell::name(&object.metadata), cell::selector(selector).into(), cell::age(&object.metadata, now)])
    }

    fn warnings(&self, new: &NetworkPolicy, _old: Option<&NetworkPolicy>) -> Vec<String> {
        let mut warnings = Vec::new();
        let Some(spec) = &new.spec else { return warnings };
        let path = Path::new("spec");
        for (at, rule) in spec.ingress.iter().flatten().enumerate() {
            odd_ranges(&mut warnings, &path.child("ingress").index(at).child("from"), rule.from.as_deref());
        }
        for (at, rule) in spec.egress.iter().flatten().enumerate() {
            odd_ranges(&mut warnings, &path.child("egress").index(at).child("to"), rule.to.as_deref());
        }
        warnings
    }

    fn validate(&self, new: &NetworkPolicy, old: Option<&NetworkPolicy>) -> Errors {
        let mut errors = Errors::new();
        let known = old.map(ranges).unwrap_or_default();
        let path = Path::new("spec");
        let Some(spec) = &new.spec else { return errors };
        validation::labels::selector(&mut errors, &path.child("podSelector"), spec.pod_selector.as_ref());
        for (at, rule) in spec.ingress.iter().flatten().enumerate() {
            let path = path.child("ingress").index(at);
            ports(&mut errors, &path.child("ports"), rule.ports.as_deref().unwrap_or_default());
            peers(&mut errors, &path.child("from"), rule.from.as_deref().unwrap_or_default(), &known);
        }
        for (at, rule) in spec.egress.iter().flatten().enumerate() {
            let path = path.child("egress").index(at);
            ports(&mut errors, &path.child("ports"), rule.ports.as_deref().unwrap_or_default());
            peers(&mut errors, &path.child("to"), rule.to.as_deref().unwrap_or_default(), &known);
        }
        policy_types(&mut errors, &path.child("policyTypes"), spec.policy_types.as_deref().unwrap_or_default());
        errors
    }
}

/// Every range that a policy names.
fn ranges(policy: &NetworkPolicy) -> Vec<String> {
    let Some(spec) = &policy.spec else { return Vec::new() };
    let from = spec.ingress.iter().flatten().flat_map(|rule| rule.from.iter().flatten());
    let to = spec.egress.iter().flatten().flat_map(|rule| rule.to.iter().flatten());
    let blocks = from.chain(to).filter_map(|peer| peer.ip_block.as_ref());
    blocks.flat_map(|block| block.except.iter().flatten().chain([&block.cidr])).cloned().collect()
}

fn odd_ranges(warnings: &mut Vec<String>, path: &Path, peers: Option<&[NetworkPolicyPeer]>) {
    for (at, peer) in peers.unwrap_or_default().iter().enumerate() {
        let Some(block) = &peer.ip_block else { continue };
        let path = path.index(at).child("ipBlock");
        validation::warnings::cidr(warnings, &path.child("cidr"), &block.cidr);
        for (at, except) in block.except.iter().flatten().enumerate() {
            validation::warnings::cidr(warnings, &path.child("except").index(at), except);
        }
    }
}

fn policy_types(errors: &mut Errors, path: &Path, types: &[String]) {
    let supported = ["Ingress", "Egress"];
    if types.len() > supported.len() {
        let detail = "may not specify more than two policyTypes";
        errors.push(Error::invalid(path, validation::json(&types), detail));
        return;
    }
    for (at, kind) in types.iter().enumerate().filter(|(_, kind)| !supported.contains(&kind.as_str())) {
        errors.push(Error::not_supported_in_order(&path.index(at), kind.as_str(), &supported));
    }
}

fn ports(errors: &mut Errors, path: &Path, ports: &[NetworkPolicyPort]) {
    for (at, port) in ports.iter().enumerate() {
        let path = path.index(at);
        let protocols = ["TCP", "UDP", "SCTP"];
        validation::optional_in_order(errors, &path.child("protocol"), &port.protocol, &protocols);
        if let Some(number) = &port.port {
            validation::port(errors, &path.child("port"), number);
        }
        let Some(end) = port.end_port else { continue };
        let path = path.child("endPort");
        match &port.port {
            None => {
                errors.push(Error::invalid(&path, end, "may not be specified when `port` is not specified"));
            }
            Some(IntOrString::String(_)) => {
                errors.push(Error::invalid(&path, end, "may not be specified when `port` is non-numeric"));
            }
            Some(IntOrString::Int(start)) => {
                if end < *start {
                    errors.push(Error::invalid(&path, end, "must be greater than or equal to `port`"));
                }
                validation::port_number(errors, &path, end);
            }
        }
    }
}

/// `known` are the ranges that the policy had until now.
fn peers(errors: &mut Errors, path: &Path, peers: &[NetworkPolicyPeer], known: &[String]) {
    for (at, peer) in peers.iter().enumerate() {
        let path = path.index(at);
        let selects = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
        validation::labels::selector(errors, &path.child("podSelector"), peer.pod_selector.as_ref());
        validation::labels::selector(errors, &path.child("namespaceSelector"), peer.namespace_selector.as_ref());
        if let Some(block) = &peer.ip_block {
            self::block(errors, &path.child("ipBlock"), block, known);
        }
        match (&peer.ip_block, selects) {
            (None, false) => errors.push(Error::required(&path, "must specify a peer")),
            (Some(_), true) => errors.push(Error::forbidden(&path, "may not specify both ipBlock and another peer")),
            (None, true) | (Some(_), false) => {}
        }
    }
}

fn block(errors: &mut Errors, path: &Path, block: &IPBlock, known: &[String]) {
    if block.cidr.is_empty() {
        errors.push(Error::required(&path.child("cidr"), ""));
        return;
    }
    let whole = validation::network::cidr(errors, &path.child("cidr"), &block.cidr, known);
    for (at, except) in block.except.iter().flatten().enumerate().filter(|_| whole.is_some()) {
        let path = path.child("except").index(at);
        let part = validation::network::cidr(errors, &path, except, known);
        if let (Some(whole), Some(part)) = (whole, part)
            && (!whole.contains(&part.network()) || whole.prefix_len() >= part.prefix_len())
        {
            errors.push(Error::invalid(&path, except.as_str(), "must be a strict subset of `cidr`"));
        }
    }
}
