//! A node name belongs to the key that first took it until its Node is deleted, so that nobody who holds a token can
//! become a node that is there already. A claim is a ConfigMap named after the node, beside the nodes' Leases; the Node
//! owns it as soon as both exist, and the garbage collector takes it away with the Node.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, PostParams};

use crate::api::claim::{FIELD, NAMESPACE, fingerprint};
use crate::reconcile::{Context, Error};

/// A machine that has just claimed a name may not have made its Node yet.
const GRACE: SignedDuration = SignedDuration::from_mins(1);

/// Why a key does not get a name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "node name {0:?} belongs to another machine's key; if that machine is gone or was installed anew, delete its Node and \
     join again: kubectl delete node {0}"
)]
pub struct Taken(String);

/// What is to be done about a claim.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Keep,
    /// Write it, over what is there.
    Take,
    Refuse,
}

/// `held` is the claiming key and when it claimed; `own`: who asks is the node itself, by a certificate of its own.
fn decide(held: Option<(&str, Timestamp)>, key: &str, node_exists: bool, own: bool, now: Timestamp) -> Decision {
    match held {
        Some((holder, _)) if holder == key => Decision::Keep,
        Some(_) if node_exists => Decision::Refuse,
        Some((_, since)) if now.duration_since(since) < GRACE => Decision::Refuse,
        // A Node without a claim is the server's own, or was made by hand.
        None if node_exists && !own => Decision::Refuse,
        _ => Decision::Take,
    }
}

/// Has the name `node` for this key (SubjectPublicKeyInfo in DER), or not.
pub async fn claim(cx: &Context, node: &str, public_key: &[u8], own: bool) -> Result<Result<(), Taken>, Error> {
    let key = fingerprint(public_key);
    // Read, not looked up in a cache: two machines may ask at the same time.
    let claims: Api<ConfigMap> = Api::namespaced(cx.env.client.clone(), NAMESPACE);
    let found = claims.get_opt(node).await?;
    let owner = Api::<Node>::all(cx.env.client.clone()).get_opt(node).await?;
    let held = found.as_ref().map(|claim| {
        let holder = claim.data.as_ref().and_then(|data| data.get(FIELD)).map(String::as_str).unwrap_or_default();
        (holder, claim.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0))
    });
    let params = PostParams::default();
    match (decide(held, &key, owner.is_some(), own, cx.env.clock.now()), found) {
        (Decision::Refuse, _) => return Ok(Err(Taken(node.to_owned()))),
        (Decision::Keep, Some(found)) if found.metadata.owner_references.is_none() && owner.is_some() => {
            let mut owned = new(node, &key, owner.as_ref());
            owned.metadata.resource_version = found.metadata.resource_version;
            claims.replace(node, &params, &owned).await?;
        }
        (Decision::Keep, _) => {}
        (Decision::Take, found) => {
            // Deleted and created, not replaced: its age tells when it was taken.
            if let Some(old) = found {
                let preconditions = kube::api::Preconditions { uid: old.metadata.uid, resource_version: None };
                let params = kube::api::DeleteParams { preconditions: Some(preconditions), ..Default::default() };
                claims.delete(node, &params).await?;
            }
            claims.create(&params, &new(node, &key, owner.as_ref())).await?;
        }
    }
    Ok(Ok(()))
}

fn new(node: &str, key: &str, owner: Option<&Node>) -> ConfigMap {
    let owner = owner.map(|node| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.metadata.name.clone().unwrap_or_default(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    });
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(node.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(FIELD.to_owned(), key.to_owned())])),
        ..ConfigMap::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_name_is() {
        use Decision::{Keep, Refuse, Take};
        let at = |second| Timestamp::from_second(second).unwrap();
        let now = at(1000);
        // Who holds it since when, whether the Node exists, whether the node itself asks.
        let cases = [
            (None, false, false, Take),
            (None, true, false, Refuse),
            (None, true, true, Take),
            (Some(("mine", at(0))), false, false, Keep),
            (Some(("mine", at(0))), true, false, Keep),
            (Some(("other", at(0))), true, false, Refuse),
            (Some(("other", at(0))), true, true, Refuse),
            (Some(("other", at(0))), false, false, Take),
            (Some(("other", at(970))), false, false, Refuse),
        ];
        for (held, exists, own, expected) in cases {
            assert_eq!(decide(held, "mine", exists, own, now), expected, "{held:?} {exists} {own}");
        }
    }

    #[test]
    fn the_error_names_the_fix() {
        assert!(Taken("a".to_owned()).to_string().ends_with("kubectl delete node a"));
    }
}
