//! `pods/<name>/binding` and the old `bindings`: the scheduler's word on where a pod runs.

use async_trait::async_trait;
use http::Response;
use k8s_openapi::api::core::v1::{Binding as Wanted, Pod, PodCondition};

use super::{Call, Handler};
use crate::api::field::{Error, Path, aggregate};
use crate::api::gvk::GroupResource;
use crate::api::status::{Failure, Result};
use crate::server::admission::pod_topology_labels;
use crate::server::catalog::catalog;
use crate::server::http::body::Body;
use crate::server::pipeline::commit::precondition_failed;
use crate::server::pipeline::meta::now;
use crate::server::pipeline::{Context, KindRef};

pub struct Binding;

#[async_trait]
impl Handler for Binding {
    async fn serve(&self, call: Call) -> Result<Response<Body>> {
        let pipeline = call.pipeline();
        let (asked, mut wanted) = call.decode::<Wanted>().await?;
        let name = wanted.metadata.name.as_deref().unwrap_or_default();
        // The old path has no name of its own.
        if !asked.context.name.is_empty() && name != asked.context.name {
            return Err(Failure::bad_request("name in URL does not match name in Binding object"));
        }
        validate(&wanted)?;
        if name.is_empty() {
            return Err(Failure::bad_request("Name parameter required."));
        }
        let node = wanted.target.name.as_deref().unwrap_or_default();
        // Upstream's plugin sees bindings of pods to what calls itself a Node, and not those of the old path.
        if !asked.context.name.is_empty() && wanted.target.kind.as_deref() == Some("Node") {
            pod_topology_labels::add(pipeline.reader(), node, &mut wanted.metadata.labels)?;
        }
        let kind = catalog().find("", "v1", "pods").ok_or_else(Failure::no_route)?;
        let context = Context::new(asked.context.user.clone(), KindRef::BuiltIn(kind), &asked.context.namespace, name);
        pipeline
            .modify::<Pod>(&context, asked.dry_run(), |pod| {
                check_preconditions(&context, pod, &wanted)?;
                assign(pod, &wanted)
            })
            .await?;
        asked.created()
    }
}

/// Upstream gives these errors no reason.
fn validate(wanted: &Wanted) -> Result<()> {
    let path = Path::new("target");
    let mut errors = Vec::new();
    let kind = wanted.target.kind.as_deref().unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        errors.push(Error::not_supported_in_order(&path.child("kind"), kind, &["Node", "<empty>"]));
    }
    if wanted.target.name.as_deref().unwrap_or_default().is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(500, "", aggregate(&errors))),
    }
}

/// The pod that is meant, where the binding says more than its name.
fn check_preconditions(context: &Context, pod: &Pod, wanted: &Wanted) -> Result<()> {
    let pairs = [
        ("UID", &wanted.metadata.uid, &pod.metadata.uid),
        ("ResourceVersion", &wanted.metadata.resource_version, &pod.metadata.resource_version),
    ];
    for (what, wanted, found) in pairs {
        let (wanted, found) = (wanted.as_deref().unwrap_or_default(), found.as_deref().unwrap_or_default());
        if !wanted.is_empty() && wanted != found {
            let kind = context.kind.meta();
            return Err(precondition_failed(kind, &context.namespace, &context.name, what, wanted, found));
        }
    }
    Ok(())
}

fn assign(pod: &mut Pod, wanted: &Wanted) -> Result<()> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let conflict = |why: String| {
        let about = GroupResource { group: "", resource: "pods/binding" };
        Err(Failure::conflict(about, &name, &why))
    };
    if pod.metadata.deletion_timestamp.is_some() {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let spec = pod.spec.get_or_insert_with(Default::default);
    if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
        return conflict(format!("pod {name} is already assigned to node {node:?}"));
    }
    if spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    spec.node_name.clone_from(&wanted.target.name);
    for (from, to) in [
        (&wanted.metadata.annotations, &mut pod.metadata.annotations),
        (&wanted.metadata.labels, &mut pod.metadata.labels),
    ] {
        if let Some(given) = from.as_ref().filter(|given| !given.is_empty()) {
            to.get_or_insert_default().extend(given.clone());
        }
    }
    let generation = pod.metadata.generation;
    let conditions = pod.status.get_or_insert_with(Default::default).conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "PodScheduled");
    conditions.push(PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(now()),
        observed_generation: generation,
        ..Default::default()
    });
    Ok(())
}
