//! The EndpointSlices that say what somebody's own Endpoints say, as a difference to those that there are. Pure.
//!
//! Every set of ports and family has one slice; what a subset has beyond [`MOST`] addresses is left out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort as OldPort, Endpoints};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::slices::{MANAGED_BY, SERVICE_NAME, ports_key, reuse, turned_into};
use crate::server::controllers::owners;

/// Who manages the slices.
pub const US: &str = "endpointslicemirroring-controller.k8s.io";
pub const MOST: usize = 1000;
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Of the Endpoints alone.
const OWN_ANNOTATIONS: [&str; 2] =
    ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<Arc<EndpointSlice>>,
    /// Addresses that no slice has room for.
    pub skipped: usize,
}

/// Whether the Endpoints may be mirrored at all: they ask not to be, or are no more than somebody's lock.
pub fn is_wanted(endpoints: &Endpoints) -> bool {
    let meta = &endpoints.metadata;
    let skipped = meta.labels.as_ref().and_then(|labels| labels.get(SKIP)).is_some_and(|value| value == "true");
    let lock = meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LEADER));
    !skipped && !lock
}

/// `slices` are those of the Endpoints that this controller manages. Without Endpoints to mirror, all of them go.
pub fn plan(endpoints: Option<&Endpoints>, slices: Vec<Arc<EndpointSlice>>) -> Plan {
    let mut plan = Plan { delete: slices, ..Plan::default() };
    let Some(endpoints) = endpoints else { return plan };
    let mut groups: BTreeMap<_, (Vec<EndpointPort>, BTreeMap<_, Endpoint>)> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports: Vec<_> = subset.ports.iter().flatten().map(port).collect();
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let waiting = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        let all: Vec<_> = ready.chain(waiting).filter_map(|(address, ready)| endpoint(address, ready)).collect();
        plan.skipped += all.len().saturating_sub(MOST);
        for (family, endpoint) in all.into_iter().take(MOST) {
            let group = groups.entry((family, ports_key(&ports))).or_insert_with(|| (ports.clone(), BTreeMap::new()));
            group.1.insert(endpoint.addresses.clone(), endpoint);
        }
    }
    plan.delete.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    for ((family, key), (ports, all)) in groups {
        let slice = EndpointSlice {
            metadata: metadata(endpoints),
            address_type: family.to_owned(),
            endpoints: Some(all.into_values().take(MOST).collect()),
            ports: Some(ports),
        };
        let fits = |there: &Arc<EndpointSlice>| {
            there.address_type == family && ports_key(there.ports.as_deref().unwrap_or_default()) == key
        };
        let Some(at) = plan.delete.iter().position(fits) else {
            plan.create.push(slice);
            continue;
        };
        let there = plan.delete.remove(at);
        if !same(&there, &slice) {
            plan.update.push(turned_into(&there, slice));
        }
    }
    reuse(&mut plan.create, &mut plan.update, &mut plan.delete);
    plan
}

fn same(there: &EndpointSlice, wanted: &EndpointSlice) -> bool {
    let (a, b) = (&there.metadata, &wanted.metadata);
    let said = a.labels == b.labels && a.annotations == b.annotations && a.owner_references == b.owner_references;
    said && there.endpoints == wanted.endpoints
}

fn metadata(endpoints: &Endpoints) -> ObjectMeta {
    let meta = &endpoints.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let mut labels = meta.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), name.clone());
    labels.insert(MANAGED_BY.to_owned(), US.to_owned());
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !OWN_ANNOTATIONS.contains(&key.as_str()));
    ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: meta.namespace.clone(),
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then_some(annotations),
        owner_references: Some(vec![owners::reference(endpoints)]),
        ..ObjectMeta::default()
    }
}

fn port(port: &OldPort) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
    }
}

/// With its family.
fn endpoint(address: &EndpointAddress, ready: bool) -> Option<(&'static str, Endpoint)> {
    let ip: IpAddr = address.ip.parse().ok()?;
    let endpoint = Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    };
    Some((if ip.is_ipv4() { "IPv4" } else { "IPv6" }, endpoint))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn endpoints(subsets: Value) -> Endpoints {
        let metadata = json!({
            "name": "db", "namespace": "ns", "uid": "u", "labels": {"team": "a"},
            "annotations": {"note": "kept", "endpoints.kubernetes.io/last-change-trigger-time": "dropped"},
        });
        serde_json::from_value(json!({"metadata": metadata, "subsets": subsets})).unwrap()
    }

    /// Named, as the server would have stored them.
    fn stored(slices: Vec<EndpointSlice>) -> Vec<Arc<EndpointSlice>> {
        let named = slices.into_iter().enumerate().map(|(at, mut slice)| {
            slice.metadata.name = Some(format!("db-{at}"));
            slice.metadata.generate_name = None;
            Arc::new(slice)
        });
        named.collect()
    }

    #[test]
    fn slices_say_what_the_endpoints_say() {
        let http = json!([{"port": 80, "protocol": "TCP"}]);
        let two = endpoints(json!([
            {"addresses": [{"ip": "10.1.2.3", "hostname": "a"}, {"ip": "fd00::1"}], "ports": http},
            {"notReadyAddresses": [{"ip": "10.1.2.4", "nodeName": "n"}], "ports": http},
            {"addresses": [{"ip": "10.1.2.3"}], "ports": [{"name": "other", "port": 81, "protocol": "TCP"}]},
        ]));
        let made = plan(Some(&two), Vec::new());
        let shown: Vec<_> = made.create.iter().map(|slice| serde_json::to_value(slice).unwrap()).collect();
        assert_eq!(shown.len(), 3);
        let first = &shown[0];
        assert_eq!(
            first["metadata"],
            json!({
                "generateName": "db-", "namespace": "ns", "annotations": {"note": "kept"},
                "labels": {"team": "a", SERVICE_NAME: "db", MANAGED_BY: US},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Endpoints", "name": "db", "uid": "u",
                    "controller": true, "blockOwnerDeletion": true}],
            })
        );
        assert_eq!(first["ports"], json!([{"name": "", "port": 80, "protocol": "TCP"}]));
        assert_eq!(
            first["endpoints"],
            json!([
                {"addresses": ["10.1.2.3"], "conditions": {"ready": true}, "hostname": "a"},
                {"addresses": ["10.1.2.4"], "conditions": {"ready": false}, "nodeName": "n"},
            ])
        );
        let families: Vec<_> = shown.iter().map(|slice| slice["addressType"].as_str().unwrap()).collect();
        assert_eq!(families, ["IPv4", "IPv4", "IPv6"]);

        let there = stored(made.create);
        assert_eq!(plan(Some(&two), there.clone()), Plan::default());
        let moved = endpoints(json!([{"addresses": [{"ip": "10.2.3.4"}], "ports": http}]));
        let change = plan(Some(&moved), there.clone());
        assert_eq!((change.create.len(), change.update.len(), change.delete.len()), (0, 1, 2));
        assert_eq!(change.update[0].metadata.name.as_deref(), Some("db-0"));
        assert_eq!(plan(None, there).delete.len(), 3);
    }

    #[test]
    fn too_many_addresses_are_left_out() {
        let addresses: Vec<_> = (0..=MOST).map(|at| json!({"ip": format!("10.1.{}.{}", at / 256, at % 256)})).collect();
        let made = plan(Some(&endpoints(json!([{"addresses": addresses, "ports": [{"port": 80}]}]))), Vec::new());
        assert_eq!((made.create[0].endpoints.as_ref().unwrap().len(), made.skipped), (MOST, 1));
    }

    #[test]
    fn who_does_not_want_it_is_not_mirrored() {
        let with = |metadata: Value| is_wanted(&serde_json::from_value(json!({"metadata": metadata})).unwrap());
        assert!(with(json!({"labels": {SKIP: "false"}})));
        assert!(!with(json!({"labels": {SKIP: "true"}})));
        assert!(!with(json!({"annotations": {LEADER: "{}"}})));
    }
}
