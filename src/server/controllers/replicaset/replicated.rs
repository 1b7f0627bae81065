//! The kinds whose objects ask for a number of pods: a ReplicaSet, and what came before it.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    ReplicationController, ReplicationControllerCondition, ReplicationControllerSpec, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Resource;
use serde::Serialize;

use crate::reconcile::Cached;

pub trait Replicated: Cached + Serialize + Resource<Scope = NamespaceResourceScope, DynamicType = ()> {
    /// See [`Controller::name`](crate::reconcile::Controller::name).
    const CONTROLLER: &'static str;
    /// The source of its events.
    const COMPONENT: &'static str;

    fn as_set(&self) -> Cow<'_, ReplicaSet>;
    fn with_status(&self, status: ReplicaSetStatus) -> Self;
}

impl Replicated for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset";
    const COMPONENT: &'static str = "replicaset-controller";

    fn as_set(&self) -> Cow<'_, ReplicaSet> {
        Cow::Borrowed(self)
    }
    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        Self { status: Some(status), ..self.clone() }
    }
}

impl Replicated for ReplicationController {
    const CONTROLLER: &'static str = "replicationcontroller";
    const COMPONENT: &'static str = "replication-controller";

    fn as_set(&self) -> Cow<'_, ReplicaSet> {
        Cow::Owned(ReplicaSet {
            metadata: self.metadata.clone(),
            spec: self.spec.as_ref().map(spec),
            status: self.status.as_ref().map(status),
        })
    }

    /// What a ReplicationController has no field for is left out.
    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        let condition = |one: ReplicaSetCondition| ReplicationControllerCondition {
            last_transition_time: one.last_transition_time,
            message: one.message,
            reason: one.reason,
            status: one.status,
            type_: one.type_,
        };
        let status = ReplicationControllerStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
        };
        Self { status: Some(status), ..self.clone() }
    }
}

fn spec(from: &ReplicationControllerSpec) -> ReplicaSetSpec {
    ReplicaSetSpec {
        min_ready_seconds: from.min_ready_seconds,
        replicas: from.replicas,
        selector: LabelSelector { match_labels: from.selector.clone(), match_expressions: None },
        template: from.template.clone(),
    }
}

fn status(from: &ReplicationControllerStatus) -> ReplicaSetStatus {
    let condition = |one: &ReplicationControllerCondition| ReplicaSetCondition {
        last_transition_time: one.last_transition_time.clone(),
        message: one.message.clone(),
        reason: one.reason.clone(),
        status: one.status.clone(),
        type_: one.type_.clone(),
    };
    ReplicaSetStatus {
        available_replicas: from.available_replicas,
        conditions: from.conditions.as_ref().map(|all| all.iter().map(condition).collect()),
        fully_labeled_replicas: from.fully_labeled_replicas,
        observed_generation: from.observed_generation,
        ready_replicas: from.ready_replicas,
        replicas: from.replicas,
        terminating_replicas: None,
    }
}
