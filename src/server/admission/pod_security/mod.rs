//! PodSecurity: the Pod Security Standards that a namespace's labels ask for (KEP-2579).
//!
//! Pods are refused, workloads only warned about, because their pods will be refused. A namespace whose labels become
//! stricter warns about the pods already in it.

mod baseline;
mod checks;
mod counts;
mod policy;
mod restricted;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    Container, Namespace, Pod, PodSpec, PodTemplate, PodTemplateSpec, ReplicationController,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use prometheus_client::registry::Registry;

use super::{Attributes, Operation, Plugin};
use crate::api::object::Object;
use crate::api::status::{Failure, Result};
use checks::{Subject, Violation};
use counts::{Counts, Mode};
use policy::{Level, Policy, Standard};

#[derive(Default)]
pub struct PodSecurity {
    counts: Counts,
}

/// Subresources of a pod that do not change what its containers may do.
const IGNORED: [&str; 8] = ["attach", "binding", "eviction", "exec", "log", "portforward", "proxy", "status"];
/// Pods looked at when a namespace's labels change.
const MAX_PODS: usize = 3000;
const ANNOTATIONS: &str = "pod-security.kubernetes.io/";

#[async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn register(&self, registry: &mut Registry) {
        self.counts.register(registry);
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        let Some(object) = object else { return Ok(()) };
        if let Some(namespace) = object.downcast_ref::<Namespace>() {
            return check_namespace(attributes, namespace).await;
        }
        if let Some(pod) = object.downcast_ref::<Pod>() {
            if IGNORED.contains(&attributes.context.subresource.as_str()) || !is_significant(attributes, pod) {
                return Ok(());
            }
            let spec = pod.spec.clone().unwrap_or_default();
            return self.evaluate(attributes, object, &pod.metadata, &spec, true);
        }
        if !attributes.context.subresource.is_empty() {
            return Ok(());
        }
        let Some(template) = template(object) else { return Ok(()) };
        let metadata = template.metadata.clone().unwrap_or_default();
        self.evaluate(attributes, object, &metadata, &template.spec.clone().unwrap_or_default(), false)
    }
}

/// The pods that a workload will make.
fn template(object: &dyn Object) -> Option<&PodTemplateSpec> {
    macro_rules! of {
        ($kind:ty) => {
            if let Some(typed) = object.downcast_ref::<$kind>() {
                return typed.spec.as_ref().map(|spec| &spec.template);
            }
        };
    }
    of!(Deployment);
    of!(DaemonSet);
    of!(StatefulSet);
    of!(Job);
    if let Some(set) = object.downcast_ref::<ReplicaSet>() {
        return set.spec.as_ref()?.template.as_ref();
    }
    if let Some(controller) = object.downcast_ref::<ReplicationController>() {
        return controller.spec.as_ref()?.template.as_ref();
    }
    if let Some(cron) = object.downcast_ref::<CronJob>() {
        return cron.spec.job_template.spec.as_ref().map(|spec| &spec.template);
    }
    object.downcast_ref::<PodTemplate>()?.template.as_ref()
}

impl PodSecurity {
    fn evaluate(
        &self,
        attributes: &Attributes<'_>,
        object: &dyn Object,
        metadata: &ObjectMeta,
        spec: &PodSpec,
        enforce: bool,
    ) -> Result<()> {
        let context = attributes.context;
        let namespace = attributes.reader.get::<Namespace>("", &context.namespace)?;
        let namespace = namespace
            .ok_or_else(|| Failure::internal(format!("failed to lookup namespace \"{}\"", context.namespace)))?;
        let (policy, errors) = Policy::of(namespace.metadata.labels.as_ref());
        if errors.is_empty() && policy.is_privileged() {
            if enforce {
                self.counts.evaluated(Mode::Enforce, true, policy.enforce, attributes);
            }
            return Ok(());
        }
        let annotate = |key: &str, value: String| context.annotate(format!("{ANNOTATIONS}{key}"), value);
        if !errors.is_empty() {
            annotate("error", format!("Failed to parse policy: {}", crate::api::field::aggregate(&errors)));
        }
        let check = |standard| check(standard, metadata.annotations.as_ref(), spec);
        let audited = check(policy.audit);
        if !audited.is_empty() {
            let told = format!("would violate PodSecurity \"{}\": {}", policy.audit, detail(&audited));
            annotate("audit-violations", told);
            self.counts.evaluated(Mode::Audit, false, policy.audit, attributes);
        }
        if enforce {
            annotate("enforce-policy", policy.enforce.to_string());
            let violations = check(policy.enforce);
            self.counts.evaluated(Mode::Enforce, violations.is_empty(), policy.enforce, attributes);
            if !violations.is_empty() {
                let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, detail(&violations));
                return Err(attributes.forbidden(Some(object), &why));
            }
        }
        let warned = check(policy.warn);
        if !warned.is_empty() {
            context.warn(format!("would violate PodSecurity \"{}\": {}", policy.warn, detail(&warned)));
            self.counts.evaluated(Mode::Warn, false, policy.warn, attributes);
        }
        Ok(())
    }
}

fn check(standard: Standard, annotations: Option<&BTreeMap<String, String>>, spec: &PodSpec) -> Vec<Violation> {
    checks::violations(standard, &Subject { annotations, spec, version: standard.version })
}

/// `reason (detail), reason (detail)`.
fn detail(violations: &[Violation]) -> String {
    let texts = violations.iter().map(|violation| match violation.detail.as_str() {
        "" => violation.reason.to_owned(),
        detail => format!("{} ({detail})", violation.reason),
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Whether an update changes what a policy may say of the pod: images, containers that join, seccomp annotations.
fn is_significant(attributes: &Attributes<'_>, pod: &Pod) -> bool {
    let old = attributes.old.filter(|_| attributes.operation == Operation::Update);
    let Some(old) = old.and_then(|old| old.downcast_ref::<Pod>()) else { return true };
    let (Some(spec), Some(before)) = (&pod.spec, &old.spec) else { return true };
    let images = |containers: &[Container]| -> Vec<Option<String>> {
        containers.iter().map(|container| container.image.clone()).collect()
    };
    let init = |spec: &PodSpec| images(spec.init_containers.as_deref().unwrap_or_default());
    let ephemeral = |spec: &PodSpec| -> Vec<(String, Option<String>)> {
        spec.ephemeral_containers.iter().flatten().map(|one| (one.name.clone(), one.image.clone())).collect()
    };
    let seccomp = |pod: &Pod| -> Vec<(String, String)> {
        let all = pod.metadata.annotations.iter().flatten().filter(|(key, _)| key.contains("seccomp.security.alpha"));
        all.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    images(&spec.containers) != images(&before.containers)
        || init(spec) != init(before)
        || ephemeral(spec) != ephemeral(before)
        || seccomp(pod) != seccomp(old)
}

async fn check_namespace(attributes: &Attributes<'_>, namespace: &Namespace) -> Result<()> {
    if !attributes.is("", "namespaces") {
        return Ok(());
    }
    let (policy, errors) = Policy::of(namespace.metadata.labels.as_ref());
    let old = attributes.old.and_then(|old| old.downcast_ref::<Namespace>());
    let before = old.map(|old| Policy::of(old.metadata.labels.as_ref()));
    if !errors.is_empty() && before.as_ref().is_none_or(|(_, before)| *before != errors) {
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        return Err(Failure::invalid(attributes.context.kind.meta().group_kind(), name, &errors));
    }
    let Some((before, _)) = before else { return Ok(()) };
    let (new, old) = (policy.enforce, before.enforce);
    let relaxed = new.version == old.version && new.level <= old.level;
    if new != old && new.level != Level::Privileged && !relaxed {
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let pods = attributes.reader.list::<Pod>(name).await?;
        existing(name, new, &pods).into_iter().for_each(|warning| attributes.context.warn(warning));
    }
    Ok(())
}

/// Pods of one controller are alike: the first of each, and only then the others.
fn one_of_each_first(pods: &[Pod]) -> impl Iterator<Item = &Pod> {
    let mut seen = HashSet::new();
    let (first, others): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| {
        let owners = pod.metadata.owner_references.iter().flatten();
        let mut controllers = owners.filter(|owner| owner.controller == Some(true));
        controllers.next().is_none_or(|controller| seen.insert(controller.uid.as_str()))
    });
    first.into_iter().chain(others)
}

/// What to say of pods that are there already.
fn existing(namespace: &str, standard: Standard, pods: &[Pod]) -> Vec<String> {
    let mut violating: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for pod in one_of_each_first(pods).take(MAX_PODS) {
        let Some(spec) = &pod.spec else { continue };
        let violations = check(standard, pod.metadata.annotations.as_ref(), spec);
        if !violations.is_empty() {
            let reasons: Vec<_> = violations.iter().map(|violation| violation.reason).collect();
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            violating.entry(reasons.join(", ")).or_default().push(name);
        }
    }
    let mut warnings = Vec::new();
    if pods.len() > MAX_PODS {
        let (checked, all) = (MAX_PODS, pods.len());
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {checked} of {all} existing pods"
        ));
    }
    if !violating.is_empty() {
        let head = format!("existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level");
        warnings.push(format!("{head} \"{standard}\""));
    }
    let told = violating.into_iter().map(|(reasons, names)| {
        let first = names.iter().min().copied().unwrap_or_default();
        match names.len() {
            1 => format!("{first}: {reasons}"),
            2 => format!("{first} (and 1 other pod): {reasons}"),
            count => format!("{first} (and {} other pods): {reasons}", count - 1),
        }
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    warnings.extend(told);
    warnings
}
