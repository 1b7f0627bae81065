//! What a pod asks for and may use as a whole (KEP-2837), against what its containers do.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::super::resources::{self, is_huge_page};
use super::resources::requirements;
use crate::api::field::{Error, Errors, Path};
use crate::api::pod::{container_limits, container_requests};
use crate::api::quantity::Quantity;

/// `path` is that of the pod's resources.
pub fn check(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    let Some(needs) = &spec.resources else { return };
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return errors.push(Error::forbidden(path, "may not be set for a windows pod"));
    }
    if needs.claims.is_some() {
        errors.push(Error::forbidden(&path.child("claims"), "claims may not be set for Resources at pod-level"));
    }
    requirements(errors, path, needs, resources::pod_name);
    let empty = BTreeMap::new();
    let (requests, limits) = (needs.requests.as_ref().unwrap_or(&empty), needs.limits.as_ref().unwrap_or(&empty));
    not_below(errors, &path.child("requests"), requests, "requests", container_requests(spec));
    // What cannot be overcommitted is never more in the containers than in the pod.
    let sums = container_limits(spec).into_iter().filter(|(name, _)| is_huge_page(name));
    not_below(errors, &path.child("limits"), limits, "limits", sums);
    for (at, container) in spec.containers.iter().enumerate() {
        let own = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        for (name, limit) in own.into_iter().flatten() {
            let Some(whole) = limits.get(name).map(Quantity::of) else { continue };
            let limit = Quantity::of(limit);
            if limit > whole {
                let path = path.child("containers").index(at).key(name).child("limits");
                let detail = format!("must be less than or equal to pod limits of {whole}");
                errors.push(Error::invalid(&path, limit.to_string(), detail));
            }
        }
    }
}

/// Where the pod says an amount, it is at least what its containers say together.
fn not_below(
    errors: &mut Errors,
    path: &Path,
    of_pod: &BTreeMap<String, Wire>,
    what: &str,
    sums: impl IntoIterator<Item = (String, Quantity)>,
) {
    for (name, sum) in sums {
        let Some(whole) = of_pod.get(&name).map(Quantity::of).filter(|whole| sum > *whole) else { continue };
        let detail = format!("must be greater than or equal to aggregate container {what} of {sum}");
        errors.push(Error::invalid(&path.key(&name), whole.to_string(), detail));
    }
}
