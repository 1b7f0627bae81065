//! The status of a ResourceClaim is written by several: who allocates and reserves needs `resourceclaims/binding`, who
//! reports a driver's devices `resourceclaims/driver`, beside `resourceclaims/status` (KEP-4817).
//!
//! Upstream asks this in the registry of claims, as a rule of validation: so the answer is one.

use std::collections::BTreeSet;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::NodeSelector;
use k8s_openapi::api::resource::v1::{AllocatedDeviceStatus, ResourceClaim, ResourceClaimStatus};

use super::{Attributes, Operation, Plugin};
use crate::api::field::{Error, Path};
use crate::api::names;
use crate::api::object::Object;
use crate::api::status::{Failure, Result};
use crate::server::authorization::{Decision, RequestInfo, denied};
use crate::server::pipeline::Context;
use crate::server::pipeline::user::User;

pub struct ClaimStatus;

/// For drivers that act on the node of their own pod.
const ASSOCIATED: &str = "associated-node:";
const ARBITRARY: &str = "arbitrary-node:";

#[async_trait]
impl Plugin for ClaimStatus {
    fn name(&self) -> &'static str {
        "ResourceClaimStatus"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        let context = attributes.context;
        if context.subresource != "status" {
            return Ok(());
        }
        let status = |object: Option<&dyn Object>| {
            Some(object?.downcast_ref::<ResourceClaim>()?.status.clone().unwrap_or_default())
        };
        let (Some(now), Some(before)) = (status(object), status(attributes.old)) else { return Ok(()) };
        let path = Path::new("status");
        let mut errors = Vec::new();
        if (&now.allocation, &now.reserved_for) != (&before.allocation, &before.reserved_for)
            && let Err(why) = ask(context, "binding", &context.verb, "", "").await
        {
            let what = r#"status.allocation or status.reservedFor requires resource="resourceclaims/binding""#;
            let verb = &context.verb;
            errors.push(Error::forbidden(&path, format!("changing {what}, verb=\"{verb}\" permission: {why}")));
        }
        let verbs = verbs(&context.user, &context.verb, &now);
        for driver in changed_drivers(&now, &before) {
            if let Err(why) = ask_any(context, &verbs, driver).await {
                let verbs = verbs.join(" ");
                let detail = format!(
                    "changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[{verbs}]\" permission: {why}"
                );
                errors.push(Error::forbidden(&path.child("devices"), detail));
            }
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(Failure::invalid(context.kind.meta().group_kind(), &context.name, &errors)),
        }
    }
}

/// Whether the user may do something with a part of claims that no path leads to; in the words of a refusal if not.
async fn ask(context: &Context, part: &str, verb: &str, namespace: &str, name: &str) -> Result<(), String> {
    let meta = context.kind.meta();
    let asked = RequestInfo {
        verb: verb.to_owned(),
        group: meta.group.to_owned(),
        version: meta.version.to_owned(),
        resource: meta.plural.to_owned(),
        subresource: part.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        is_resource: true,
        ..RequestInfo::default()
    };
    match context.decide(&asked).await {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) => Err(denied(&context.user, &asked, &reason).to_string()),
    }
}

/// One of the verbs is enough; the first refusal is told.
async fn ask_any(context: &Context, verbs: &[String], driver: &str) -> Result<(), String> {
    let mut refusal = Ok(());
    for verb in verbs {
        match ask(context, "driver", verb, &context.namespace, driver).await {
            Ok(()) => return Ok(()),
            Err(why) => refusal = refusal.and(Err(why)),
        }
    }
    refusal
}

/// What a user must be allowed to do to a driver's devices: less, where they are on the user's own node.
fn verbs(user: &User, verb: &str, status: &ResourceClaimStatus) -> Vec<String> {
    let node = status.allocation.as_ref().and_then(|allocation| only_node(allocation.node_selector.as_ref()?));
    let own = node.is_some_and(|node| is_on(user, node)).then(|| format!("{ASSOCIATED}{verb}"));
    own.into_iter().chain([format!("{ARBITRARY}{verb}")]).collect()
}

/// The node that a selector names and nothing else.
fn only_node(selector: &NodeSelector) -> Option<&str> {
    let [term] = selector.node_selector_terms.as_slice() else { return None };
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let ([], [field]) = (expressions, term.match_fields.as_deref()?) else { return None };
    let [name] = field.values.as_deref()? else { return None };
    (field.key == "metadata.name" && field.operator == "In").then_some(name)
}

/// Whether a service account's token says that its pod is on the node.
fn is_on(user: &User, node: &str) -> bool {
    let told = user.extra.get(User::NODE_NAME).map_or(&[][..], Vec::as_slice);
    User::split_service_account(&user.name).is_some() && told == [node] && names::dns1123_subdomain(node).is_empty()
}

/// The drivers of which a device is reported anew, otherwise or no more, in order.
fn changed_drivers<'a>(new: &'a ResourceClaimStatus, old: &'a ResourceClaimStatus) -> BTreeSet<&'a str> {
    fn of(status: &ResourceClaimStatus) -> &[AllocatedDeviceStatus] {
        status.devices.as_deref().unwrap_or_default()
    }
    let missing = |from: &'a ResourceClaimStatus, to: &'a ResourceClaimStatus| {
        of(from).iter().filter(|device| !of(to).contains(device)).map(|device| device.driver.as_str())
    };
    missing(new, old).chain(missing(old, new)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn status(status: Value) -> ResourceClaimStatus {
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn drivers_whose_devices_differ() {
        let device =
            |driver: &str, pool: &str, data: &str| json!({"driver": driver, "pool": pool, "device": "d", "data": data});
        let cases = [
            (json!([]), json!([]), vec![]),
            (json!([device("a", "p", "1")]), json!([device("a", "p", "1")]), vec![]),
            (json!([device("a", "p", "2")]), json!([device("a", "p", "1")]), vec!["a"]),
            (json!([device("b", "p", "1")]), json!([device("a", "p", "1")]), vec!["a", "b"]),
            (
                json!([device("a", "q", "1"), device("a", "p", "1")]),
                json!([device("a", "p", "1"), device("a", "q", "1")]),
                vec![],
            ),
        ];
        for (new, old, expected) in cases {
            let (new, old) = (status(json!({"devices": new})), status(json!({"devices": old})));
            assert_eq!(Vec::from_iter(changed_drivers(&new, &old)), expected, "{new:?}");
        }
    }

    #[test]
    fn drivers_on_the_node_of_the_devices_need_less() {
        let on = |field: Value| {
            let terms = json!([{"matchFields": [field]}]);
            status(json!({"allocation": {"nodeSelector": {"nodeSelectorTerms": terms}}}))
        };
        let named = |nodes: Value| on(json!({"key": "metadata.name", "operator": "In", "values": nodes}));
        let mut driver = User::service_account("drivers", "d", "u");
        driver.extra.insert(User::NODE_NAME.to_owned(), vec!["n1".to_owned()]);
        let mut person = User::new("p", &[]);
        person.extra.clone_from(&driver.extra);
        let (both, one) = (vec!["associated-node:patch", "arbitrary-node:patch"], vec!["arbitrary-node:patch"]);
        let cases = [
            (&driver, named(json!(["n1"])), &both),
            (&driver, named(json!(["n2"])), &one),
            (&driver, named(json!(["n1", "n2"])), &one),
            (&driver, on(json!({"key": "metadata.name", "operator": "NotIn", "values": ["n1"]})), &one),
            (&driver, ResourceClaimStatus::default(), &one),
            (&person, named(json!(["n1"])), &one),
        ];
        for (user, status, expected) in cases {
            assert_eq!(verbs(user, "patch", &status), *expected, "{status:?}");
        }
    }
}
