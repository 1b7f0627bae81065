//! `pods/<name>/eviction`: a deletion that asks the disruption budgets first.

use std::sync::Arc;

use async_trait::async_trait;
use http::Response;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, StatusCause};

use super::{Asked, Call, Handler};
use crate::api::gvk::GroupResource;
use crate::api::pod::{is_ready, is_terminal, phase};
use crate::api::selector::LabelSelector;
use crate::api::status::{Failure, Result};
use crate::server::catalog::catalog;
use crate::server::http::body::Body;
use crate::server::pipeline::meta::now;
use crate::server::pipeline::options::DeleteOptions;
use crate::server::pipeline::user::User;
use crate::server::pipeline::{Context, KindRef, Pipeline, delete};

pub struct Evict;

/// Evictions that the disruption controller has not seen yet.
const MAX_DISRUPTED: usize = 2000;

#[async_trait]
impl Handler for Evict {
    async fn serve(&self, call: Call) -> Result<Response<Body>> {
        let pipeline = call.pipeline();
        let (asked, mut eviction) = call.decode_also::<Eviction>(Some("policy/v1beta1")).await?;
        if eviction.metadata.name.as_deref().unwrap_or_default() != asked.context.name {
            return Err(Failure::bad_request("name in URL does not match name in Eviction object"));
        }
        let options = options(&asked, &eviction)?;
        pipeline.admit_created(&asked.context, &mut eviction, asked.dry_run() || options.is_dry_run()).await?;
        // What follows is the server's own doing: the user may evict, not update pods.
        let mut context = asked.context.named(&asked.context.namespace, &asked.context.name);
        context.user = Arc::new(User::admin());
        let evict = Evicting { pipeline: &pipeline, context: &context, options: &options };
        evict.run().await?;
        asked.created()
    }
}

/// The eviction's own options; a dry run may be asked for in either place.
fn options(asked: &Asked, eviction: &Eviction) -> Result<DeleteOptions> {
    let mut options = match &eviction.delete_options {
        None => DeleteOptions::default(),
        Some(given) => {
            let value = serde_json::to_value(given).map_err(Failure::internal)?;
            serde_json::from_value(value).map_err(Failure::internal)?
        }
    };
    if asked.dry_run() && !options.is_dry_run() {
        options.dry_run = Some(vec!["All".to_owned()]);
    }
    options.check()?;
    Ok(options)
}

/// Tries before a pod that changes all the time is given up.
const TRIES: usize = 20;

/// One eviction under way.
struct Evicting<'a> {
    pipeline: &'a Pipeline,
    context: &'a Context,
    options: &'a DeleteOptions,
}

impl Evicting<'_> {
    async fn run(&self) -> Result<()> {
        let mut last = None;
        for _ in 0..TRIES {
            let pod = self.pod()?;
            if !ends_anyway(&pod) {
                return self.ask_and_delete(&pod).await;
            }
            // A pending pod must not have become ready meanwhile.
            let guarded = phase(&pod) == "Pending" && pod.metadata.deletion_timestamp.is_none();
            match self.delete(guarded.then_some(&pod)).await {
                Err(failure) if failure.reason() == "Conflict" && self.version_is_open() => last = Some(failure),
                outcome => return outcome,
            }
        }
        let stale = || Failure::stale(self.context.kind.meta().resource(), &self.context.name);
        Err(last.unwrap_or_else(stale))
    }

    fn pod(&self) -> Result<Pod> {
        let pod = self.pipeline.reader().get::<Pod>(&self.context.namespace, &self.context.name)?;
        pod.ok_or_else(|| Failure::not_found(self.context.kind.meta().resource(), &self.context.name))
    }

    /// The client names no revision.
    fn version_is_open(&self) -> bool {
        self.options.preconditions.as_ref().is_none_or(|wanted| wanted.resource_version.is_none())
    }

    async fn ask_and_delete(&self, pod: &Pod) -> Result<()> {
        let Some(budget) = self.budget(pod).await? else { return self.delete(None).await };
        if is_ready(pod) || !unhealthy_may_go(&budget) {
            self.take_from(&budget).await?;
            return self.delete(None).await;
        }
        // It must not have become ready since.
        match self.delete(Some(pod)).await {
            Err(failure) if failure.reason() == "Conflict" && self.version_is_open() => {
                Err(busy(budget.metadata.name.as_deref().unwrap_or_default()))
            }
            outcome => outcome,
        }
    }

    /// The pod's only budget.
    async fn budget(&self, pod: &Pod) -> Result<Option<PodDisruptionBudget>> {
        let mut found = self.pipeline.reader().list::<PodDisruptionBudget>(&self.context.namespace).await?;
        found.retain(|budget| {
            let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            // One that cannot be read selects nothing.
            LabelSelector::from_api(selector).is_ok_and(|it| it.matches_option(pod.metadata.labels.as_ref()))
        });
        if found.len() > 1 {
            let why =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Failure::new(500, "", why));
        }
        Ok(found.pop())
    }

    /// Counts the disruption against the budget.
    async fn take_from(&self, budget: &PodDisruptionBudget) -> Result<()> {
        let kind = catalog().find("policy", "v1", "poddisruptionbudgets").ok_or_else(Failure::no_route)?;
        let name = budget.metadata.name.as_deref().unwrap_or_default();
        let user = self.context.user.clone();
        let context = Context::new(user, KindRef::BuiltIn(kind), &self.context.namespace, name);
        let change = |budget: &mut PodDisruptionBudget| decrement(budget, &self.context.name);
        self.pipeline.modify(&context, self.options.is_dry_run(), change).await?;
        Ok(())
    }

    /// Says why in the pod's status, then deletes it: `guard`, where given, exactly as it was read.
    async fn delete(&self, guard: Option<&Pod>) -> Result<()> {
        let mut options = self.options.clone();
        if let (Some(pod), true) = (guard, self.version_is_open()) {
            let version = pod.metadata.resource_version.clone();
            options.preconditions.get_or_insert_default().resource_version = version;
        }
        if !options.is_dry_run() {
            let wanted = options.preconditions.clone();
            let marking = self.pipeline.modify::<Pod>(self.context, false, |pod| {
                delete::check_preconditions(self.context, &pod.metadata, wanted.as_ref())?;
                mark(pod);
                Ok(())
            });
            let marked = marking.await?;
            if let Some(wanted) = options.preconditions.as_mut().filter(|wanted| wanted.resource_version.is_some()) {
                wanted.resource_version = Some(marked.revision.to_string());
            }
        }
        self.pipeline.delete(self.context, &options).await?;
        Ok(())
    }
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
    let about = GroupResource { group: "policy", resource: "poddisruptionbudget" };
    let generation = budget.metadata.generation.unwrap_or(0);
    let status = budget.status.get_or_insert_with(Default::default);
    if status.observed_generation.unwrap_or(0) < generation {
        return Err(busy(&name));
    }
    let allowed = status.disruptions_allowed.unwrap_or(0);
    if allowed < 0 {
        return Err(Failure::forbidden(about, &name, "pdb disruptions allowed is negative"));
    }
    if status.disrupted_pods.as_ref().is_some_and(|pods| pods.len() > MAX_DISRUPTED) {
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
    if allowed == 1 {
        exhausted(status);
    }
    status.disrupted_pods.get_or_insert_default().insert(pod.to_owned(), now());
    Ok(())
}

/// The condition that says that no more disruptions are allowed.
fn exhausted(status: &mut PodDisruptionBudgetStatus) {
    let observed_generation = status.observed_generation;
    let conditions = status.conditions.get_or_insert_default();
    let at = conditions.iter().position(|condition| condition.type_ == "DisruptionAllowed");
    let since =
        at.map(|at| conditions.remove(at)).filter(|old| old.status == "False").map(|old| old.last_transition_time);
    conditions.push(Condition {
        type_: "DisruptionAllowed".to_owned(),
        status: "False".to_owned(),
        reason: "InsufficientPods".to_owned(),
        message: String::new(),
        last_transition_time: since.unwrap_or_else(now),
        observed_generation,
    });
}

/// The budget's numbers are not up to date.
fn busy(budget: &str) -> Failure {
    refused(format!("The disruption budget {budget} is still being processed by the server."), 10)
}

fn refused(why: String, seconds: i32) -> Failure {
    let text = "Cannot evict pod as it would violate the pod's disruption budget.";
    let cause = StatusCause { reason: Some("DisruptionBudget".to_owned()), message: Some(why), field: None };
    Failure::too_many_requests(text, seconds).with_causes(vec![cause])
}
