//! What an update of a Service may not do: change the addresses and families it has, unless it comes from or becomes
//! an ExternalName.

use k8s_openapi::api::core::v1::ServiceSpec;
use serde_json::Value;

use super::super::allocated::has_health_check_port;
use super::is_headless;
use crate::api::field::{Error, Errors, Path};
use crate::server::validation::{IMMUTABLE, json, text};

const SET: &str = "may not change once set";

pub fn change(errors: &mut Errors, path: &Path, new: &ServiceSpec, old: &ServiceSpec) {
    let named = [new, old].iter().any(|spec| text(&spec.type_) == "ExternalName");
    let headless = [new, old].map(is_headless);
    if !named && headless != [true, true] {
        addresses(errors, path, new, old);
    }
    if !named && headless == [false, false] {
        families(errors, path, new, old);
    }
    let both_balanced = [new, old].iter().all(|spec| text(&spec.type_) == "LoadBalancer");
    let class = path.child("loadBalancerClass");
    if both_balanced && new.load_balancer_class != old.load_balancer_class {
        errors.push(Error::invalid(&class, json(&new.load_balancer_class), SET));
    }
    super::policies::balancer_class(errors, &class, new);
    let both_checked = has_health_check_port(new) && has_health_check_port(old);
    // Nothing at all is filled in by the allocation.
    if both_checked && new.health_check_node_port.is_some() && new.health_check_node_port != old.health_check_node_port
    {
        errors.push(Error::forbidden(&path.child("healthCheckNodePort"), IMMUTABLE));
    }
}

fn addresses(errors: &mut Errors, path: &Path, new: &ServiceSpec, old: &ServiceSpec) {
    let here = path.child("clusterIPs");
    let (now, before) =
        (new.cluster_ips.as_deref().unwrap_or_default(), old.cluster_ips.as_deref().unwrap_or_default());
    let shown = || json(&now);
    if now.len() == before.len() {
        for (at, _) in now.iter().zip(before).enumerate().filter(|(_, (now, before))| now != before) {
            errors.push(Error::invalid(&here.index(at), shown(), SET));
        }
        return;
    }
    if now.is_empty() {
        errors.push(Error::invalid(&here.index(0), Value::Null, "primary clusterIP can not be unset"));
    }
    if matches!((now.first(), before.first()), (Some(now), Some(before)) if now != before) {
        errors.push(Error::invalid(&here.index(0), shown(), SET));
    }
    if before.len() > now.len() && now.len() == 1 {
        single_stack(errors, path, new, "clusterIP");
    }
}

fn families(errors: &mut Errors, path: &Path, new: &ServiceSpec, old: &ServiceSpec) {
    let here = path.child("ipFamilies").index(0);
    let (now, before) =
        (new.ip_families.as_deref().unwrap_or_default(), old.ip_families.as_deref().unwrap_or_default());
    if now.len() == before.len() {
        for _ in now.iter().zip(before).filter(|(now, before)| now != before) {
            errors.push(Error::invalid(&here, json(&now), SET));
        }
        return;
    }
    if before.len() > now.len() && new.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
        errors.push(Error::invalid(&here, json(&now), "primary ipFamily can not be unset"));
    }
    if matches!((now.first(), before.first()), (Some(now), Some(before)) if now != before) {
        errors.push(Error::invalid(&here, json(&new.cluster_ips), SET));
    }
    if before.len() > now.len() && now.len() == 1 {
        single_stack(errors, path, new, "ipFamily");
    }
}

/// Who gives up a second address or family must say so.
fn single_stack(errors: &mut Errors, path: &Path, new: &ServiceSpec, what: &str) {
    if text(&new.ip_family_policy) != "SingleStack" {
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {what}");
        errors.push(Error::invalid(&path.child("ipFamilyPolicy"), json(&new.ip_family_policy), detail));
    }
}
