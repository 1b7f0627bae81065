//! Changes through `/resize`: the cpu and memory of containers, and of the pod as a whole.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::super::semantic;
use super::annotations;
use crate::api::field::{Error, Errors, Path};
use crate::api::pod::{is_sidecar, qos_class};

type List = Option<BTreeMap<String, Wire>>;

pub fn update(new: &Pod, old: &Pod) -> Errors {
    let refused = |why: &str| vec![Error::forbidden(&Path::root(), why).of_object()];
    if annotations::is_mirror(old.metadata.annotations.as_ref()) {
        return refused("static pods cannot be resized");
    }
    let (Some(new_spec), Some(old_spec)) = (&new.spec, &old.spec) else { return Errors::new() };
    if old_spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return refused("windows pods cannot be resized");
    }
    let mut errors = super::metadata_and_spec(new, Some(old));
    let path = Path::new("spec");
    let recorded = |pod: &Pod| pod.status.as_ref().and_then(|status| status.qos_class.clone()).unwrap_or_default();
    let before =
        Some(recorded(old)).filter(|class| !class.is_empty()).unwrap_or_else(|| qos_class(old_spec).to_owned());
    if before != qos_class(new_spec) {
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.push(Error::invalid(&path, recorded(new), detail));
    }
    if !is_supported(old) {
        errors.push(Error::forbidden(&path, "Pod running on node without support for resize"));
    }
    let mut munged = new_spec.clone();
    whole(&mut errors, &path, &mut munged, old_spec);
    if !same_containers(&mut errors, &path, new_spec, old_spec) {
        return errors;
    }
    for (at, (new, old)) in pairs(init(new_spec), init(old_spec)) {
        let path = path.child("initContainers").index(at);
        kept(&mut errors, &path, &new.resources, &old.resources, "resource");
    }
    for (at, (new, old)) in pairs(&new_spec.containers, &old_spec.containers) {
        kept(&mut errors, &path.child("containers").index(at), &new.resources, &old.resources, "resource");
    }
    only_compute(&mut errors, &path, munged, old_spec);
    errors
}

/// The resources of the pod as a whole. `munged` gets back what may change of them.
fn whole(errors: &mut Errors, path: &Path, munged: &mut PodSpec, old: &PodSpec) {
    let says = |resources: &Option<ResourceRequirements>| {
        let full = |list: &List| list.as_ref().is_some_and(|list| !list.is_empty());
        resources.as_ref().is_some_and(|resources| full(&resources.requests) || full(&resources.limits))
    };
    if !says(&munged.resources) && !says(&old.resources) {
        return;
    }
    if munged.resources.is_none() {
        return errors.push(Error::forbidden(&path.child("resources"), "pod-level resources cannot be removed"));
    }
    kept(errors, path, &munged.resources, &old.resources, "pod-level resource");
    put_compute_back(&mut munged.resources, old.resources.as_ref());
    if !semantic::same(&munged.resources, &old.resources) {
        errors.push(Error::forbidden(path, "only cpu and memory resources are mutable at pod-level"));
    }
}

fn init(spec: &PodSpec) -> &[Container] {
    spec.init_containers.as_deref().unwrap_or_default()
}

fn pairs<'a>(
    new: &'a [Container],
    old: &'a [Container],
) -> impl Iterator<Item = (usize, (&'a Container, &'a Container))> {
    new.iter().zip(old).enumerate()
}

/// Whether the containers are the same ones in the same order.
fn same_containers(errors: &mut Errors, path: &Path, new: &PodSpec, old: &PodSpec) -> bool {
    let before = errors.len();
    let lists = [
        ("containers", new.containers.as_slice(), old.containers.as_slice()),
        ("initContainers", init(new), init(old)),
    ];
    for (field, new, old) in lists {
        let path = path.child(field);
        if new.len() != old.len() {
            errors.push(Error::forbidden(&path, format!("{field} may not be added or removed on resize")));
            continue;
        }
        for (at, _) in pairs(new, old).filter(|(_, (new, old))| new.name != old.name) {
            let detail = format!("{field} may not be renamed or reordered on resize");
            errors.push(Error::forbidden(&path.index(at).child("name"), detail));
        }
    }
    errors.len() == before
}

/// A kubelet that can resize tells the resources of its running containers.
fn is_supported(pod: &Pod) -> bool {
    let mut statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let running = statuses.find(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
    running.is_none_or(|status| status.resources.is_some())
}

/// What was requested or limited before, still is.
fn kept(
    errors: &mut Errors,
    path: &Path,
    new: &Option<ResourceRequirements>,
    old: &Option<ResourceRequirements>,
    what: &str,
) {
    type Part = fn(&ResourceRequirements) -> &List;
    let lists: [(&str, Part); 2] =
        [("requests", |resources| &resources.requests), ("limits", |resources| &resources.limits)];
    for (field, list) in lists {
        let has =
            |name: &String| new.as_ref().and_then(|new| list(new).as_ref()).is_some_and(|list| list.contains_key(name));
        let mut before = old.iter().flat_map(|old| list(old).iter().flat_map(BTreeMap::keys));
        if !before.all(has) {
            let detail = format!("{what} {field} cannot be removed");
            errors.push(Error::forbidden(&path.child("resources").child(field), detail));
        }
    }
}

fn restarts(container: &Container) -> bool {
    container.resize_policy.iter().flatten().any(|policy| policy.restart_policy == "RestartContainer")
}

/// Everything but the cpu and memory of containers is as it was.
fn only_compute(errors: &mut Errors, path: &Path, mut munged: PodSpec, old: &PodSpec) {
    for (container, before) in munged.containers.iter_mut().zip(&old.containers) {
        put_compute_back(&mut container.resources, before.resources.as_ref());
        if !semantic::same(container, before) {
            errors.push(Error::forbidden(path, "only cpu and memory resources are mutable"));
        }
    }
    let inits = munged.init_containers.iter_mut().flatten().zip(init(old)).enumerate();
    for (at, (container, before)) in inits {
        let path = path.child("initContainers").index(at);
        let changed = !semantic::same(container, before);
        put_compute_back(&mut container.resources, before.resources.as_ref());
        if !semantic::same(container, before) {
            let detail = "only cpu and memory resources for init or sidecar containers are mutable";
            errors.push(Error::forbidden(&path, detail));
        }
        if changed && !is_sidecar(container) && restarts(container) {
            let detail = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            errors.push(Error::forbidden(&path, detail));
        }
    }
    if errors.is_empty() && !semantic::same(&munged, old) {
        errors.push(Error::forbidden(path, "only cpu and memory resources are mutable"));
    }
}

/// The cpu and memory of before, beside whatever other amounts are there now. Claims of devices are forgotten, so that
/// v1.36 refuses every resize of containers that have some (mended after it by kubernetes/kubernetes#138641).
fn put_compute_back(resources: &mut Option<ResourceRequirements>, old: Option<&ResourceRequirements>) {
    let now = resources.take().unwrap_or_default();
    let put = |now: List, old: Option<&List>| -> List {
        let mut list = now.unwrap_or_default();
        for name in ["cpu", "memory"] {
            list.remove(name);
            if let Some(amount) = old.and_then(|old| old.as_ref()?.get(name)) {
                list.insert(name.to_owned(), amount.clone());
            }
        }
        (!list.is_empty()).then_some(list)
    };
    let limits = put(now.limits, old.map(|old| &old.limits));
    let requests = put(now.requests, old.map(|old| &old.requests));
    let says = old.is_some() || limits.is_some() || requests.is_some();
    *resources = says.then_some(ResourceRequirements { limits, requests, claims: None });
}
