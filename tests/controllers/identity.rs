//! Credentials that controllers give and take back: tokens in Secrets, bootstrap tokens, certificates on request.

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use orch::api::bootstrap_token::{Token, TokenSecret, Usage};
use orch::reconcile::clock::Clock;
use orch::server::controllers::legacy::INVALID_SINCE;
use orch::server::http::authn::{Certificate, User};
use serde_json::json;

use super::cluster::{Cluster, find, has};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVING: &str = "kubernetes.io/kubelet-serving";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_filled_for_its_account_and_goes_with_it() {
    let cluster = Cluster::new().await;
    cluster.create(cluster.test::<ServiceAccount>(), json!({"metadata": {"name": "robot"}})).await;
    let annotations = json!({"kubernetes.io/service-account.name": "robot"});
    let metadata = json!({"name": "robot-token", "annotations": annotations});
    let secret = json!({"metadata": metadata, "type": "kubernetes.io/service-account-token"});
    cluster.create(cluster.test::<Secret>(), secret.clone()).await;
    let filled = |secrets: &[Arc<Secret>]| {
        let data = find(secrets, "robot-token").and_then(|secret| secret.data.clone()).unwrap_or_default();
        ["token", "ca.crt", "namespace"].iter().all(|key| data.contains_key(*key))
    };
    cluster.eventually::<Secret>("a token", filled).await;
    cluster.test::<ServiceAccount>().delete("robot", &DeleteParams::default()).await.unwrap();
    cluster.eventually::<Secret>("its end", |secrets| !has(secrets, "robot-token")).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_nobody_uses_is_marked_and_a_year_later_gone() {
    let day = |days: u64| std::time::Duration::from_secs(days * 24 * 3600);
    let clock = Clock::manual(jiff::Timestamp::now());
    clock.advance(day(400));
    let cluster = Cluster::without_kubelet(clock.clone()).await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "kube-system");
    let tracking = "kube-apiserver-legacy-service-account-token-tracking";
    let since = |maps: &[Arc<ConfigMap>]| find(maps, tracking).and_then(|map| map.data.as_ref()?.get("since").cloned());
    let found = cluster.eventually::<ConfigMap>("since when", move |maps| since(maps).is_some()).await;
    assert_eq!(since(&found).unwrap(), clock.now().strftime("%Y-%m-%d").to_string());
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), "kube-public");
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), "kube-public");
    let listed = json!([{"name": "made"}]);
    cluster.create(accounts, json!({"metadata": {"name": "robot"}, "secrets": listed})).await;
    for name in ["made", "wanted"] {
        let annotations = json!({"kubernetes.io/service-account.name": "robot"});
        let metadata = json!({"name": name, "annotations": annotations});
        let secret = json!({"metadata": metadata, "type": "kubernetes.io/service-account-token"});
        cluster.create(secrets.clone(), secret).await;
    }
    let is_filled = |secret: &Arc<Secret>| secret.data.as_ref().is_some_and(|data| data.contains_key("token"));
    let filled =
        move |all: &[Arc<Secret>]| ["made", "wanted"].iter().all(|name| find(all, name).is_some_and(is_filled));
    cluster.eventually::<Secret>("tokens", filled).await;
    let marked = |all: &[Arc<Secret>], name: &str| {
        find(all, name).is_some_and(|secret| secret.labels().contains_key(INVALID_SINCE))
    };
    let before = cluster.eventually::<Secret>("them", filled).await;
    assert!(!marked(&before, "made"), "uses are not known for long enough");
    cluster.merge(maps, tracking, json!({"data": {"since": "2020-01-01"}})).await;
    let found = cluster.eventually::<Secret>("its mark", move |all| marked(all, "made")).await;
    assert!(!marked(&found, "wanted"), "somebody made it by hand");
    clock.advance(day(367));
    cluster.merge(secrets, "wanted", json!({"metadata": {"labels": {"a": "b"}}})).await;
    let left = cluster.eventually::<Secret>("its end", |all| !has(all, "made")).await;
    assert!(has(&left, "wanted"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bootstrap_tokens_sign_the_clusters_address_and_end_on_time() {
    let cluster = Cluster::new().await;
    let token = |id: &str, expiration: String| TokenSecret {
        token: Token { id: id.to_owned(), secret: "0123456789abcdef".to_owned() },
        description: String::new(),
        expiration,
        usages: vec![Usage::Signing],
        groups: String::new(),
    };
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), "kube-system");
    let lasting = token("abcdef", String::new()).to_secret();
    secrets.create(&PostParams::default(), &lasting).await.unwrap();
    let signed = |id: &'static str, wanted: bool| {
        move |maps: &[Arc<ConfigMap>]| {
            let data = find(maps, "cluster-info").and_then(|map| map.data.clone()).unwrap_or_default();
            data.contains_key("kubeconfig") && data.contains_key(&format!("jws-kubeconfig-{id}")) == wanted
        }
    };
    cluster.eventually::<ConfigMap>("a signature", signed("abcdef", true)).await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1500);
    let ending = token("ending", soon.to_string()).to_secret();
    secrets.create(&PostParams::default(), &ending).await.unwrap();
    cluster.eventually::<Secret>("the end of one", |all| !has(all, "bootstrap-token-ending")).await;
    assert!(jiff::Timestamp::now() >= soon, "it went before its time");
    cluster.eventually::<ConfigMap>("the end of its signature", signed("ending", false)).await;
    cluster.eventually::<ConfigMap>("the other stays", signed("abcdef", true)).await;
    cluster.stop().await;
}

/// A request for a certificate of a node, in PEM, with a key of its own.
fn pem(node: &str, names: &[&str]) -> String {
    pem_of(&rcgen::KeyPair::generate().unwrap(), node, names)
}

fn pem_of(key: &rcgen::KeyPair, node: &str, names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("system:node:{node}"));
    params.serialize_request(key).unwrap().pem().unwrap()
}

/// Lets everybody ask for certificates, and have those of nodes.
async fn open(cluster: &Cluster) {
    let resources = ["certificatesigningrequests", "certificatesigningrequests/nodeclient"];
    let rules = json!([{"apiGroups": ["certificates.k8s.io"], "resources": resources, "verbs": ["create"]}]);
    cluster.create(cluster.all::<ClusterRole>(), json!({"metadata": {"name": "ask"}, "rules": rules})).await;
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "ask"});
    let subjects = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}]);
    let binding = json!({"metadata": {"name": "ask"}, "roleRef": role, "subjects": subjects});
    cluster.create(cluster.all::<ClusterRoleBinding>(), binding).await;
}

/// Asks for a certificate as `user`.
async fn ask(cluster: &Cluster, user: User, name: &str, signer: &str, pem: &str) {
    try_ask(cluster, user, name, signer, pem).await.unwrap();
}

async fn try_ask(cluster: &Cluster, user: User, name: &str, signer: &str, pem: &str) -> Result<(), kube::Error> {
    let auth = if signer == SERVING { "server auth" } else { "client auth" };
    let request = k8s_openapi::ByteString(pem.as_bytes().to_vec());
    let spec = json!({"request": request, "signerName": signer, "usages": ["digital signature", auth]});
    let object = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
    let client = orch::client::in_process(cluster.server.as_user(user));
    let api: Api<CertificateSigningRequest> = Api::all(client);
    api.create(&PostParams::default(), &object).await.map(drop)
}

fn issued(requests: &[Arc<CertificateSigningRequest>], name: &str) -> Option<Vec<u8>> {
    let status = find(requests, name)?.status.clone()?;
    status.certificate.map(|certificate| certificate.0).filter(|certificate| !certificate.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joining_node_gets_its_certificates_by_asking() {
    let cluster = Cluster::new().await;
    open(&cluster).await;
    let joining = User::new("system:bootstrap:abcdef", &["system:bootstrappers"]);
    let key = rcgen::KeyPair::generate().unwrap();
    ask(&cluster, joining.clone(), "client", CLIENT, &pem_of(&key, "n5", &[])).await;
    let requests = cluster.eventually("a client certificate", |all| issued(all, "client").is_some()).await;
    let text = issued(&requests, "client").unwrap();
    let (_, certificate) = x509_parser::pem::parse_x509_pem(&text).unwrap();
    let Some(Certificate::Subject(subject)) = Certificate::parse(&certificate.contents) else { panic!() };
    assert_eq!(subject.user.name, "system:node:n5");
    assert!(subject.user.in_group("system:nodes"));
    let asked = find(&requests, "client").unwrap();
    assert_eq!(asked.spec.username.as_deref(), Some("system:bootstrap:abcdef"));
    let condition = asked.status.as_ref().unwrap().conditions.as_ref().unwrap()[0].clone();
    assert_eq!((condition.type_.as_str(), condition.reason.as_deref()), ("Approved", Some("AutoApproved")));
    assert!(condition.last_transition_time.is_some());

    // The name is its key's from now on, and so is that of a Node which nobody claimed.
    cluster.create(cluster.all::<Node>(), json!({"metadata": {"name": "n5"}})).await;
    for (name, node) in [("twin", "n5"), ("usurper", "n1")] {
        ask(&cluster, joining.clone(), name, CLIENT, &pem(node, &[])).await;
        let said =
            |all: &[Arc<CertificateSigningRequest>]| Some(find(all, name)?.status.clone()?.conditions?[0].clone());
        let requests = cluster.eventually("a denial", |all| said(all).is_some()).await;
        let denied = said(&requests).unwrap();
        assert_eq!((denied.type_.as_str(), denied.reason.as_deref()), ("Denied", Some("NodeNameTaken")));
        assert!(denied.message.unwrap().ends_with(&format!("kubectl delete node {node}")));
    }

    // Its own address becomes known later; the other one's never does.
    ask(&cluster, User::node("n5"), "own", SERVING, &pem_of(&key, "n5", &["10.0.0.1"])).await;
    ask(&cluster, User::node("n5"), "others", SERVING, &pem_of(&key, "n5", &["10.0.0.2"])).await;
    let pretended = try_ask(&cluster, User::node("n2"), "pretended", SERVING, &pem("n5", &["10.0.0.1"])).await;
    assert!(matches!(pretended, Err(kube::Error::Api(status)) if status.code == 403));
    let address = json!({"type": "InternalIP", "address": "10.0.0.1"});
    let patch = kube::api::Patch::Merge(json!({"status": {"addresses": [address]}}));
    cluster.all::<Node>().patch_status("n5", &Default::default(), &patch).await.unwrap();
    let requests = cluster.eventually("a serving certificate", |all| issued(all, "own").is_some()).await;
    let others = find(&requests, "others").unwrap();
    assert!(others.status.as_ref().is_none_or(|status| status.conditions.is_none()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_approves_and_what_cannot_be_signed_fails() {
    let cluster = Cluster::new().await;
    open(&cluster).await;
    let jane = || User::new("jane", &[]);
    ask(&cluster, jane(), "own", "kubernetes.io/kube-apiserver-client", &pem("n9", &[])).await;
    ask(&cluster, jane(), "wrong", SERVING, &pem("n9", &[])).await;
    ask(&cluster, jane(), "foreign", "example.com/mine", &pem("n9", &[])).await;
    let api = cluster.all::<CertificateSigningRequest>();
    for name in ["own", "wrong", "foreign"] {
        let mut request = api.get(name).await.unwrap();
        let condition = json!([{"type": "Approved", "status": "True", "reason": "ByHand", "message": "fine"}]);
        request.status.get_or_insert_default().conditions = serde_json::from_value(condition).unwrap();
        api.replace_subresource("approval", name, &PostParams::default(), &request).await.unwrap();
    }
    let failed = |requests: &[Arc<CertificateSigningRequest>]| {
        let status = find(requests, "wrong").and_then(|request| request.status.clone()).unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        conditions.iter().any(|condition| {
            let message = condition.message.as_deref() == Some("DNS or IP subjectAltName is required");
            condition.type_ == "Failed" && message && condition.reason.as_deref() == Some("SignerValidationFailure")
        })
    };
    cluster.eventually("a failure", failed).await;
    let requests = cluster.eventually("a certificate", |all| issued(all, "own").is_some()).await;
    assert_eq!(issued(&requests, "foreign"), None);
    assert_eq!(find(&requests, "foreign").unwrap().name_any(), "foreign");
    cluster.stop().await;
}
