//! The endpointslice and endpoints controllers: which pods answer for a Service; and the mirroring of Endpoints that
//! somebody else wrote.
//!
//! [`slices`], [`legacy`] and [`mirror`] plan; this file observes and executes. Services without a selector are
//! somebody else's: nothing of theirs is touched, but their Endpoints mirrored.

mod legacy;
mod mirror;
mod service;
mod slices;
mod topology;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::DeleteParams;

use self::slices::Note;
use self::topology::Capacity;
use super::owners;
use crate::reconcile::events::{EventType, Recorder};
use crate::reconcile::{Action, Change, Context, Controller, Env, Error, Index, Informer, Key, Watches};

/// Services and pods, and which concern each other.
#[derive(Clone)]
pub struct Shared {
    services: Informer<Service>,
    pods: Informer<Pod>,
    services_in: Index<String, Service>,
    pods_in: Index<String, Pod>,
}

impl Shared {
    pub fn new(env: &Env) -> Self {
        let (services, pods) = (env.informers.get::<Service>(), env.informers.get::<Pod>());
        let services_in = Index::new(&services, |service| service.metadata.namespace.clone().into_iter().collect());
        let pods_in = Index::new(&pods, |pod| pod.metadata.namespace.clone().into_iter().collect());
        Self { services, pods, services_in, pods_in }
    }

    /// The Services for which a pod's change may change an endpoint.
    fn concerned(&self, change: &Change<Pod>) -> Vec<Key> {
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && !service::matters(old, new)
        {
            return Vec::new();
        }
        let Some(namespace) = &change.object().metadata.namespace else { return Vec::new() };
        let states: Vec<_> = change.old.iter().chain(&change.new).collect();
        let services = self.services_in.get(namespace).into_iter().filter(|service| {
            let selector = service::selector(service);
            selector.is_some_and(|s| states.iter().any(|pod| owners::matches(&s, &pod.metadata)))
        });
        services.map(|service| Key::of(service.as_ref())).collect()
    }

    fn selected(&self, service: &Service) -> Option<Vec<Arc<Pod>>> {
        let selector = service::selector(service)?;
        let mut pods = self.pods_in.get(service.metadata.namespace.as_ref()?);
        pods.retain(|pod| owners::matches(&selector, &pod.metadata));
        Some(pods)
    }
}

pub struct EndpointSlices {
    shared: Shared,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    /// Slices by namespace and Service.
    slices_of: Index<(String, String), EndpointSlice>,
    events: Recorder,
}

impl EndpointSlices {
    pub fn new(env: &Env, shared: Shared) -> Self {
        let slices: Informer<EndpointSlice> = env.informers.get();
        let slices_of = Index::new(&slices, |slice| service_of(slice, slices::US).into_iter().collect());
        let events = env.events.recorder("endpoint-slice-controller", None);
        Self { shared, nodes: env.informers.get(), slices, slices_of, events }
    }
}

impl EndpointSlices {
    fn capacity(&self) -> Option<Capacity> {
        Capacity::of(self.nodes.store().state().iter().map(|node| topology::weight(node)))
    }

    fn tell(&self, service: &Service, notes: Vec<Note>) {
        for note in notes {
            let (kind, reason, message) = match note {
                Note::HintsEnabled(message) => (EventType::Normal, "TopologyAwareHintsEnabled", message),
                Note::HintsDisabled(message) => (EventType::Warning, "TopologyAwareHintsDisabled", message),
            };
            self.events.event(service, kind, reason, message);
        }
    }
}

/// The namespace and name of the Service, if the slice is the controller's.
fn service_of(slice: &EndpointSlice, controller: &str) -> Option<(String, String)> {
    let labels = slice.metadata.labels.as_ref()?;
    let ours = labels.get(slices::MANAGED_BY).map(String::as_str) == Some(controller);
    let service = labels.get(slices::SERVICE_NAME).filter(|_| ours)?;
    Some((slice.metadata.namespace.clone()?, service.clone()))
}

/// The Services whose slices a change concerns.
fn services_of(change: &Change<EndpointSlice>, controller: &str) -> Vec<Key> {
    let states = change.old.iter().chain(&change.new);
    let mut keys: Vec<_> = states.filter_map(|slice| service_of(slice, controller)).collect();
    keys.dedup();
    keys.into_iter().map(|(namespace, name)| Key::new(namespace, name)).collect()
}

fn place(node: &Node) -> Option<&String> {
    node.metadata.labels.as_ref()?.get(slices::ZONE)
}

#[async_trait]
impl Controller for EndpointSlices {
    type Key = Key;

    fn name(&self) -> &'static str {
        "endpointslice"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.shared.services, |change| [Key::of(change.object().as_ref())]);
        let shared = self.shared.clone();
        watches.on(&self.shared.pods, move |change| shared.concerned(change));
        watches.on(&self.slices, |change| services_of(change, slices::US));
        // A node comes, goes or moves: rare, and then it may concern any Service.
        let shared = self.shared.clone();
        watches.on(&self.nodes, move |change| {
            let place_of = |node: &Option<Arc<Node>>| node.as_ref().map(|node| place(node).cloned());
            let weight_of = |node: &Option<Arc<Node>>| node.as_ref().map(|node| topology::weight(node));
            let of = |which: fn(&Service) -> bool| {
                let services = shared.services.store().state();
                services.iter().filter(|service| which(service)).map(|service| Key::of(service.as_ref())).collect()
            };
            if place_of(&change.old) != place_of(&change.new) {
                of(|_| true)
            } else if weight_of(&change.old) != weight_of(&change.new) {
                of(topology::is_wanted)
            } else {
                Vec::new()
            }
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let existing = self.slices_of.get(&(key.namespace.clone(), key.name.clone()));
        let Some(service) = self.shared.services.get(&key.namespace, &key.name) else {
            // The garbage collector deletes the slices with their Service.
            return Ok(Action::done());
        };
        if service.metadata.deletion_timestamp.is_some() {
            return Ok(Action::done());
        }
        let Some(pods) = self.shared.selected(&service) else { return Ok(Action::done()) };
        let names = pods.iter().filter_map(|pod| service::node_name(pod));
        let nodes: HashMap<_, _> =
            names.filter_map(|name| Some((name.to_owned(), self.nodes.get("", name)?))).collect();
        let capacity = topology::is_wanted(&service).then(|| self.capacity()).flatten();
        let plan = slices::plan(&slices::World { service: &service, pods, nodes, slices: existing, capacity });
        if let Err(error) = write(cx, &key.namespace, &plan.create, &plan.update, &plan.delete).await {
            if error.reason() != "Conflict" {
                let message = format!(
                    "Error updating Endpoint Slices for Service {}/{}: {}",
                    key.namespace,
                    key.name,
                    error.message()
                );
                self.events.event(service.as_ref(), EventType::Warning, "FailedToUpdateEndpointSlices", message);
            }
            return Err(error);
        }
        self.tell(&service, plan.notes);
        Ok(Action::done())
    }
}

async fn write(
    cx: &Context,
    namespace: &str,
    create: &[EndpointSlice],
    update: &[EndpointSlice],
    delete: &[Arc<EndpointSlice>],
) -> Result<(), Error> {
    let writer = cx.namespaced::<EndpointSlice>(namespace);
    let background = DeleteParams::default();
    let mut outcomes = join_all(create.iter().map(|slice| async { writer.create(slice).await.map(drop) })).await;
    outcomes.extend(join_all(update.iter().map(|slice| async { writer.replace(slice).await.map(drop) })).await);
    outcomes.extend(join_all(delete.iter().map(|slice| writer.delete(slice, &background))).await);
    let errors = outcomes.into_iter().filter_map(Result::err);
    Error::gather(errors.filter(|error| !super::namespace_is_terminating(error)).collect())
}

/// Mirrors the Endpoints of Services without a selector.
pub struct Mirroring {
    services: Informer<Service>,
    endpoints: Informer<Endpoints>,
    slices: Informer<EndpointSlice>,
    slices_of: Index<(String, String), EndpointSlice>,
    events: Recorder,
}

impl Mirroring {
    pub fn new(env: &Env) -> Self {
        let slices: Informer<EndpointSlice> = env.informers.get();
        let slices_of = Index::new(&slices, |slice| service_of(slice, mirror::US).into_iter().collect());
        let events = env.events.recorder("endpoint-slice-mirroring-controller", None);
        Self { services: env.informers.get(), endpoints: env.informers.get(), slices, slices_of, events }
    }
}

#[async_trait]
impl Controller for Mirroring {
    type Key = Key;

    fn name(&self) -> &'static str {
        "endpointslicemirroring"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.services, |change| [Key::of(change.object().as_ref())]);
        watches.on(&self.endpoints, |change| [Key::of(change.object().as_ref())]);
        watches.on(&self.slices, |change| services_of(change, mirror::US));
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let service = self.services.get(&key.namespace, &key.name);
        let selects = |service: &Service| service.spec.as_ref().is_some_and(|spec| spec.selector.is_some());
        let unselected = service.filter(|service| !selects(service));
        let endpoints = unselected.and_then(|_| self.endpoints.get(&key.namespace, &key.name));
        let endpoints = endpoints.filter(|endpoints| mirror::is_wanted(endpoints));
        let existing = self.slices_of.get(&(key.namespace.clone(), key.name.clone()));
        let mut plan = mirror::plan(endpoints.as_deref(), existing);
        if let Some(endpoints) = &endpoints {
            if plan.skipped > 0 {
                let (most, skipped) = (mirror::MOST, plan.skipped);
                let message = format!(
                    "A max of {most} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} addresses were skipped"
                );
                self.events.event(endpoints.as_ref(), EventType::Warning, "TooManyAddressesToMirror", message);
            }
            if endpoints.metadata.deletion_timestamp.is_some() {
                plan.create.clear();
            }
        }
        write(cx, &key.namespace, &plan.create, &plan.update, &plan.delete).await?;
        Ok(Action::done())
    }
}

pub struct LegacyEndpoints {
    shared: Shared,
    endpoints: Informer<Endpoints>,
    events: Recorder,
}

impl LegacyEndpoints {
    pub fn new(env: &Env, shared: Shared) -> Self {
        let events = env.events.recorder("endpoint-controller", None);
        Self { shared, endpoints: env.informers.get(), events }
    }
}

#[async_trait]
impl Controller for LegacyEndpoints {
    type Key = Key;

    fn name(&self) -> &'static str {
        "endpoint"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.shared.services, |change| [Key::of(change.object().as_ref())]);
        let shared = self.shared.clone();
        watches.on(&self.shared.pods, move |change| shared.concerned(change));
        watches.on(&self.endpoints, |change| [Key::of(change.object().as_ref())]);
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let existing = self.endpoints.get(&key.namespace, &key.name);
        let writer = cx.namespaced::<Endpoints>(&key.namespace);
        let Some(service) = self.shared.services.get(&key.namespace, &key.name) else {
            let ours = existing.filter(|endpoints| legacy::is_ours(endpoints));
            if let Some(orphan) = ours {
                writer.delete(&orphan, &DeleteParams::default()).await?;
            }
            return Ok(Action::done());
        };
        let Some(pods) = self.shared.selected(&service) else { return Ok(Action::done()) };
        let desired = legacy::desired(&service, &pods, existing.as_deref());
        let (outcome, reason, verb) = match &existing {
            Some(existing) if legacy::same(existing, &desired) => return Ok(Action::done()),
            Some(_) => (writer.replace(&desired).await, "FailedToUpdateEndpoint", "update"),
            None => (writer.create(&desired).await, "FailedToCreateEndpoint", "create"),
        };
        match outcome {
            Ok(_) => Ok(Action::done()),
            Err(error) if super::namespace_is_terminating(&error) => Ok(Action::done()),
            Err(error) => {
                if error.reason() != "Conflict" {
                    let message =
                        format!("Failed to {verb} endpoint {}/{}: {}", key.namespace, key.name, error.message());
                    self.events.event(&desired, EventType::Warning, reason, message);
                }
                Err(error)
            }
        }
    }
}
