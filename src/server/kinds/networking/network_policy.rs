//! NetworkPolicy: who may talk to which pods.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::kinds::defaults::text;
use crate::server::strategy::{Column, Meta, Strategy};

pub struct NetworkPolicies;

impl Strategy for NetworkPolicies {
    type Kind = NetworkPolicy;

    fn meta(&self) -> Meta {
        Meta { short_names: &["netpol"], generation: true, ..Meta::namespaced::<NetworkPolicy>("networkpolicies") }
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut NetworkPolicy) {
        let Some(spec) = &mut object.spec else { return };
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
        const COLUMNS: &[Column] =
            &[Column::NAME, Column::string("Pod-Selector", "The pods that this policy applies to."), Column::AGE];
        COLUMNS
    }

    fn cells(&self, object: &NetworkPolicy, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let selector = object.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
        Some(vec![cell::name(&object.metadata), cell::selector(selector).into(), cell::age(&object.metadata, now)])
    }
}
