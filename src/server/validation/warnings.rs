//! What upstream warns of in several kinds: addresses in other than their usual form, labels that nodes had once.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{NodeSelectorTerm, PersistentVolumeClaimSpec};

use crate::api::field::Path;
use crate::api::names;
use crate::api::quantity::Quantity;
use crate::server::validation::network::sloppy_ip;

/// Labels of nodes that have newer names.
pub const OLD_NODE_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", r#"deprecated since v1.14; use "kubernetes.io/arch" instead"#),
    ("beta.kubernetes.io/os", r#"deprecated since v1.14; use "kubernetes.io/os" instead"#),
    (
        "failure-domain.beta.kubernetes.io/region",
        r#"deprecated since v1.17; use "topology.kubernetes.io/region" instead"#,
    ),
    ("failure-domain.beta.kubernetes.io/zone", r#"deprecated since v1.17; use "topology.kubernetes.io/zone" instead"#),
    ("beta.kubernetes.io/instance-type", r#"deprecated since v1.17; use "node.kubernetes.io/instance-type" instead"#),
];

/// What to use in the place of an old label of nodes.
pub fn old_node_label(label: &str) -> Option<&'static str> {
    OLD_NODE_LABELS.iter().find(|(old, _)| *old == label).map(|(_, advice)| *advice)
}

/// `check_values` where values that no label can have are not errors already.
pub fn node_selector_term(warnings: &mut Vec<String>, path: &Path, term: &NodeSelectorTerm, check_values: bool) {
    for (at, expression) in term.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(at);
        if let Some(advice) = old_node_label(&expression.key) {
            warnings.push(format!("{}: {} is {advice}", path.child("key"), expression.key));
        }
        for (at, value) in expression.values.iter().flatten().enumerate().filter(|_| check_values) {
            for problem in names::label_value(value) {
                warnings.push(format!("{}: {value} is invalid, {problem}", path.child("values").index(at)));
            }
        }
    }
}

pub fn ip(warnings: &mut Vec<String>, path: &Path, text: &str) {
    let Some(address) = sloppy_ip(text) else { return };
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(six)) if six.to_ipv4_mapped().is_none() => {
            let canonical = six.to_string();
            if canonical != text {
                warnings.push(format!(
                    "{path}: IPv6 address {text:?} should be in RFC 5952 canonical format ({canonical:?})"
                ));
            }
        }
        Ok(IpAddr::V4(_)) => {}
        _ => {
            let plain = address.to_canonical().to_string();
            warnings.push(format!(
                "{path}: non-standard IP address {text:?} will be considered invalid in a future Kubernetes release: use {plain:?}"
            ));
        }
    }
}

pub fn cidr(warnings: &mut Vec<String>, path: &Path, text: &str) {
    let Ok(net) = text.parse::<ipnet::IpNet>() else { return };
    let trunc = net.trunc();
    if trunc.addr() != net.addr() {
        let single = format!("{}/{}", net.addr(), net.max_prefix_len());
        let whole = trunc.to_string();
        warnings.push(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be {whole:?} or {single:?}?)"
        ));
    }
    if net.addr().is_ipv6() && net.to_string() != text {
        let canonical = net.to_string();
        warnings
            .push(format!("{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({canonical:?})"));
    }
}

/// Bytes are whole.
pub fn fractional(warnings: &mut Vec<String>, path: &Path, amount: Quantity) {
    if amount.milli() % 1000 != 0 {
        let shown = amount.to_string();
        warnings.push(format!("{path}: fractional byte value {shown:?} is invalid, must be an integer"));
    }
}

/// `path` is the claim's spec.
pub fn claim(warnings: &mut Vec<String>, path: &Path, spec: &PersistentVolumeClaimSpec) {
    let Some(resources) = &spec.resources else { return };
    for (field, list) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        if let Some(size) = list.as_ref().and_then(|list| list.get("storage")) {
            fractional(warnings, &path.child("resources").child(field).key("storage"), Quantity::of(size));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_odd_forms() {
        let cases = [
            ("10.0.0.1", None),
            ("2001:db8::1", None),
            (
                "2001:DB8::1",
                Some("a: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")"),
            ),
            (
                "010.0.0.1",
                Some(
                    "a: non-standard IP address \"010.0.0.1\" will be considered invalid in a future Kubernetes release: use \"10.0.0.1\"",
                ),
            ),
            (
                "::ffff:10.0.0.1",
                Some(
                    "a: non-standard IP address \"::ffff:10.0.0.1\" will be considered invalid in a future Kubernetes release: use \"10.0.0.1\"",
                ),
            ),
        ];
        for (text, expected) in cases {
            let mut warnings = Vec::new();
            ip(&mut warnings, &Path::new("a"), text);
            assert_eq!(warnings.first().map(String::as_str), expected, "{text}");
        }
        let mut warnings = Vec::new();
        cidr(&mut warnings, &Path::new("a"), "10.0.0.1/8");
        assert_eq!(
            warnings,
            [
                "a: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)"
            ]
        );
    }
}
