//! What a cluster has from its first moment and always: the system namespaces, the system priority
//! classes, and the `kubernetes` Service with its endpoints. Whatever of it is deleted or changed comes back.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Namespace, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::{self as discovery, Endpoint, EndpointConditions, EndpointSlice};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;

use crate::reconcile::{Action, Cached, Change, Context, Controller, Env, Error, Informer, Watches};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
const HOME: &str = "default";
const KUBERNETES: &str = "kubernetes";
const PRIORITIES: [(&str, i32, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

/// Creates the system namespaces, for everything that starts after this.
pub async fn create_namespaces(client: &Client) -> Result<(), kube::Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    for name in NAMESPACES {
        match api.create(&PostParams::default(), &namespace(name)).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            other => drop(other?),
        }
    }
    Ok(())
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

fn at_home(name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(HOME.to_owned()), ..named(name) }
}

fn namespace(name: &str) -> Namespace {
    Namespace { metadata: named(name), ..Namespace::default() }
}

/// The parts of the beginning, each of which is kept by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Namespace(usize),
    Priority(usize),
    Service,
    Slice,
    Endpoints,
}

pub struct Bootstrap {
    namespaces: Informer<Namespace>,
    priorities: Informer<PriorityClass>,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    endpoints: Informer<Endpoints>,
    /// The first address of the service range.
    service_ip: IpAddr,
    /// Where pods reach the API; it is not published where only this machine's processes could.
    address: watch::Receiver<IpAddr>,
    port: u16,
}

impl Bootstrap {
    pub fn new(env: &Env, service_ip: IpAddr, address: watch::Receiver<IpAddr>, port: u16) -> Self {
        if !is_usable(*address.borrow()) {
            let address = *address.borrow();
            tracing::warn!(%address, "pods cannot reach the API: pass --advertise-address with an address that is no loopback");
        }
        let informers = &env.informers;
        Self {
            namespaces: informers.get(),
            priorities: informers.get(),
            services: informers.get(),
            slices: informers.get(),
            endpoints: informers.get(),
            service_ip,
            address,
            port,
        }
    }

    fn published(&self) -> Option<IpAddr> {
        Some(*self.address.borrow()).filter(|address| is_usable(*address))
    }

    fn service(&self) -> Service {
        let mut metadata = at_home(KUBERNETES);
        let labels = [("component", "apiserver"), ("provider", "kubernetes")];
        metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        let family = if self.service_ip.is_ipv4() { "IPv4" } else { "IPv6" };
        let spec = ServiceSpec {
            cluster_ip: Some(self.service_ip.to_string()),
            cluster_ips: Some(vec![self.service_ip.to_string()]),
            ip_families: Some(vec![family.to_owned()]),
            ip_family_policy: Some("SingleStack".to_owned()),
            ports: Some(vec![ServicePort {
                name: Some("https".to_owned()),
                protocol: Some("TCP".to_owned()),
                port: 443,
                target_port: Some(IntOrString::Int(self.port.into())),
                ..ServicePort::default()
            }]),
            session_affinity: Some("None".to_owned()),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        };
        Service { metadata, spec: Some(spec), status: None }
    }

    fn slice(&self, address: IpAddr) -> EndpointSlice {
        let mut metadata = at_home(KUBERNETES);
        metadata.labels = Some([("kubernetes.io/service-name".to_owned(), KUBERNETES.to_owned())].into());
        let ready = EndpointConditions { ready: Some(true), ..EndpointConditions::default() };
        EndpointSlice {
            metadata,
            address_type: if address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
            endpoints: Some(vec![Endpoint {
                addresses: vec![address.to_string()],
                conditions: Some(ready),
                ..Endpoint::default()
            }]),
            ports: Some(vec![discovery::EndpointPort {
                name: Some("https".to_owned()),
                port: Some(self.port.into()),
                protocol: Some("TCP".to_owned()),
                app_protocol: None,
            }]),
        }
    }

    fn endpoints(&self, address: IpAddr) -> Endpoints {
        let mut metadata = at_home(KUBERNETES);
        metadata.labels = Some([("endpointslice.kubernetes.io/skip-mirror".to_owned(), "true".to_owned())].into());
        let subset = EndpointSubset {
            addresses: Some(vec![EndpointAddress { ip: address.to_string(), ..EndpointAddress::default() }]),
            not_ready_addresses: None,
            ports: Some(vec![EndpointPort {
                name: Some("https".to_owned()),
                port: self.port.into(),
                protocol: Some("TCP".to_owned()),
                app_protocol: None,
            }]),
        };
        Endpoints { metadata, subsets: Some(vec![subset]) }
    }

    async fn keep_slice(&self, cx: &Context) -> Result<(), Error> {
        let Some(wanted) = self.published().map(|address| self.slice(address)) else { return Ok(()) };
        let Some(existing) = self.slices.get(HOME, KUBERNETES) else {
            return taken(cx.namespaced(HOME).create(&wanted).await);
        };
        if (&existing.endpoints, &existing.ports) != (&wanted.endpoints, &wanted.ports) {
            let mut updated = (*existing).clone();
            (updated.endpoints, updated.ports) = (wanted.endpoints, wanted.ports);
            cx.namespaced(HOME).replace(&updated).await?;
        }
        Ok(())
    }

    async fn keep_endpoints(&self, cx: &Context) -> Result<(), Error> {
        let Some(wanted) = self.published().map(|address| self.endpoints(address)) else { return Ok(()) };
        let Some(existing) = self.endpoints.get(HOME, KUBERNETES) else {
            return taken(cx.namespaced(HOME).create(&wanted).await);
        };
        if existing.subsets != wanted.subsets {
            let mut updated = (*existing).clone();
            updated.subsets = wanted.subsets;
            cx.namespaced(HOME).replace(&updated).await?;
        }
        Ok(())
    }

    async fn keep_service(&self, cx: &Context) -> Result<(), Error> {
        let wanted = self.service();
        let writer = cx.namespaced::<Service>(HOME);
        let Some(existing) = self.services.get(HOME, KUBERNETES) else {
            return taken(writer.create(&wanted).await);
        };
        let ip = |service: &Service| service.spec.as_ref().and_then(|spec| spec.cluster_ip.clone());
        let ports = |service: &Service| service.spec.as_ref().and_then(|spec| spec.ports.clone());
        if ip(&existing) != ip(&wanted) {
            // The range was changed: an address cannot be, so the Service is made anew.
            return writer.delete(&existing, &kube::api::DeleteParams::default()).await;
        }
        if ports(&existing) != ports(&wanted) {
            let mut updated = (*existing).clone();
            updated.spec.get_or_insert_default().ports = ports(&wanted);
            writer.replace(&updated).await?;
        }
        Ok(())
    }
}

/// An address that an endpoint may have.
fn is_usable(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local)
}

/// Somebody else created it first: the watch will show it.
fn taken<K>(outcome: Result<K, Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.reason() == "AlreadyExists" => Ok(()),
        other => other.map(drop),
    }
}

fn is_ours<K: Cached>(change: &Change<K>, part: Part) -> Option<Part> {
    let meta = change.object().meta();
    let ours = meta.namespace.as_deref() == Some(HOME) && meta.name.as_deref() == Some(KUBERNETES);
    ours.then_some(part)
}

#[async_trait]
impl Controller for Bootstrap {
    type Key = Part;

    fn name(&self) -> &'static str {
        "bootstrap"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Part>) {
        (0..NAMESPACES.len()).for_each(|at| watches.once(Part::Namespace(at)));
        (0..PRIORITIES.len()).for_each(|at| watches.once(Part::Priority(at)));
        [Part::Service, Part::Slice, Part::Endpoints].into_iter().for_each(|part| watches.once(part));
        watches.on(&self.namespaces, |change| {
            let name = change.object().metadata.name.as_deref();
            NAMESPACES.iter().position(|ours| Some(*ours) == name).map(Part::Namespace)
        });
        watches.on(&self.priorities, |change| {
            let name = change.object().metadata.name.as_deref();
            PRIORITIES.iter().position(|(ours, ..)| Some(*ours) == name).map(Part::Priority)
        });
        watches.on(&self.services, |change| is_ours(change, Part::Service));
        watches.on(&self.slices, |change| is_ours(change, Part::Slice));
        watches.on(&self.endpoints, |change| is_ours(change, Part::Endpoints));
        watches.on_value(&self.address, [Part::Slice, Part::Endpoints]);
    }

    async fn reconcile(&self, cx: &Context, key: &Part) -> Result<Action, Error> {
        match *key {
            Part::Namespace(at) => {
                if self.namespaces.get("", NAMESPACES[at]).is_none() {
                    taken(cx.cluster().create(&namespace(NAMESPACES[at])).await)?;
                }
            }
            Part::Priority(at) => {
                let (name, value, description) = PRIORITIES[at];
                if self.priorities.get("", name).is_none() {
                    let class = PriorityClass {
                        metadata: named(name),
                        value: Some(value),
                        global_default: Some(false),
                        description: Some(description.to_owned()),
                        preemption_policy: Some("PreemptLowerPriority".to_owned()),
                    };
                    taken(cx.cluster().create(&class).await)?;
                }
            }
            Part::Service => self.keep_service(cx).await?,
            Part::Slice => self.keep_slice(cx).await?,
            Part::Endpoints => self.keep_endpoints(cx).await?,
        }
        Ok(Action::done())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_no_loopback() {
        let usable = |text: &str| is_usable(text.parse().unwrap());
        assert!(usable("192.0.2.1") && usable("2001:db8::1"));
        assert!(!["127.0.0.1", "::1", "0.0.0.0", "169.254.0.1", "224.0.0.1", "fe80::1"].into_iter().any(usable));
    }
}
