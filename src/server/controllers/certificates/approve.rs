//! Approves what kubelets ask for. Client certificates as upstream: who may create
//! `certificatesigningrequests/selfnodeclient` or `/nodeclient` has the request approved.
//!
//! Serving certificates are orch's own addition (upstream leaves them to people): a node that asks for itself, by a
//! credential of its own, gets one for the names and addresses that its Node object has. A request for others stays
//! pending, for a person to approve, and is looked at again when the Node's addresses change.
//!
//! A request that would be approved is denied where the node's name belongs to another key ([`super::claim`]).

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::api::core::v1::{Node, NodeAddress};
use kube::Api;
use kube::api::PostParams;

use super::{APPROVED, DENIED, claim, conditions, with_condition};
use crate::api::csr::{self, SigningRequest};
use crate::reconcile::events::{EventType, Recorder};
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};

const GROUP: &str = "certificates.k8s.io";
const NAME_TAKEN: &str = "NodeNameTaken";

/// A condition to be set.
struct Verdict {
    kind: &'static str,
    reason: &'static str,
    message: String,
}

pub struct Approving {
    requests: Informer<CertificateSigningRequest>,
    nodes: Informer<Node>,
    events: Recorder,
}

impl Approving {
    pub fn new(env: &Env) -> Self {
        let events = env.events.recorder("csrapproving", None);
        Self { requests: env.informers.get(), nodes: env.informers.get(), events }
    }

    /// What is to be said, where anything is.
    async fn verdict(&self, cx: &Context, spec: &CertificateSigningRequestSpec) -> Result<Option<Verdict>, Error> {
        let Ok(request) = SigningRequest::parse(&spec.request.0) else { return Ok(None) };
        let Some(message) = self.approval(cx, spec, &request).await? else { return Ok(None) };
        let Some(node) = csr::node_name(&request) else { return Ok(None) };
        let own = spec.username.as_deref() == Some(request.common_name.as_str());
        Ok(Some(match claim::claim(cx, node, &request.public_key, own).await? {
            Ok(()) => Verdict { kind: APPROVED, reason: "AutoApproved", message: message.to_owned() },
            Err(taken) => {
                let message = taken.to_string();
                if let Some(node) = self.nodes.get("", node) {
                    self.events.event(node.as_ref(), EventType::Warning, NAME_TAKEN, message.clone());
                }
                Verdict { kind: DENIED, reason: NAME_TAKEN, message }
            }
        }))
    }

    /// The message of the approval, where who asks may have what is asked for.
    async fn approval(
        &self,
        cx: &Context,
        spec: &CertificateSigningRequestSpec,
        request: &SigningRequest,
    ) -> Result<Option<&'static str>, Error> {
        for (permission, message) in client_permissions(spec, request) {
            if allowed(cx, spec, permission).await? {
                return Ok(Some(message));
            }
        }
        let node = serving_node(spec, request).and_then(|name| self.nodes.get("", name));
        let named = node.is_some_and(|node| names_are_of(request, &node));
        Ok(named.then_some("Auto approving kubelet serving certificate for the node's own names and addresses."))
    }
}

/// The subresources that the requester must be allowed to create, the narrower one first, and what is said then.
fn client_permissions(
    spec: &CertificateSigningRequestSpec,
    request: &SigningRequest,
) -> Vec<(&'static str, &'static str)> {
    let usages = spec.usages.as_deref().unwrap_or_default();
    if spec.signer_name != csr::KUBELET_CLIENT || csr::kubelet_client(request, usages).is_err() {
        return Vec::new();
    }
    let own = spec.username.as_deref() == Some(request.common_name.as_str());
    let own =
        own.then_some(("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."));
    let any = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.");
    own.into_iter().chain([any]).collect()
}

/// The node that asks for its own serving certificate.
fn serving_node<'a>(spec: &CertificateSigningRequestSpec, request: &'a SigningRequest) -> Option<&'a str> {
    let usages = spec.usages.as_deref().unwrap_or_default();
    let own = spec.username.as_deref() == Some(request.common_name.as_str());
    let node = spec.groups.iter().flatten().any(|group| group == "system:nodes");
    let ours = spec.signer_name == csr::KUBELET_SERVING && csr::kubelet_serving(request, usages).is_ok();
    if own && node && ours { csr::node_name(request) } else { None }
}

fn addresses(node: &Node) -> &[NodeAddress] {
    node.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default()
}

/// Whether every name and address of the request is the Node's.
fn names_are_of(request: &SigningRequest, node: &Node) -> bool {
    let has = |kinds: &[&str], wanted: &str| {
        addresses(node).iter().any(|address| kinds.contains(&address.type_.as_str()) && address.address == wanted)
    };
    let own = node.metadata.name.as_deref();
    let names = ["Hostname", "InternalDNS", "ExternalDNS"];
    let named = |name: &String| own == Some(name.as_str()) || has(&names, name);
    request.dns_names.iter().all(named)
        && request.addresses.iter().all(|address| has(&["InternalIP", "ExternalIP"], &address.to_string()))
}

/// Whether the requester may create the subresource, as the authorizer says.
async fn allowed(cx: &Context, spec: &CertificateSigningRequestSpec, subresource: &str) -> Result<bool, Error> {
    let attributes = ResourceAttributes {
        group: Some(GROUP.to_owned()),
        version: Some("*".to_owned()),
        resource: Some("certificatesigningrequests".to_owned()),
        subresource: Some(subresource.to_owned()),
        verb: Some("create".to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(cx.env.client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn is_pending(request: &CertificateSigningRequest) -> bool {
    conditions(request).is_empty()
}

#[async_trait]
impl Controller for Approving {
    type Key = Key;

    fn name(&self) -> &'static str {
        "csrapproving"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.requests, |change| {
            let pending = change.new.as_ref().filter(|request| is_pending(request));
            pending.map(|request| Key::of(request.as_ref()))
        });
        let this = self.clone();
        watches.on(&self.nodes, move |change| {
            let before = change.old.as_deref().map(addresses).unwrap_or_default();
            let changed = change.new.as_deref().is_some_and(|node| addresses(node) != before);
            let user = format!("system:node:{}", change.object().metadata.name.as_deref().unwrap_or_default());
            let requests = if changed { this.requests.store().state() } else { Vec::new() };
            let own = requests.into_iter().filter(|request| request.spec.username.as_ref() == Some(&user));
            own.filter(|request| is_pending(request)).map(|request| Key::of(request.as_ref())).collect::<Vec<_>>()
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let found = self.requests.get("", &key.name).filter(|request| is_pending(request));
        let Some(request) = found else { return Ok(Action::done()) };
        let Some(verdict) = self.verdict(cx, &request.spec).await? else { return Ok(Action::done()) };
        let now = cx.env.clock.now();
        let decided = with_condition(&request, verdict.kind, verdict.reason, &verdict.message, now);
        let writer = cx.cluster::<CertificateSigningRequest>();
        writer.api().replace_subresource("approval", &key.name, &PostParams::default(), &decided).await?;
        Ok(Action::done())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(names: &[&str], addresses: &[&str]) -> SigningRequest {
        SigningRequest {
            common_name: "system:node:a".to_owned(),
            organizations: vec!["system:nodes".to_owned()],
            dns_names: names.iter().map(|&name| name.to_owned()).collect(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            ..SigningRequest::default()
        }
    }

    fn spec(signer: &str, user: &str, auth: &str) -> CertificateSigningRequestSpec {
        let groups = if user.starts_with("system:node:") { json!(["system:nodes"]) } else { json!([]) };
        let usages = json!(["digital signature", auth]);
        let spec = json!({"request": "", "signerName": signer, "username": user, "groups": groups, "usages": usages});
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn who_must_be_allowed_what() {
        let of = |signer, user, auth| {
            let found = client_permissions(&spec(signer, user, auth), &asked(&[], &[]));
            found.into_iter().map(|(permission, _)| permission).collect::<Vec<_>>()
        };
        assert_eq!(of(csr::KUBELET_CLIENT, "system:node:a", "client auth"), ["selfnodeclient", "nodeclient"]);
        assert_eq!(of(csr::KUBELET_CLIENT, "system:bootstrap:abcdef", "client auth"), ["nodeclient"]);
        assert!(of(csr::KUBELET_CLIENT, "system:node:a", "server auth").is_empty());
        assert!(of(csr::KUBE_APISERVER_CLIENT, "system:node:a", "client auth").is_empty());
    }

    #[test]
    fn a_node_serves_under_its_own_names_only() {
        let named =
            json!([{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "a.example"}]);
        let node = json!({"metadata": {"name": "a"}, "status": {"addresses": named}});
        let node: Node = serde_json::from_value(node).unwrap();
        let cases = [
            (asked(&["a"], &["10.0.0.1"]), true),
            (asked(&["a.example"], &[]), true),
            (asked(&["b"], &["10.0.0.1"]), false),
            (asked(&["a"], &["10.0.0.2"]), false),
            (asked(&["10.0.0.1"], &[]), false),
        ];
        for (request, expected) in cases {
            assert_eq!(names_are_of(&request, &node), expected, "{request:?}");
        }
        let request = asked(&["a"], &[]);
        let of = |user| serving_node(&spec(csr::KUBELET_SERVING, user, "server auth"), &request);
        assert_eq!(of("system:node:a"), Some("a"));
        assert_eq!(of("system:node:b"), None, "another node's");
        assert_eq!(of("jane"), None);
    }
}
