//! Admission: what is filled in and what is refused beyond the rules of a kind. One plugin, one file.
//!
//! The chain runs every plugin's [`Plugin::admit`] before defaults are applied again, and every
//! plugin's [`Plugin::validate`] after validation, in the same order; [`Plugin::reserve`] comes last. Called only by the
//! pipeline.

use std::time::Instant;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use prometheus_client::registry::Registry;
use tokio::sync::OwnedMutexGuard;

use crate::api::object::Object;
use crate::api::status::{Failure, Result};
use crate::server::pipeline::{Context, Reader};
use crate::store::Write;
use metrics::{Durations, Histograms, Step};

mod certificates;
mod claim_status;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod device_admin_access;
mod limit_ranger;
mod metrics;
mod namespace_lifecycle;
mod node_declared_features;
mod node_restriction;
mod owner_references;
mod pod_resize;
mod pod_security;
pub mod pod_topology_labels;
mod priority;
mod pvc_resize;
mod rbac_escalation;
mod resource_quota;
mod runtime_class;
mod service_account;
mod storage_protection;
mod taint_nodes;

/// What is being done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    /// exec, attach, port-forward, proxy.
    Connect,
}

/// Everything about a request that a plugin may look at.
pub struct Attributes<'a> {
    pub context: &'a Context,
    pub operation: Operation,
    /// The state before an update or a deletion.
    pub old: Option<&'a dyn Object>,
    pub dry_run: bool,
    pub reader: Reader<'a>,
}

impl Attributes<'_> {
    /// Whether the request is for this resource, and for the object itself.
    pub fn is(&self, group: &str, resource: &str) -> bool {
        self.concerns(group, resource) && self.context.subresource.is_empty()
    }

    /// Whether the request is for this resource or for a subresource of it.
    pub fn concerns(&self, group: &str, resource: &str) -> bool {
        let meta = self.context.kind.meta();
        meta.group == group && meta.plural == resource
    }

    pub fn creates(&self, group: &str, resource: &str) -> bool {
        self.operation == Operation::Create && self.is(group, resource)
    }

    /// The node that a pod is bound to, for plugins that ask what it can do; `None` where it is bound to none.
    fn node_of(&self, object: Option<&dyn Object>, spec: &PodSpec) -> Result<Option<Node>> {
        let Some(name) = spec.node_name.as_deref().filter(|name| !name.is_empty()) else { return Ok(None) };
        match self.reader.get("", name)? {
            None => Err(self.forbidden(object, &format!("node {name:?} not found"))),
            found => Ok(found),
        }
    }

    /// The usual refusal: 403 with the plugin's reason. What has no name yet is called by what its name will begin with.
    pub fn forbidden(&self, object: Option<&dyn Object>, why: &str) -> Failure {
        let meta = object.map(Object::meta);
        let said = [meta.and_then(|meta| meta.name.as_deref()), meta.and_then(|meta| meta.generate_name.as_deref())];
        let mut names = [Some(self.context.name.as_str())].into_iter().chain(said).flatten();
        let name = names.find(|name| !name.is_empty()).unwrap_or("Unknown");
        Failure::forbidden(self.context.kind.meta().resource(), name, why)
    }
}

#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// The operations it is asked about.
    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    /// May change the object of a creation or an update, or refuse it.
    async fn admit(&self, _attributes: &Attributes<'_>, _object: &mut dyn Object) -> Result<()> {
        Ok(())
    }

    /// The last word before a creation or an update is written: what else is to be written with it.
    async fn reserve(&self, _attributes: &Attributes<'_>, _object: &dyn Object) -> Result<Option<Reservation>> {
        Ok(None)
    }

    /// Where a plugin shows what it counts.
    fn register(&self, _registry: &mut Registry) {}

    /// May refuse; sees the final object (none at a deletion).
    async fn validate(&self, _attributes: &Attributes<'_>, _object: Option<&dyn Object>) -> Result<()> {
        Ok(())
    }
}

/// What is to be written together with the object, in one commit.
pub struct Reservation {
    pub writes: Vec<Write>,
    /// Nobody else reserves in the same place before this is dropped.
    _turn: OwnedMutexGuard<()>,
}

/// The plugins in their order.
pub struct Chain {
    plugins: Vec<(Box<dyn Plugin>, Histograms)>,
    together: Histograms,
    durations: Durations,
}

impl Chain {
    pub fn new(plugins: Vec<Box<dyn Plugin>>) -> Self {
        let plugins = plugins.into_iter().map(|plugin| (plugin, Histograms::default())).collect();
        Self { plugins, together: Histograms::default(), durations: Durations::default() }
    }

    /// The plugins that are on by default, in upstream's order.
    pub fn standard() -> Self {
        Self::new(vec![
            Box::new(namespace_lifecycle::NamespaceLifecycle),
            Box::new(limit_ranger::LimitRanger),
            Box::new(service_account::ServiceAccount),
            Box::new(node_restriction::NodeRestriction),
            Box::new(taint_nodes::TaintNodesByCondition),
            Box::new(pod_security::PodSecurity::default()),
            Box::new(priority::Priority),
            Box::new(default_toleration_seconds::DefaultTolerationSeconds),
            Box::new(default_storage_class::DefaultStorageClass),
            Box::new(pvc_resize::PersistentVolumeClaimResize),
            Box::new(storage_protection::StorageObjectInUseProtection),
            Box::new(owner_references::OwnerReferencesPermissionEnforcement),
            Box::new(runtime_class::RuntimeClass),
            Box::new(certificates::CertificateApproval),
            Box::new(certificates::CertificateSigning),
            Box::new(certificates::CertificateSubjectRestriction),
            Box::new(default_ingress_class::DefaultIngressClass),
            Box::new(pod_topology_labels::PodTopologyLabels),
            Box::new(node_declared_features::NodeDeclaredFeatureValidator),
            Box::new(pod_resize::PodResizeValidator),
            Box::new(resource_quota::ResourceQuota::default()),
            Box::new(rbac_escalation::RbacEscalation),
            Box::new(device_admin_access::DeviceAdminAccess),
            Box::new(claim_status::ClaimStatus),
        ])
    }

    /// Shows how long the plugins take, and what they count.
    pub fn register(&self, registry: &mut Registry) {
        self.durations.register(registry);
        self.plugins.iter().for_each(|(plugin, _)| plugin.register(registry));
    }

    fn asked(&self, operation: Operation) -> impl Iterator<Item = (&dyn Plugin, &Histograms)> {
        let plugins = self.plugins.iter().map(|(plugin, durations)| (plugin.as_ref(), durations));
        plugins.filter(move |(plugin, _)| plugin.handles(operation))
    }

    pub async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        let mut clock = self.clock(Step::Admit, attributes.operation);
        for (plugin, durations) in self.asked(attributes.operation) {
            clock.took(plugin, durations, plugin.admit(attributes, object).await)?;
        }
        clock.ended(Ok(()))
    }

    pub async fn reserve(&self, attributes: &Attributes<'_>, object: &dyn Object) -> Result<Vec<Reservation>> {
        let mut reservations = Vec::new();
        for (plugin, _) in self.asked(attributes.operation) {
            reservations.extend(plugin.reserve(attributes, object).await?);
        }
        Ok(reservations)
    }

    pub async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        let mut clock = self.clock(Step::Validate, attributes.operation);
        for (plugin, durations) in self.asked(attributes.operation) {
            clock.took(plugin, durations, plugin.validate(attributes, object).await)?;
        }
        clock.ended(Ok(()))
    }

    fn clock(&self, step: Step, operation: Operation) -> Clock<'_> {
        let begun = Instant::now();
        Clock { chain: self, step, operation, first: begun, begun }
    }
}

/// Measures one step of the chain, plugin by plugin and as a whole.
struct Clock<'a> {
    chain: &'a Chain,
    step: Step,
    operation: Operation,
    first: Instant,
    /// When the plugin before had ended.
    begun: Instant,
}

impl Clock<'_> {
    /// A plugin has answered; a refusal ends the step.
    fn took(&mut self, plugin: &dyn Plugin, durations: &Histograms, outcome: Result<()>) -> Result<()> {
        let (what, rejected) = ((plugin.name(), self.step), outcome.is_err());
        self.begun = durations.observe(&self.chain.durations, what, self.operation, rejected, self.begun);
        if rejected { self.ended(outcome) } else { outcome }
    }

    fn ended(&self, outcome: Result<()>) -> Result<()> {
        let Chain { together, durations, .. } = self.chain;
        together.observe_all(durations, self.step, self.operation, outcome.is_err(), self.first);
        outcome
    }
}

fn pod_spec(object: &dyn Object) -> Option<&PodSpec> {
    object.downcast_ref::<Pod>()?.spec.as_ref()
}

/// The name of the newest of several objects; of equally old ones the first by name.
fn newest<'a>(metas: impl Iterator<Item = &'a ObjectMeta>) -> Option<String> {
    let by_age = |meta: &&ObjectMeta| (meta.creation_timestamp.clone(), std::cmp::Reverse(meta.name.clone()));
    metas.max_by_key(by_age)?.name.clone()
}
