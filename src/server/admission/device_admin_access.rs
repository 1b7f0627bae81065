//! Admin access to devices, beside whoever uses them, is for namespaces whose label says so.
//!
//! Upstream asks this in the registries of claims and their templates, as a rule of validation: so the answer is one.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::resource::v1::{DeviceClaim, ResourceClaim, ResourceClaimTemplate};

use super::{Attributes, Operation, Plugin};
use crate::api::field::{Error, Path};
use crate::api::object::Object;
use crate::api::status::{Failure, Result};

pub struct DeviceAdminAccess;

const GROUP: &str = "resource.k8s.io";
const LABEL: &str = "resource.kubernetes.io/admin-access";

#[async_trait]
impl Plugin for DeviceAdminAccess {
    fn name(&self) -> &'static str {
        "DeviceAdminAccess"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        if attributes.context.kind.meta().group != GROUP {
            return Ok(());
        }
        let Some(path) = object.and_then(|object| asked(object, attributes.old)) else { return Ok(()) };
        let context = attributes.context;
        let namespace: Option<Namespace> = attributes.reader.get("", &context.namespace)?;
        let labels = namespace.and_then(|namespace| namespace.metadata.labels).unwrap_or_default();
        if labels.get(LABEL).is_some_and(|value| value == "true") {
            return Ok(());
        }
        let detail = format!("admin access to devices requires the `{LABEL}: true` label on the containing namespace");
        let name = object.and_then(|object| object.meta().name.clone()).unwrap_or_default();
        Err(Failure::invalid(context.kind.meta().group_kind(), &name, &[Error::forbidden(&path, detail)]))
    }
}

/// Where an object asks for admin access that it did not have: its spec as it is made, its allocation later.
fn asked(object: &dyn Object, old: Option<&dyn Object>) -> Option<Path> {
    let Some(old) = old else {
        let claim = object.downcast_ref::<ResourceClaim>().and_then(|claim| claim.spec.devices.as_ref());
        let template = object.downcast_ref::<ResourceClaimTemplate>();
        return requested(claim.or(template.and_then(|template| template.spec.spec.devices.as_ref()))?);
    };
    let (new, old) = (object.downcast_ref()?, old.downcast_ref()?);
    if granted(old).is_some() {
        return None;
    }
    let results = Path::new("status").child("allocation").child("devices").child("results");
    granted(new).map(|at| results.index(at).child("adminAccess"))
}

fn requested(claim: &DeviceClaim) -> Option<Path> {
    let mut requests = claim.requests.iter().flatten().map(|request| request.exactly.as_ref());
    let at = requests.position(|exactly| exactly.is_some_and(|exactly| exactly.admin_access == Some(true)))?;
    Some(Path::new("spec").child("devices").child("requests").index(at).child("adminAccess"))
}

fn granted(claim: &ResourceClaim) -> Option<usize> {
    let devices = claim.status.as_ref()?.allocation.as_ref()?.devices.as_ref()?;
    devices.results.iter().flatten().position(|result| result.admin_access == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn claim(status: Value) -> ResourceClaim {
        let requests = json!([
            {"name": "a", "exactly": {"deviceClassName": "c"}},
            {"name": "b", "exactly": {"deviceClassName": "c", "adminAccess": true}}
        ]);
        serde_json::from_value(json!({"spec": {"devices": {"requests": requests}}, "status": status})).unwrap()
    }

    /// What comes, what was there, and why it is refused.
    type Case<'a> = (&'a dyn Object, Option<&'a dyn Object>, Option<&'a str>);

    #[test]
    fn access_is_asked_for_once() {
        let granted = json!({"allocation": {"devices": {"results": [
            {"request": "b", "driver": "d", "pool": "p", "device": "x", "adminAccess": true}]}}});
        let template: ResourceClaimTemplate =
            serde_json::from_value(json!({"spec": {"spec": claim(json!({})).spec}})).unwrap();
        let (made, given) = (claim(json!({})), claim(granted));
        let cases: [Case<'_>; 5] = [
            (&made, None, Some("spec.devices.requests[1].adminAccess")),
            (&template, None, Some("spec.devices.requests[1].adminAccess")),
            (&made, Some(&made), None),
            (&given, Some(&made), Some("status.allocation.devices.results[0].adminAccess")),
            (&given, Some(&given), None),
        ];
        for (new, old, expected) in cases {
            assert_eq!(asked(new, old).map(|path| path.to_string()).as_deref(), expected);
        }
    }
}
