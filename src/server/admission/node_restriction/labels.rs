//! The labels that a node may set on itself: any of its own, and of Kubernetes' only those that kubelets know.
//! So no node can steer workloads to itself by a label that administrators trust.

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

const KUBELET: &[&str] = &[
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// The labels that differ and may not.
pub fn forbidden(new: Option<&Labels>, old: Option<&Labels>) -> Vec<String> {
    let none = Labels::new();
    let (new, old) = (new.unwrap_or(&none), old.unwrap_or(&none));
    let keys: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    let changed = keys.into_iter().filter(|key| new.get(*key) != old.get(*key));
    changed.filter(|key| !may_set(key)).cloned().collect()
}

fn may_set(key: &str) -> bool {
    let Some((namespace, _)) = key.split_once('/') else { return true };
    let under = |root: &str| namespace == root || namespace.strip_suffix(root).is_some_and(|rest| rest.ends_with('.'));
    if under("node-restriction.kubernetes.io") {
        return false;
    }
    let of_kubernetes = under("kubernetes.io") || under("k8s.io");
    let of_kubelet = KUBELET.contains(&key) || under("kubelet.kubernetes.io") || under("node.kubernetes.io");
    !of_kubernetes || of_kubelet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_kubelets_know_of_kubernetes_own() {
        let cases = [
            ("tier", true),
            ("example.com/tier", true),
            ("kubernetes.io/hostname", true),
            ("node.kubernetes.io/anything", true),
            ("x.kubelet.kubernetes.io/anything", true),
            ("node-role.kubernetes.io/control-plane", false),
            ("kubernetes.io/other", false),
            ("x.k8s.io/other", false),
            ("notkubernetes.io/other", true),
            ("node-restriction.kubernetes.io/secure", false),
            ("a.node-restriction.kubernetes.io/secure", false),
        ];
        for (key, allowed) in cases {
            let labels = Labels::from([(key.to_owned(), "x".to_owned())]);
            assert_eq!(forbidden(Some(&labels), None).is_empty(), allowed, "{key}");
            assert_eq!(forbidden(None, Some(&labels)).is_empty(), allowed, "{key} removed");
            assert!(forbidden(Some(&labels), Some(&labels)).is_empty(), "{key} unchanged");
        }
    }
}
