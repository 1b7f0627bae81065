//! Which EndpointSlices a Service should have, as a difference to those it has. Pure.
//!
//! Endpoints with the same ports share slices of at most 100. A change touches as few slices as it can: what is
//! already somewhere stays there, and new endpoints go where there is room.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::service::{self, Family};
use super::topology::{self, Capacity};
use crate::server::controllers::{owners, pods};

pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub const US: &str = "endpointslice-controller.k8s.io";
pub const HEADLESS: &str = "service.kubernetes.io/headless";
pub const ZONE: &str = "topology.kubernetes.io/zone";
const MOST: usize = 100;

/// What the caches show of one Service.
pub struct World<'a> {
    pub service: &'a Service,
    /// The pods its selector matches.
    pub pods: Vec<Arc<Pod>>,
    /// The nodes those pods are on, by name.
    pub nodes: HashMap<String, Arc<Node>>,
    /// The slices of the Service that this controller manages.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// Of the zones, where they can be told and the Service asks for [`topology`].
    pub capacity: Option<Capacity>,
}

/// What a Service's owner should know of its hints, in upstream's words.
#[derive(Debug, PartialEq, Eq)]
pub enum Note {
    HintsEnabled(String),
    HintsDisabled(String),
}

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<Arc<EndpointSlice>>,
    pub notes: Vec<Note>,
}

/// Endpoints that can share a slice: a family and the ports, in the text that orders and identifies them.
type Group = (Family, String);
type Groups = BTreeMap<Group, (Vec<EndpointPort>, Vec<Endpoint>)>;

pub fn plan(world: &World<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut groups = wanted(world);
    if topology::is_wanted(world.service) {
        plan.notes = share_out(world, &mut groups);
    }
    for family in service::families(world.service) {
        if !groups.keys().any(|(other, _)| *other == family) {
            // An empty slice says that the Service was looked at and has nothing.
            groups.insert((family, ports_key(&[])), (Vec::new(), Vec::new()));
        }
    }
    let mut unclaimed = world.slices.clone();
    unclaimed.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    for ((family, key), (ports, endpoints)) in groups {
        let belongs = |slice: &Arc<EndpointSlice>| {
            slice.metadata.deletion_timestamp.is_none()
                && slice.address_type == family.address_type()
                && ports_key(slice.ports.as_deref().unwrap_or_default()) == key
        };
        let existing: Vec<_> = unclaimed.iter().filter(|slice| belongs(slice)).cloned().collect();
        unclaimed.retain(|slice| !belongs(slice));
        fit(&mut plan, world.service, family, &ports, endpoints, existing);
    }
    plan.delete.extend(unclaimed.into_iter().filter(|slice| slice.metadata.deletion_timestamp.is_none()));
    reuse(&mut plan.create, &mut plan.update, &mut plan.delete);
    plan
}

/// Lets slices that would be deleted turned_into those that would be created, so that no reader sees both, or neither.
/// Not those of another owner with the same name: the garbage collector takes them.
pub(super) fn reuse(
    create: &mut Vec<EndpointSlice>,
    update: &mut Vec<EndpointSlice>,
    delete: &mut Vec<Arc<EndpointSlice>>,
) {
    let owner = |slice: &EndpointSlice| owners::controller_of(&slice.metadata).map(|owner| owner.uid.clone());
    delete.retain(|gone| {
        let fits = |new: &EndpointSlice| new.address_type == gone.address_type && owner(new) == owner(gone);
        let Some(at) = create.iter().position(fits) else { return true };
        let new = create.remove(at);
        update.push(turned_into(gone, new));
        false
    });
}

/// What `new` says, as a change to `there`.
pub(super) fn turned_into(there: &EndpointSlice, new: EndpointSlice) -> EndpointSlice {
    let metadata = ObjectMeta {
        labels: new.metadata.labels,
        annotations: new.metadata.annotations,
        owner_references: new.metadata.owner_references,
        ..there.metadata.clone()
    };
    EndpointSlice { metadata, ..new }
}

fn wanted(world: &World<'_>) -> Groups {
    let mut groups = Groups::new();
    for pod in world.pods.iter().filter(|pod| service::belongs(pod, true)) {
        let node = service::node_name(pod).map(|name| (name, world.nodes.get(name)));
        // A pod on a node that is gone is about to go too.
        if matches!(node, Some((_, None))) && !service::publishes_not_ready(world.service) {
            continue;
        }
        let ports = ports(world.service, pod);
        for family in service::families(world.service) {
            let Some(address) = service::address(pod, family) else { continue };
            let node = node.and_then(|(_, node)| node.map(Arc::as_ref));
            let endpoint = endpoint(world.service, pod, address, node);
            let group = groups.entry((family, ports_key(&ports))).or_insert_with(|| (ports.clone(), Vec::new()));
            group.1.push(endpoint);
        }
    }
    groups
}

/// Gives hints by the zones' capacity, for each family apart.
fn share_out(world: &World<'_>, groups: &mut Groups) -> Vec<Note> {
    let share = |family: Family| {
        let of_family = groups.iter_mut().filter(|((its, _), _)| *its == family);
        let mut endpoints: Vec<_> = of_family.flat_map(|(_, (_, endpoints))| endpoints).collect();
        endpoints.sort_by_key(|endpoint| identity(endpoint));
        let told = |text: &str| format!("{text}, addressType: {}", family.address_type());
        let known = world.slices.iter().filter(|slice| slice.address_type == family.address_type());
        let had = known.flat_map(|slice| slice.endpoints.iter().flatten()).any(|endpoint| endpoint.hints.is_some());
        match topology::share_out(&mut endpoints, world.capacity.as_ref()) {
            Ok(()) => (!had).then(|| Note::HintsEnabled(told("Topology Aware Hints has been enabled"))),
            Err(why) => Some(Note::HintsDisabled(told(&why))),
        }
    };
    service::families(world.service).into_iter().filter_map(share).collect()
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let ports = ports.filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(service::target_port(port, pod)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    });
    ports.collect()
}

pub(super) fn ports_key(ports: &[EndpointPort]) -> String {
    let text = |port: &EndpointPort| {
        let name = port.name.as_deref().unwrap_or_default();
        format!("{name}/{:?}/{:?}/{:?}", port.port, port.protocol, port.app_protocol)
    };
    let mut all: Vec<_> = ports.iter().map(text).collect();
    all.sort();
    all.join(",")
}

fn endpoint(service: &Service, pod: &Pod, address: &str, node: Option<&Node>) -> Endpoint {
    let serving = pods::is_ready(pod);
    let terminating = pods::is_deleting(pod);
    let ready = service::publishes_not_ready(service) || (serving && !terminating);
    let zone = node.and_then(|node| node.metadata.labels.as_ref()?.get(ZONE).cloned());
    let node_name = service::node_name(pod).map(str::to_owned);
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        deprecated_topology: None,
        hints: hints(service, ready, zone.as_ref(), node_name.as_ref()),
        hostname: service::hostname(pod, service),
        node_name,
        target_ref: Some(service::target_ref(pod)),
        zone,
    }
}

/// Where traffic should come from, by the Service's `trafficDistribution`.
fn hints(service: &Service, ready: bool, zone: Option<&String>, node: Option<&String>) -> Option<EndpointHints> {
    let distribution = service.spec.as_ref()?.traffic_distribution.as_deref()?;
    if topology::is_wanted(service) {
        return None;
    }
    let for_zones = zone.map(|zone| vec![ForZone { name: zone.clone() }]);
    let for_nodes = node.map(|node| vec![ForNode { name: node.clone() }]);
    match distribution {
        "PreferClose" | "PreferSameZone" if ready => {
            for_zones.map(|zones| EndpointHints { for_zones: Some(zones), for_nodes: None })
        }
        "PreferSameNode" if ready && (for_zones.is_some() || for_nodes.is_some()) => {
            Some(EndpointHints { for_zones, for_nodes })
        }
        _ => None,
    }
}

/// Spreads the endpoints of one group over its slices.
fn fit(
    plan: &mut Plan,
    service: &Service,
    family: Family,
    ports: &[EndpointPort],
    endpoints: Vec<Endpoint>,
    existing: Vec<Arc<EndpointSlice>>,
) {
    let mut wanted: BTreeMap<_, _> = endpoints.into_iter().map(|endpoint| (identity(&endpoint), endpoint)).collect();
    let mut slices: Vec<(Arc<EndpointSlice>, Vec<Endpoint>)> = Vec::new();
    for slice in existing {
        let kept = slice.endpoints.iter().flatten().filter_map(|endpoint| wanted.remove(&identity(endpoint)));
        let kept = kept.collect();
        slices.push((slice, kept));
    }
    let mut missing: Vec<_> = wanted.into_values().collect();
    // Slices that change anyway are filled first.
    let changes = |slice: &EndpointSlice, kept: &[Endpoint]| slice.endpoints.as_deref().unwrap_or_default() != kept;
    slices.sort_by_key(|(slice, kept)| (!changes(slice, kept), slice.metadata.name.clone()));
    for (_, kept) in &mut slices {
        let room = MOST.saturating_sub(kept.len()).min(missing.len());
        kept.extend(missing.drain(..room));
    }
    let all_empty = missing.is_empty() && slices.iter().all(|(_, kept)| kept.is_empty());
    // The empty slice of a family without endpoints: there is exactly one.
    let placeholder = all_empty && slices.is_empty();
    let mut spared = all_empty;
    for (slice, kept) in slices {
        if kept.is_empty() && !std::mem::take(&mut spared) {
            plan.delete.push(slice);
            continue;
        }
        let mut updated = (*slice).clone();
        updated.endpoints = Some(kept);
        set_labels(&mut updated.metadata, service);
        if !same(&updated, &slice) {
            plan.update.push(updated);
        }
    }
    let chunks: Vec<_> = missing.chunks(MOST).map(<[_]>::to_vec).collect();
    for endpoints in chunks {
        plan.create.push(new_slice(service, family, ports, endpoints));
    }
    if placeholder {
        plan.create.push(new_slice(service, family, ports, Vec::new()));
    }
}

fn same(a: &EndpointSlice, b: &EndpointSlice) -> bool {
    let shown = |slice: &EndpointSlice| {
        (
            slice.endpoints.clone().unwrap_or_default(),
            slice.metadata.labels.clone(),
            slice.metadata.owner_references.clone(),
        )
    };
    shown(a) == shown(b)
}

fn identity(endpoint: &Endpoint) -> (Option<String>, Vec<String>) {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    (uid, endpoint.addresses.clone())
}

/// The Service's own labels and ours.
fn set_labels(meta: &mut ObjectMeta, service: &Service) {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    for reserved in [SERVICE_NAME, MANAGED_BY, HEADLESS] {
        labels.remove(reserved);
    }
    if service::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), US.to_owned());
    meta.labels = Some(labels);
}

fn new_slice(service: &Service, family: Family, ports: &[EndpointPort], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let mut metadata = ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: service.metadata.namespace.clone(),
        owner_references: Some(vec![owners::reference(service)]),
        ..ObjectMeta::default()
    };
    set_labels(&mut metadata, service);
    EndpointSlice {
        metadata,
        address_type: family.address_type().to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{
        Container, ContainerPort, PodCondition, PodIP, PodSpec, PodStatus, ServicePort, ServiceSpec,
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

    use super::*;

    fn service() -> Service {
        let port = ServicePort {
            name: Some("http".to_owned()),
            port: 80,
            target_port: Some(IntOrString::String("web".to_owned())),
            ..ServicePort::default()
        };
        let mut service = Service {
            spec: Some(ServiceSpec { ports: Some(vec![port]), ..ServiceSpec::default() }),
            ..Service::default()
        };
        service.metadata.name = Some("web".to_owned());
        service.metadata.uid = Some("s".to_owned());
        service.metadata.labels = Some([("team".to_owned(), "a".to_owned())].into());
        service
    }

    /// A ready pod on node `n` whose port `web` is `port`.
    fn pod(number: usize, port: i32) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some(format!("p{number}"));
        pod.metadata.uid = Some(format!("u{number}"));
        let ports =
            vec![ContainerPort { name: Some("web".to_owned()), container_port: port, ..ContainerPort::default() }];
        let containers = vec![Container { ports: Some(ports), ..Container::default() }];
        pod.spec = Some(PodSpec { node_name: Some("n".to_owned()), containers, ..PodSpec::default() });
        let ip = format!("10.42.{}.{}", number / 200, number % 200 + 1);
        let ready = PodCondition { type_: "Ready".to_owned(), status: "True".to_owned(), ..PodCondition::default() };
        pod.status = Some(PodStatus {
            phase: Some("Running".to_owned()),
            pod_ips: Some(vec![PodIP { ip: ip.clone() }]),
            pod_ip: Some(ip),
            conditions: Some(vec![ready]),
            ..PodStatus::default()
        });
        pod
    }

    fn node() -> HashMap<String, Arc<Node>> {
        let mut node = Node::default();
        node.metadata.labels = Some([(ZONE.to_owned(), "z".to_owned())].into());
        [("n".to_owned(), Arc::new(node))].into()
    }

    fn planned(service: &Service, pods: Vec<Pod>, slices: &[EndpointSlice]) -> Plan {
        let pods = pods.into_iter().map(Arc::new).collect();
        let slices = slices.iter().cloned().map(Arc::new).collect();
        plan(&World { service, pods, nodes: node(), slices, capacity: None })
    }

    /// The slices after a plan was carried out.
    fn apply(slices: &mut Vec<EndpointSlice>, plan: Plan) {
        slices.retain(|slice| !plan.delete.iter().any(|gone| gone.metadata.name == slice.metadata.name));
        for updated in plan.update {
            let at = slices.iter().position(|slice| slice.metadata.name == updated.metadata.name);
            slices[at.expect("only slices there are get updated")] = updated;
        }
        for mut slice in plan.create {
            slice.metadata.name = Some(format!("s{:03}", slices.len()));
            slices.push(slice);
        }
    }

    fn sizes(slices: &[EndpointSlice]) -> Vec<usize> {
        slices.iter().map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len)).collect()
    }

    #[test]
    fn an_endpoint_says_everything_about_its_pod() {
        let plan = planned(&service(), vec![pod(1, 8080)], &[]);
        let [slice] = &plan.create[..] else { panic!("one slice") };
        let labels = slice.metadata.labels.as_ref().expect("labelled");
        let expected = [("team", "a"), (SERVICE_NAME, "web"), (MANAGED_BY, US)];
        assert_eq!(labels.len(), 3);
        assert!(expected.iter().all(|(key, value)| labels.get(*key).map(String::as_str) == Some(value)));
        let ports = slice.ports.as_ref().expect("there");
        assert_eq!(
            (ports[0].name.as_deref(), ports[0].port, ports[0].protocol.as_deref()),
            (Some("http"), Some(8080), Some("TCP"))
        );
        let endpoint = &slice.endpoints.as_ref().expect("there")[0];
        assert_eq!(endpoint.addresses, ["10.42.0.2"]);
        assert_eq!((endpoint.zone.as_deref(), endpoint.node_name.as_deref()), (Some("z"), Some("n")));
        let target = endpoint.target_ref.as_ref().expect("there");
        assert_eq!((target.kind.as_deref(), target.uid.as_deref()), (Some("Pod"), Some("u1")));
    }

    #[test]
    fn conditions() {
        type Change = fn(&mut Service, &mut Pod);
        fn not_ready(pod: &mut Pod) {
            pod.status.as_mut().and_then(|s| s.conditions.as_mut()).expect("set")[0].status = "False".to_owned();
        }
        fn deleted(pod: &mut Pod) {
            pod.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        }
        fn publish(service: &mut Service) {
            service.spec.as_mut().expect("set").publish_not_ready_addresses = Some(true);
        }
        // change → ready, serving, terminating
        let cases: [(Change, (bool, bool, bool)); 5] = [
            (|_, _| {}, (true, true, false)),
            (|_, pod| not_ready(pod), (false, false, false)),
            (|_, pod| deleted(pod), (false, true, true)),
            (
                |service, pod| {
                    publish(service);
                    not_ready(pod)
                },
                (true, false, false),
            ),
            (
                |service, pod| {
                    publish(service);
                    deleted(pod)
                },
                (true, true, true),
            ),
        ];
        for (change, expected) in cases {
            let (mut service, mut pod) = (service(), pod(1, 80));
            change(&mut service, &mut pod);
            let plan = planned(&service, vec![pod], &[]);
            let conditions = plan.create[0].endpoints.as_ref().expect("there")[0].conditions.clone().expect("there");
            let got = (conditions.ready, conditions.serving, conditions.terminating);
            assert_eq!(got, (Some(expected.0), Some(expected.1), Some(expected.2)));
        }
    }

    #[test]
    fn hints_follow_the_traffic_distribution() {
        let hinted = |distribution: Option<&str>, zoned: bool, change: fn(&mut Pod)| {
            let (mut service, mut pod) = (service(), pod(1, 80));
            change(&mut pod);
            service.spec.as_mut().expect("set").traffic_distribution = distribution.map(str::to_owned);
            let nodes = if zoned { node() } else { [("n".to_owned(), Arc::default())].into() };
            let pods = vec![Arc::new(pod)];
            let world = World { service: &service, pods, nodes, slices: Vec::new(), capacity: None };
            let hints = plan(&world).create[0].endpoints.as_ref().expect("there")[0].hints.clone()?;
            let zones: Vec<_> = hints.for_zones.into_iter().flatten().map(|zone| zone.name).collect();
            let nodes: Vec<_> = hints.for_nodes.into_iter().flatten().map(|node| node.name).collect();
            Some((zones.join(","), nodes.join(",")))
        };
        let as_is = |_: &mut Pod| {};
        let some = |zone: &str, node: &str| Some((zone.to_owned(), node.to_owned()));
        let cases = [
            (None, true, None),
            (Some("PreferClose"), true, some("z", "")),
            (Some("PreferSameZone"), true, some("z", "")),
            (Some("PreferSameZone"), false, None),
            (Some("PreferSameNode"), true, some("z", "n")),
            (Some("PreferSameNode"), false, some("", "n")),
        ];
        for (distribution, zoned, expected) in cases {
            assert_eq!(hinted(distribution, zoned, as_is), expected, "{distribution:?} {zoned}");
        }
        let leaving = |pod: &mut Pod| pod.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(hinted(Some("PreferSameNode"), true, leaving), None, "only ready endpoints");
    }

    #[test]
    fn named_ports_differ_per_pod() {
        let plan = planned(&service(), vec![pod(1, 8080), pod(2, 9090), pod(3, 8080)], &[]);
        let mut got: Vec<_> = plan
            .create
            .iter()
            .map(|slice| (slice.ports.as_ref().expect("there")[0].port, sizes(std::slice::from_ref(slice))[0]))
            .collect();
        got.sort();
        assert_eq!(got, [(Some(8080), 2), (Some(9090), 1)]);
    }

    #[test]
    fn who_has_no_endpoint() {
        let mut ended = pod(1, 80);
        ended.status.as_mut().expect("set").phase = Some("Succeeded".to_owned());
        let mut unborn = pod(2, 80);
        let status = unborn.status.as_mut().expect("set");
        (status.pod_ip, status.pod_ips) = (None, None);
        let mut stranded = pod(3, 80);
        stranded.spec.as_mut().expect("set").node_name = Some("gone".to_owned());
        let plan = planned(&service(), vec![ended, unborn, stranded], &[]);
        assert_eq!((plan.create.len(), sizes(&plan.create)), (1, vec![0]), "only the empty slice");
    }

    #[test]
    fn slices_of_another_owner_are_not_reused() {
        let mut slices = Vec::new();
        apply(&mut slices, planned(&service(), Vec::new(), &[]));
        let mut again = service();
        again.metadata.uid = Some("another".to_owned());
        let plan = planned(&again, vec![pod(1, 80)], &slices);
        assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (1, 0, 1));
    }

    #[test]
    fn slices_fill_up_and_change_little() {
        let mut slices = Vec::new();
        apply(&mut slices, planned(&service(), Vec::new(), &[]));
        assert_eq!(sizes(&slices), [0]);
        let pods = |range: std::ops::Range<usize>| range.map(|number| pod(number, 80)).collect::<Vec<_>>();
        let plan = planned(&service(), pods(0..250), &slices);
        assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (2, 1, 0), "the empty one is used");
        apply(&mut slices, plan);
        let mut sorted = sizes(&slices);
        sorted.sort();
        assert_eq!(sorted, [50, 100, 100]);
        assert_eq!(planned(&service(), pods(0..250), &slices), Plan::default(), "nothing more to do");
        let plan = planned(&service(), pods(0..251), &slices);
        assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (0, 1, 0));
        apply(&mut slices, plan);
        let plan = planned(&service(), Vec::new(), &slices);
        apply(&mut slices, plan);
        assert_eq!(sizes(&slices), [0]);
        assert_eq!(planned(&service(), Vec::new(), &slices), Plan::default());
    }
}
