//! Which endpoints of a Service's port this node may use: by condition, by traffic policy and by topology hints, as
//! upstream's `CategorizeEndpoints` chooses them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::agent::proxy::plan::{Node, Target};
use crate::agent::services::{Endpoint, Hints, ServicePort, Slice, View};

/// The endpoints of one port.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Usable {
    /// For the policy `Cluster`.
    pub cluster: Vec<Target>,
    /// For the policy `Local`: those on this node.
    pub local: Vec<Target>,
    /// Whether any node has one.
    pub anywhere: bool,
    /// All that serve, whatever the policies say: connections that lead to one of them go on.
    pub serving: BTreeSet<Target>,
}

/// One address, of which several slices may tell.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    ready: bool,
    leaving: bool,
    local: bool,
    hints: Option<&'a Hints>,
}

/// Ready endpoints; when there are none, those that still serve while they terminate. That holds for each policy apart
/// from the other (KEP-1669).
pub fn usable(view: &View, port: &ServicePort, node: &Node) -> Usable {
    let mut usable = Usable::default();
    let mut candidates = BTreeMap::new();
    for slice in view.slices.iter().filter(|slice| !slice.other_proxy) {
        for (target, endpoint) in targets(slice, port) {
            if endpoint.ready || endpoint.serving {
                usable.serving.insert(target);
            }
            merge(candidates.entry(target).or_insert_with(|| candidate(endpoint, node)), candidate(endpoint, node));
        }
    }
    let is_near = nearness(candidates.values(), node);
    let choose = |wanted: &dyn Fn(&Candidate<'_>) -> bool| -> Vec<Target> {
        candidates.iter().filter(|(_, it)| wanted(it)).map(|(target, _)| *target).collect()
    };
    let or = |first: Vec<Target>, second: &dyn Fn(&Candidate<'_>) -> bool| {
        if first.is_empty() { choose(second) } else { first }
    };
    usable.cluster = or(choose(&|it| it.ready && is_near(it)), &|it| it.leaving);
    usable.local = or(choose(&|it| it.ready && it.local), &|it| it.leaving && it.local);
    usable.anywhere = !usable.cluster.is_empty();
    usable
}

/// The addresses of this node's ready endpoints, for whoever asks whether the node is worth sending to.
pub fn ready_here<'a>(view: &'a View, node: &'a str) -> BTreeSet<IpAddr> {
    let slices = view.slices.iter().filter(|slice| !slice.other_proxy && !slice.ports.is_empty());
    let endpoints = slices.flat_map(|slice| &slice.endpoints);
    endpoints.filter(|it| it.ready && it.node.as_deref() == Some(node)).map(|it| it.address).collect()
}

fn targets<'a>(slice: &'a Slice, port: &ServicePort) -> impl Iterator<Item = (Target, &'a Endpoint)> {
    let found = slice.ports.iter().find(|it| it.name == port.name && it.protocol == port.protocol);
    found.into_iter().flat_map(|found| slice.endpoints.iter().map(move |it| (found.port, it))).filter_map(
        |(port, endpoint)| match endpoint.address {
            IpAddr::V4(address) => Some(((address, port), endpoint)),
            IpAddr::V6(_) => None,
        },
    )
}

fn candidate<'a>(endpoint: &'a Endpoint, node: &Node) -> Candidate<'a> {
    Candidate {
        ready: endpoint.ready,
        leaving: endpoint.serving && endpoint.terminating,
        local: endpoint.node.as_deref() == Some(&*node.name),
        hints: endpoint.hints.as_deref(),
    }
}

/// While an endpoint moves from one slice to another, both may have it: the better news counts.
fn merge<'a>(known: &mut Candidate<'a>, other: Candidate<'a>) {
    if other.ready && !known.ready {
        known.hints = other.hints;
    }
    known.ready |= other.ready;
    known.leaving |= other.leaving;
    known.local |= other.local;
}

/// Hints count only when every ready endpoint has some and one of them names this node, or else its zone: a half-told
/// distribution would leave somebody without endpoints.
fn nearness<'a>(
    candidates: impl Iterator<Item = &'a Candidate<'a>> + Clone,
    node: &Node,
) -> impl Fn(&Candidate<'_>) -> bool {
    let by_node = |it: &Candidate<'_>| it.hints.is_some_and(|hints| hints.nodes.contains(&node.name));
    let zone = node.zone.as_deref();
    let by_zone =
        move |it: &Candidate<'_>| it.hints.is_some_and(|hints| hints.zones.iter().any(|name| Some(&**name) == zone));
    let ready = candidates.filter(|it| it.ready);
    let hinted = |list: fn(&Hints) -> &Vec<String>| {
        ready.clone().all(|it| it.hints.is_some_and(|hints| !list(hints).is_empty()))
    };
    let same_node = hinted(|hints| &hints.nodes) && ready.clone().any(by_node);
    let same_zone = !same_node && hinted(|hints| &hints.zones) && ready.clone().any(by_zone);
    move |it| match (same_node, same_zone) {
        (true, _) => by_node(it),
        (_, true) => by_zone(it),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::net::nft::model::Protocol;

    const HERE: &str = "here";

    /// `address:conditions@node/zone-hints/node-hints`; r is ready, s serving, t terminating.
    fn endpoint(text: &str) -> Endpoint {
        let (address, rest) = text.split_once(':').unwrap();
        let (conditions, rest) = rest.split_once('@').unwrap();
        let mut rest = rest.split('/');
        let node = rest.next().unwrap();
        let mut names =
            || rest.next().unwrap_or_default().split(',').filter(|it| !it.is_empty()).map(Into::into).collect();
        let hints = Hints { zones: names(), nodes: names() };
        Endpoint {
            address: IpAddr::from([10, 42, 0, address.parse().unwrap()]),
            hostname: None,
            node: Some(node.into()),
            hints: (hints != Hints::default()).then(|| Box::new(hints)),
            ready: conditions.contains('r'),
            serving: conditions.contains(['r', 's']),
            terminating: conditions.contains('t'),
        }
    }

    fn slice(port: u16, endpoints: &[&str]) -> Arc<Slice> {
        let port = crate::agent::services::EndpointPort { name: "p".to_owned(), protocol: Protocol::Tcp, port };
        let endpoints = endpoints.iter().map(|text| endpoint(text)).collect();
        Arc::new(Slice { ports: vec![port], endpoints, other_proxy: false })
    }

    fn usable_of(slices: Vec<Arc<Slice>>) -> Usable {
        let port = ServicePort { name: "p".to_owned(), protocol: Protocol::Tcp, port: 80, node_port: None };
        let node =
            Node { name: HERE.to_owned(), zone: Some("z".to_owned()), ip: [192, 0, 2, 1].into(), cluster_dns: None };
        usable(&View { service: None, slices }, &port, &node)
    }

    fn lasts(targets: &[Target]) -> Vec<u8> {
        targets.iter().map(|(address, _)| address.octets()[3]).collect()
    }

    #[test]
    fn conditions_policies_and_hints() {
        // endpoints → for Cluster, for Local
        let cases: &[(&[&str], &[u8], &[u8])] = &[
            (&[], &[], &[]),
            (&["1:r@here", "2:r@there"], &[1, 2], &[1]),
            (&["1:@here", "2:r@there"], &[2], &[]),
            (&["1:st@here", "2:r@there"], &[2], &[1]),
            (&["1:st@here", "2:st@there", "3:t@here"], &[1, 2], &[1]),
            (&["1:st@here", "2:r@here"], &[2], &[2]),
            // Serving without terminating is neither ready nor leaving.
            (&["1:s@here"], &[], &[]),
            // Zones: all or nothing, and only where this zone has one.
            (&["1:r@here/z", "2:r@there/y"], &[1], &[1]),
            (&["1:r@there/z", "2:r@there/z,y", "3:r@here/y"], &[1, 2], &[3]),
            (&["1:r@here/z", "2:r@there"], &[1, 2], &[1]),
            (&["1:r@there/y", "2:r@there/x"], &[1, 2], &[]),
            (&["1:r@there/z", "2:@there"], &[1], &[]),
            // Terminating ones are taken from anywhere, hints or not.
            (&["1:st@there/y", "2:st@there/z"], &[1, 2], &[]),
            // The node first, then its zone.
            (&["1:r@here/z/here", "2:r@there/z/there"], &[1], &[1]),
            (&["1:r@a/z/a", "2:r@b/z/b", "3:r@c/y/c"], &[1, 2], &[]),
            (&["1:r@here/z/here", "2:r@b/z", "3:r@c/y"], &[1, 2], &[1]),
            (&["1:r@here//here", "2:r@b//b"], &[1], &[1]),
        ];
        for (endpoints, cluster, local) in cases {
            let usable = usable_of(vec![slice(8080, endpoints)]);
            assert_eq!((&*lasts(&usable.cluster), &*lasts(&usable.local)), (*cluster, *local), "{endpoints:?}");
            assert_eq!(usable.anywhere, !cluster.is_empty(), "{endpoints:?}");
        }
    }

    #[test]
    fn slices_add_up_and_each_has_its_own_port() {
        let usable = usable_of(vec![slice(8080, &["1:@here", "2:r@there"]), slice(9090, &["3:r@there"])]);
        assert_eq!(usable.cluster, [([10, 42, 0, 2].into(), 8080), ([10, 42, 0, 3].into(), 9090)]);
        // The same endpoint in two slices, as while it moves from one to the other.
        let usable = usable_of(vec![slice(8080, &["1:st@here"]), slice(8080, &["1:r@here"])]);
        assert_eq!(lasts(&usable.cluster), [1]);
        assert_eq!(lasts(&usable.local), [1]);
    }

    #[test]
    fn connections_stay_with_whatever_serves() {
        let usable = usable_of(vec![slice(8080, &["1:st@here", "2:r@there", "3:@there", "4:s@there"])]);
        assert_eq!(lasts(&Vec::from_iter(usable.serving)), [1, 2, 4]);
    }

    #[test]
    fn what_is_ready_here_is_counted_by_address() {
        let slices = vec![slice(8080, &["1:r@here", "2:r@there", "3:st@here"]), slice(9090, &["1:r@here", "5:r@here"])];
        let view = View { service: None, slices };
        assert_eq!(ready_here(&view, HERE).len(), 2);
    }
}
