//! Subresources that are a window on a part of their object: what a write through each may change.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Container, Namespace, Pod};

use super::meta;
use super::update::Part;
use super::user::User;
use crate::api::object::Object;
use crate::server::validation::certificate;

/// The part that `subresource` of a resource shows; `None` where it is no such window.
pub fn part(group: &str, resource: &str, subresource: &str) -> Option<Part> {
    match (group, resource, subresource) {
        (.., "") => Some(Part::Main),
        (.., "status") => Some(Part::Status),
        ("", "namespaces", "finalize") => Some(Part::Other("finalize", finalize)),
        ("certificates.k8s.io", "certificatesigningrequests", "approval") => Some(Part::Other("approval", approval)),
        ("", "pods", "ephemeralcontainers") => Some(Part::Other("ephemeralcontainers", ephemeral_containers)),
        ("", "pods", "resize") => Some(Part::Other("resize", resize)),
        _ => None,
    }
}

/// Puts into `new` what is `old` but for the part that `pick` moves over.
fn only<K: Clone + 'static>(new: &mut dyn Object, old: &dyn Object, pick: impl FnOnce(&mut K, &K)) {
    let (Some(given), Some(old)) = (new.downcast_mut::<K>(), old.downcast_ref::<K>()) else { return };
    let wanted = given.clone();
    *given = old.clone();
    pick(given, &wanted);
}

/// `/finalize`: the namespace controller says that its content is gone. All but the status may change.
fn finalize(new: &mut dyn Object, old: &dyn Object) {
    if let (Some(new), Some(old)) = (new.downcast_mut::<Namespace>(), old.downcast_ref::<Namespace>()) {
        new.status.clone_from(&old.status);
    }
}

/// `/approval`: conditions, and nothing else of the spec and status.
fn approval(new: &mut dyn Object, old: &dyn Object) {
    let (Some(new), Some(old)) = (new.downcast_mut::<CertificateSigningRequest>(), old.downcast_ref()) else { return };
    let CertificateSigningRequest { spec, status, .. } = old;
    new.spec.clone_from(spec);
    let conditions = std::mem::replace(&mut new.status, status.clone()).and_then(|status| status.conditions);
    new.status.get_or_insert_default().conditions = conditions;
    certificate::stamp(new, old, &meta::now());
}

/// A CertificateSigningRequest is written by who asks, whatever its body says.
pub fn requester(user: &User, object: &mut dyn Object) {
    let Some(request) = object.downcast_mut::<CertificateSigningRequest>() else { return };
    let spec = &mut request.spec;
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    spec.username = text(&user.name);
    spec.uid = text(&user.uid);
    spec.groups = (!user.groups.is_empty()).then(|| user.groups.clone());
    spec.extra = (!user.extra.is_empty()).then(|| user.extra.clone());
}

fn ephemeral_containers(new: &mut dyn Object, old: &dyn Object) {
    only::<Pod>(new, old, |pod, wanted| {
        let containers = wanted.spec.as_ref().and_then(|spec| spec.ephemeral_containers.clone());
        if let Some(spec) = &mut pod.spec {
            spec.ephemeral_containers = containers;
        }
    });
}

/// `/resize`: the resources of containers, and of the pod as a whole. Containers that are not the old ones in the old
/// order are left for validation to refuse.
fn resize(new: &mut dyn Object, old: &dyn Object) {
    only::<Pod>(new, old, |pod, wanted| {
        let (Some(spec), Some(wanted)) = (&mut pod.spec, &wanted.spec) else { return };
        resized(&mut spec.containers, &wanted.containers);
        let wanted_inits = wanted.init_containers.as_deref().unwrap_or_default();
        let inits = spec.init_containers.get_or_insert_default();
        resized(inits, wanted_inits);
        if inits.is_empty() {
            spec.init_containers = None;
        }
        spec.resources.clone_from(&wanted.resources);
    });
}

fn resized(containers: &mut Vec<Container>, wanted: &[Container]) {
    let same = containers.len() == wanted.len() && containers.iter().zip(wanted).all(|(a, b)| a.name == b.name);
    if !same {
        wanted.clone_into(containers);
        return;
    }
    for (container, wanted) in containers.iter_mut().zip(wanted) {
        container.resources.clone_from(&wanted.resources);
        container.resize_policy.clone_from(&wanted.resize_policy);
    }
}
