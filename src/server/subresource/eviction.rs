//! `pods/<name>/eviction`: a deletion that asks the disruption budgets first.

use async_trait::async_trait;
use http::Response;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;

use super::{Asked, Call, Handler};
use crate::api::gvk::GroupResource;
use crate::api::pod::{is_ready, is_terminal, phase};
use crate::api::selector::LabelSelector;
use crate::api::status::{Failure, Result};
use crate::server::catalog::catalog;
use crate::server::http::body::Body;
use crate::server::pipeline::meta::now;
use crate::server::pipeline::options::DeleteOptions;
use crate::server::pipeline::{Context, KindRef, Pipeline};

pub struct Evict;

/// Evictions that the disruption controller has not seen yet.
const MAX_DISRUPTED: usize = 2000;

#[async_trait]
impl Handler for Evict {
    async fn serve(&self, call: Call) -> Result<Response<Body>> {
        let pipeline = call.pipeline();
        let (asked, eviction) = call.decode::<Eviction>("Eviction").await?;
        let name = eviction.metadata.name.as_deref().unwrap_or_default();
        if !name.is_empty() && name != asked.context.name {
            return Err(Failure::bad_request("name in URL does not match name in Eviction object"));
        }
        let options = options(&eviction)?;
        let dry_run = asked.dry_run() || options.is_dry_run();
        let context = asked.context.named(&asked.context.namespace, &asked.context.name);
        let pod = pipeline.reader().get::<Pod>(&context.namespace, &context.name)?;
        let pod = pod.ok_or_else(|| Failure::not_found(context.kind.meta().resource(), &context.name))?;
        if !ends_anyway(&pod) {
            take_from_budget(&pipeline, &asked, &pod, dry_run).await?;
            pipeline
                .modify::<Pod>(&context, dry_run, |pod| {
                    mark(pod);
                    Ok(())
                })
                .await?;
        }
        pipeline.delete(&context, &options).await?;
        asked.created()
    }
}

fn options(eviction: &Eviction) -> Result<DeleteOptions> {
    let Some(given) = &eviction.delete_options else { return Ok(DeleteOptions::default()) };
    let value = serde_json::to_value(given).map_err(Failure::internal)?;
    serde_json::from_value(value).map_err(Failure::internal)
}

/// Its disruption would disturb nobody: it has ended, not begun, or is going.
fn ends_anyway(pod: &Pod) -> bool {
    is_terminal(pod) || phase(pod) == "Pending" || pod.metadata.deletion_timestamp.is_some()
}

fn mark(pod: &mut Pod) {
    let conditions = pod.status.get_or_insert_with(Default::default).conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    conditions.push(PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some("EvictionByEvictionAPI".to_owned()),
        message: Some("Eviction API: evicting".to_owned()),
        last_transition_time: Some(now()),
        observed_generation: pod.metadata.generation,
        ..Default::default()
    });
}

/// Counts the disruption against the pod's budget, where it has one.
async fn take_from_budget(pipeline: &Pipeline, asked: &Asked, pod: &Pod, dry_run: bool) -> Result<()> {
    let namespace = &asked.context.namespace;
    let mut budgets = Vec::new();
    for budget in pipeline.reader().list::<PodDisruptionBudget>(namespace).await? {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let selector = LabelSelector::from_api(selector).map_err(Failure::internal)?;
        if selector.matches_option(pod.metadata.labels.as_ref()) {
            budgets.push(budget);
        }
    }
    let budget = match budgets.as_slice() {
        [] => return Ok(()),
        [budget] => budget,
        _ => {
            let text =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Failure::internal(text));
        }
    };
    if !is_ready(pod) && unhealthy_may_go(budget) {
        return Ok(());
    }
    let kind = catalog().find("policy", "v1", "poddisruptionbudgets").ok_or_else(Failure::no_route)?;
    let name = budget.metadata.name.as_deref().unwrap_or_default();
    let context = Context::new(asked.context.user.clone(), KindRef::BuiltIn(kind), namespace, name);
    let pod = pod.metadata.name.clone().unwrap_or_default();
    pipeline.modify::<PodDisruptionBudget>(&context, dry_run, |budget| decrement(budget, &pod)).await?;
    Ok(())
}

/// An unready pod may go where the others suffice, or where the policy says so.
fn unhealthy_may_go(budget: &PodDisruptionBudget) -> bool {
    let policy = budget.spec.as_ref().and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
    let healthy = budget.status.as_ref();
    let enough = healthy
        .is_some_and(|status| status.desired_healthy > Some(0) && status.current_healthy >= status.desired_healthy);
    policy == Some("AlwaysAllow") || enough
}

fn decrement(budget: &mut PodDisruptionBudget, pod: &str) -> Result<()> {
    let name = budget.metadata.name.clone().unwrap_or_default();
    let about = GroupResource { group: "policy", resource: "poddisruptionbudgets" };
    let generation = budget.metadata.generation.unwrap_or(0);
    let status = budget.status.get_or_insert_with(Default::default);
    if status.observed_generation.unwrap_or(0) < generation {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused(why, 10));
    }
    let allowed = status.disruptions_allowed.unwrap_or(0);
    if allowed < 0 {
        return Err(Failure::forbidden(about, &name, "pdb disruptions allowed is negative"));
    }
    let disrupted = status.disrupted_pods.get_or_insert_default();
    if disrupted.len() > MAX_DISRUPTED {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(Failure::forbidden(about, &name, why));
    }
    if allowed == 0 {
        let desired = status.desired_healthy.unwrap_or(0);
        let current = status.current_healthy.unwrap_or(0);
        let why = format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently");
        return Err(refused(why, 0));
    }
    status.disruptions_allowed = Some(allowed - 1);
    disrupted.insert(pod.to_owned(), now());
    Ok(())
}

fn refused(why: String, seconds: i32) -> Failure {
    let text = "Cannot evict pod as it would violate the pod's disruption budget.";
    let cause = StatusCause { reason: Some("DisruptionBudget".to_owned()), message: Some(why), field: None };
    Failure::too_many_requests(text, seconds).with_causes(vec![cause])
}
