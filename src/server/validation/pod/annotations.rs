//! Annotations of pods and templates that mean something to the cluster, and those that came before a field.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SeccompProfile, Toleration};

use super::super::paths;
use super::{Kept, visit};
use crate::api::field::{Error, Errors, Path};
use crate::api::go_json;
use crate::api::references::MIRROR;

pub type Annotations = BTreeMap<String, String>;

const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const LOCAL: &str = "localhost/";

/// Whether the pod stands for one that a kubelet has from a file.
pub fn is_mirror(annotations: Option<&Annotations>) -> bool {
    annotations.is_some_and(|annotations| annotations.contains_key(MIRROR))
}

/// `path` is the annotations'.
pub fn check(errors: &mut Errors, path: &Path, annotations: Option<&Annotations>, spec: &PodSpec, kept: Kept) {
    let Some(annotations) = annotations else { return };
    if let Some(value) = annotations.get(MIRROR).filter(|_| spec.node_name.as_deref().is_none_or(str::is_empty)) {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(Error::invalid(&path.key(MIRROR), value.as_str(), detail));
    }
    if let Some(value) = annotations.get(TOLERATIONS).filter(|value| !value.is_empty()) {
        match go_json::decode::<Vec<Toleration>>(value.as_bytes(), "[]core.Toleration") {
            Ok(tolerations) => super::tolerations(errors, &path.child(TOLERATIONS), &tolerations, kept),
            Err(error) => errors.push(Error::invalid(path, TOLERATIONS, error)),
        }
    }
    if let Some(value) = annotations.get(DELETION_COST).filter(|value| !is_cost(value)) {
        errors.push(Error::invalid(&path.key(DELETION_COST), value.as_str(), "must be a 32bit integer"));
    }
    for (key, value) in annotations.iter().filter(|(key, _)| *key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER))
    {
        seccomp_profile(errors, &path.child(key), value);
    }
    for (key, value) in annotations {
        let Some(container) = key.strip_prefix(APP_ARMOR) else { continue };
        let path = path.key(key);
        if !visit::containers(spec, &Path::root()).iter().any(|(found, _)| found.name == container) {
            errors.push(Error::invalid(&path, container, "container not found"));
        }
        let known = ["", "runtime/default", "unconfined"].contains(&value.as_str()) || value.starts_with(LOCAL);
        if !known {
            errors.push(Error::invalid(&path, value.as_str(), format!("invalid AppArmor profile name: {value:?}")));
        }
    }
}

/// No sign but a minus, no leading zero.
fn is_cost(value: &str) -> bool {
    let plain = value == "0" || value.starts_with('-') || value.starts_with(|first: char| ('1'..='9').contains(&first));
    plain && value.parse::<i32>().is_ok()
}

fn seccomp_profile(errors: &mut Errors, path: &Path, profile: &str) {
    match profile {
        "runtime/default" | "docker/default" | "unconfined" => {}
        _ => match profile.strip_prefix(LOCAL) {
            Some(file) => paths::local(errors, path, file),
            None => errors.push(Error::invalid(path, profile, "must be a valid seccomp profile")),
        },
    }
}

/// What an update may not do to annotations.
pub fn update(errors: &mut Errors, path: &Path, new: Option<&Annotations>, old: Option<&Annotations>) {
    let of = |annotations: Option<&Annotations>, key: &str| annotations.and_then(|found| found.get(key)).cloned();
    for (key, before) in old.into_iter().flatten() {
        if of(new, key).as_ref() == Some(before) {
            continue;
        }
        if key.starts_with(APP_ARMOR) {
            errors.push(Error::forbidden(&path.key(key), "may not remove or update AppArmor annotations"));
        }
        if key == MIRROR {
            errors.push(Error::forbidden(&path.key(key), "may not remove or update mirror pod annotation"));
        }
    }
    for (key, _) in new.into_iter().flatten().filter(|(key, _)| of(old, key).is_none()) {
        if key.starts_with(APP_ARMOR) {
            errors.push(Error::forbidden(&path.key(key), "may not add AppArmor annotations"));
        }
        if key == MIRROR {
            errors.push(Error::forbidden(&path.key(key), "may not add mirror pod annotation"));
        }
    }
}

/// Where both the old annotation and its field are given, they must say the same. `path` is the spec's.
pub fn match_fields(errors: &mut Errors, path: &Path, annotations: Option<&Annotations>, spec: &PodSpec) {
    let Some(annotations) = annotations else { return };
    let of_pod = spec.security_context.as_ref();
    if let (Some(field), Some(said)) =
        (of_pod.and_then(|context| context.seccomp_profile.as_ref()), annotations.get(SECCOMP_POD))
    {
        seccomp_matches(errors, &path.child("securityContext").child("seccompProfile"), field, said);
    }
    let containers = visit::containers(spec, path);
    for (container, path) in &containers {
        let field = container.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
        let said = annotations.get(&format!("{SECCOMP_CONTAINER}{}", container.name));
        if let (Some(field), Some(said)) = (field, said) {
            seccomp_matches(errors, &path.child("securityContext").child("seccompProfile"), field, said);
        }
    }
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return;
    }
    for (container, path) in &containers {
        let own = container.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
        let field = own.or_else(|| of_pod.and_then(|context| context.app_armor_profile.as_ref()));
        let said = annotations.get(&format!("{APP_ARMOR}{}", container.name));
        if let (Some(field), Some(said)) = (field, said) {
            app_armor_matches(errors, &path.child("securityContext").child("appArmorProfile"), field, said);
        }
    }
}

fn seccomp_matches(errors: &mut Errors, path: &Path, field: &SeccompProfile, said: &str) {
    let plain: &[&str] = match field.type_.as_str() {
        "Unconfined" => &["unconfined"],
        "RuntimeDefault" => &["runtime/default", "docker/default"],
        "Localhost" => return local_matches(errors, path, field.localhost_profile.as_deref(), said, "seccomp"),
        _ => return,
    };
    if !plain.contains(&said) {
        errors.push(Error::forbidden(&path.child("type"), "seccomp type in annotation and field must match"));
    }
}

fn app_armor_matches(errors: &mut Errors, path: &Path, field: &AppArmorProfile, said: &str) {
    let plain = match field.type_.as_str() {
        "Unconfined" => "unconfined",
        "RuntimeDefault" => "runtime/default",
        "Localhost" => return local_matches(errors, path, field.localhost_profile.as_deref(), said, "apparmor"),
        _ => return,
    };
    if said != plain {
        errors.push(Error::forbidden(&path.child("type"), "apparmor type in annotation and field must match"));
    }
}

fn local_matches(errors: &mut Errors, path: &Path, field: Option<&str>, said: &str, what: &str) {
    match said.strip_prefix(LOCAL) {
        None => {
            let detail = format!("{what} type in annotation and field must match");
            errors.push(Error::forbidden(&path.child("type"), detail));
        }
        Some(file) if Some(file) != field => {
            let detail = format!("{what} profile in annotation and field must match");
            errors.push(Error::forbidden(&path.child("localhostProfile"), detail));
        }
        Some(_) => {}
    }
}
