//! Who is asking: tokens of ServiceAccounts in every state, their reviews, the keys that verify them, impersonation.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, Request, request};
use http_body_util::BodyExt;
use orch::server::http::audit::{Audit, Log, LogOptions, Mode, Policy};
use orch::server::http::authn::{Authenticator, Connection, StaticToken, TokenAuthenticator, User};
use orch::server::http::body;
use orch::server::http::openid::OpenId;
use orch::server::http::{ApiServer, ApiServerConfig};
use orch::server::pki::token::{Bound, Issuer, Kubernetes};
use orch::server::service_accounts::ServiceAccountTokens;
use orch::server::subresource::Subresources;
use orch::store::memory::MemoryStore;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cluster::{Cluster, Reply};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Where its keys are.
const KEYS: &str = "https://x/openid/v1/jwks";
const ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/default";
const PODS: &str = "/api/v1/namespaces/default/pods";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const SELF: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

fn new_key() -> String {
    rcgen::KeyPair::generate().unwrap().serialize_pem()
}

/// A server that signs tokens, and its key.
struct Signing {
    cluster: Cluster,
    issuer: Arc<Issuer>,
    /// Where the keys are.
    place: watch::Sender<&'static str>,
}

impl Signing {
    async fn new() -> Self {
        Self::recorded(None).await
    }

    /// Accounts may read pods, and everybody may ask who they are.
    async fn recorded(audit: Option<Audit>) -> Self {
        let issuer = Arc::new(Issuer::new(&new_key(), ISSUER).unwrap());
        let store = MemoryStore::new();
        let tokens: Vec<Arc<dyn TokenAuthenticator>> = vec![
            Arc::new(StaticToken::admin("secret")),
            Arc::new(ServiceAccountTokens::new(issuer.clone(), store.clone())),
        ];
        let (place, keys_at) = watch::channel(KEYS);
        let published = issuer.clone();
        let config = ApiServerConfig {
            authenticator: Authenticator::new(tokens).for_audiences(vec![ISSUER.to_owned()]),
            subresources: Subresources::standard(Some(issuer.clone())),
            openid: Some(OpenId::new(move || published.configuration(*keys_at.borrow()), &issuer.keys())),
            audit,
            ..ApiServerConfig::default()
        };
        let cluster = Cluster::over(ApiServer::new(config, store)).await;
        cluster.grant("list pods", "Group", "system:serviceaccounts").await;
        cluster.grant("create selfsubjectreviews in authentication.k8s.io", "Group", User::AUTHENTICATED).await;
        Self { cluster, issuer, place }
    }

    async fn token(&self, spec: Value) -> String {
        let answer = self.cluster.post(&format!("{ACCOUNT}/token"), json!({"spec": spec})).await.ok();
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    /// A request from the network.
    async fn serve(&self, request: request::Builder, content: impl Into<bytes::Bytes>) -> Reply {
        let request = request.header(CONTENT_TYPE, "application/json").body(body::full(content)).unwrap();
        let (parts, body) = self.cluster.server.serve(&Connection::default(), request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply { code: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// The answer's code to a request with a token.
    async fn get_with(&self, token: &str) -> u16 {
        self.serve(Request::get(PODS).header(AUTHORIZATION, format!("Bearer {token}")), "").await.code
    }

    async fn review(&self, spec: Value) -> Value {
        self.cluster.post(REVIEWS, json!({"spec": spec})).await.ok()["status"].clone()
    }

    async fn pod(&self, name: &str) -> Value {
        let spec = json!({"containers": [{"name": "a", "image": "a"}]});
        self.cluster.post(PODS, json!({"metadata": {"name": name}, "spec": spec})).await.ok()
    }
}

/// What is to be said of a token is said to who uses it, to who has it reviewed, and in the log of both.
#[tokio::test]
async fn the_log_tells_of_tokens_and_their_users_of_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let policy =
        "{apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [RequestReceived], rules: [{level: Metadata}]}";
    let options =
        LogOptions { mode: Mode::Blocking, buffer: 1, path: path.clone(), max_size: 0, max_backups: 0, max_age: 0 };
    let audit = Audit::new(Policy::parse(policy).unwrap(), Log::open(options).unwrap());
    let signing = Signing::recorded(Some(audit)).await;
    let mut account = signing.cluster.get(ACCOUNT).await.ok();
    let owner = Bound { name: "default".to_owned(), uid: account["metadata"]["uid"].as_str().unwrap().to_owned() };
    let old = signing.issuer.issue_legacy("default", &owner, "old").unwrap();
    account["secrets"] = json!([{"name": "old"}]);
    signing.cluster.put(ACCOUNT, account).await.ok();
    let annotations =
        json!({"kubernetes.io/service-account.name": "default", "kubernetes.io/service-account.uid": owner.uid});
    let secret = json!({"metadata": {"name": "old", "annotations": annotations},
        "type": "kubernetes.io/service-account-token", "stringData": {"token": old}});
    signing.cluster.post("/api/v1/namespaces/default/secrets", secret).await.ok();

    let warning = "299 - \"Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.\"";
    let used = signing.serve(Request::get(PODS).header(AUTHORIZATION, format!("Bearer {old}")), "").await;
    assert_eq!((used.code, used.warnings()), (200, vec![warning]));
    let reviewed = signing.cluster.post(REVIEWS, json!({"spec": {"token": old}})).await;
    assert_eq!((reviewed.code, reviewed.warnings()), (201, vec![warning]));
    let new = signing.token(json!({})).await;
    assert_eq!(signing.get_with(&format!("{old}x")).await, 401);

    signing.cluster.server.close_audit().await;
    let log = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let noted = |uri: &str, code: u16| {
        let line =
            lines.iter().find(|line| line["requestURI"] == uri && line["responseStatus"]["code"] == code).unwrap();
        let mut annotations = line["annotations"].as_object().cloned().unwrap_or_default();
        annotations.retain(|key, _| key.starts_with("authentication."));
        Value::Object(annotations)
    };
    let legacy = json!({
        "authentication.k8s.io/legacy-token": "system:serviceaccount:default:default",
        "authentication.k8s.io/legacy-token-autogenerated-secret": "old",
    });
    assert_eq!((noted(PODS, 200), noted(REVIEWS, 201)), (legacy.clone(), legacy));
    assert_eq!(noted(PODS, 401), json!({}));
    let id = format!("JTI={}", claims(&new)["jti"].as_str().unwrap());
    assert_eq!(
        noted(&format!("{ACCOUNT}/token"), 201),
        json!({"authentication.kubernetes.io/issued-credential-id": id})
    );
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn forged_foreign_expired_and_misdirected_tokens_are_refused() {
    let signing = Signing::new().await;
    let good = signing.token(json!({})).await;
    assert_eq!(signing.get_with(&good).await, 200);
    let parts: Vec<_> = good.split('.').collect();
    let mut forged = claims(&good);
    forged["sub"] = json!("system:serviceaccount:kube-system:admin");
    let forged = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(forged.to_string()), parts[2]);
    assert_eq!(signing.get_with(&forged).await, 401);

    let uid = signing.cluster.get(ACCOUNT).await.ok()["metadata"]["uid"].as_str().unwrap().to_owned();
    let of = |issuer: &Issuer, now| {
        let serviceaccount = Bound { name: "default".to_owned(), uid: uid.clone() };
        let namespace = "default".to_owned();
        let own = Kubernetes { namespace, serviceaccount, pod: None, secret: None, node: None, warnafter: None };
        issuer.issue(own, vec![], 600, now).unwrap().token
    };
    let now = jiff::Timestamp::now();
    let foreign = Issuer::new(&new_key(), ISSUER).unwrap();
    assert_eq!(signing.get_with(&of(&signing.issuer, now)).await, 200);
    assert_eq!(signing.get_with(&of(&foreign, now)).await, 401, "another cluster's");
    let long_ago = now - jiff::SignedDuration::from_hours(1);
    assert_eq!(signing.get_with(&of(&signing.issuer, long_ago)).await, 401, "expired");
    let vault = signing.token(json!({"audiences": ["vault"]})).await;
    assert_eq!(signing.get_with(&vault).await, 401, "for somebody else");

    let status = signing.review(json!({"token": of(&signing.issuer, long_ago)})).await;
    assert_eq!(status["error"], "[invalid bearer token, service account token has expired]");
    assert_eq!((status.get("authenticated"), &status["user"]), (None, &json!({})));
}

#[tokio::test]
async fn a_pods_token_ends_with_the_pod_and_tells_of_it() {
    let signing = Signing::new().await;
    let pod = signing.pod("a").await;
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "a"});
    let token = signing.token(json!({"boundObjectRef": bound, "expirationSeconds": 3607})).await;
    let own = claims(&token);
    let (from, until) = (own["iat"].as_i64().unwrap(), own["exp"].as_i64().unwrap());
    assert_eq!((own["kubernetes.io"]["warnafter"].as_i64().unwrap() - from, until - from), (3607, 365 * 86400));

    let auth = format!("Bearer {token}");
    let me = signing.serve(Request::post(SELF).header(AUTHORIZATION, auth), "{}").await.ok();
    let info = &me["status"]["userInfo"];
    assert_eq!(info["username"], "system:serviceaccount:default:default");
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!(info["groups"], groups);
    let extra = &info["extra"];
    assert_eq!(extra["authentication.kubernetes.io/pod-uid"], json!([pod["metadata"]["uid"]]));
    let id = format!("JTI={}", own["jti"].as_str().unwrap());
    assert_eq!(extra["authentication.kubernetes.io/credential-id"], json!([id]));

    signing.cluster.delete(&format!("{PODS}/a"), json!({"gracePeriodSeconds": 0})).await.ok();
    assert_eq!(signing.get_with(&token).await, 401);
    let status = signing.review(json!({"token": token})).await;
    assert_eq!(status["error"], "[invalid bearer token, service account token has been invalidated]");
}

#[tokio::test]
async fn token_requests_are_checked() {
    let signing = Signing::new().await;
    signing.pod("a").await;
    let account = json!({"metadata": {"name": "robot"}});
    signing.cluster.post("/api/v1/namespaces/default/serviceaccounts", account).await.ok();
    let bind = |kind: &str, name: &str, uid: &str| {
        let version = if kind == "Deployment" { "apps/v1" } else { "v1" };
        json!({"spec": {"boundObjectRef": {"apiVersion": version, "kind": kind, "name": name, "uid": uid}}})
    };
    let cases = [
        (
            "default",
            json!({"spec": {"expirationSeconds": 599}}),
            "Invalid: TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
        ),
        (
            "default",
            json!({"metadata": {"name": "x"}}),
            "Invalid: TokenRequest.authentication.k8s.io \"default\" is invalid: metadata.name: Invalid value: \"x\": must match the service account name if specified",
        ),
        ("none", json!({}), "NotFound: serviceaccounts \"none\" not found"),
        ("default", bind("Pod", "none", ""), "NotFound: pods \"none\" not found"),
        ("default", bind("Node", "none", ""), "NotFound: nodes \"none\" not found"),
        (
            "robot",
            bind("Pod", "a", ""),
            "BadRequest: cannot bind token for serviceaccount \"robot\" to pod running with different serviceaccount name.",
        ),
        (
            "default",
            bind("Pod", "a", "u"),
            "Conflict: Operation cannot be fulfilled on Pod \"a\": the UID in the bound object reference (u) does not match the UID in record. The object might have been deleted and then recreated",
        ),
        ("default", bind("ConfigMap", "a", ""), "BadRequest: cannot bind token to object of type /v1, Kind=ConfigMap"),
        (
            "default",
            bind("Deployment", "a", ""),
            "BadRequest: cannot bind token to object of type apps/v1, Kind=Deployment",
        ),
    ];
    for (name, request, said) in cases {
        let path = format!("/api/v1/namespaces/default/serviceaccounts/{name}/token");
        assert_eq!(signing.cluster.post(&path, request).await.said(), said);
    }
}

#[tokio::test]
async fn reviews_tell_for_whom_a_token_is() {
    let signing = Signing::new().await;
    let vault = signing.token(json!({"audiences": ["vault", "x"]})).await;
    let status = signing.review(json!({"token": vault, "audiences": ["vault", "y"]})).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:default");
    let status = signing.review(json!({"token": vault})).await;
    let told = format!(
        "[invalid bearer token, token audiences [\"vault\" \"x\"] is invalid for the target audiences [\"{ISSUER}\"]]"
    );
    assert_eq!(status["error"], told);
    let status = signing.review(json!({"token": "secret"})).await;
    assert_eq!((&status["user"]["username"], &status["audiences"]), (&json!("system:admin"), &json!([ISSUER])));
    assert_eq!(signing.review(json!({"token": "nonsense"})).await["error"], "invalid bearer token");
    let empty = signing.cluster.post(REVIEWS, json!({"spec": {}})).await;
    assert_eq!(empty.said(), "BadRequest: token is required for TokenReview in authentication");
}

#[tokio::test]
async fn others_can_verify_tokens_by_the_published_keys() {
    let signing = Signing::new().await;
    let configuration = signing.cluster.get("/.well-known/openid-configuration").await;
    assert_eq!(configuration.headers[CONTENT_TYPE], "application/json");
    assert_eq!(configuration.headers[CACHE_CONTROL], "public, max-age=3600");
    let configuration = configuration.ok();
    assert_eq!((configuration["issuer"].as_str(), configuration["jwks_uri"].as_str()), (Some(ISSUER), Some(KEYS)));
    // The server's address changes.
    signing.place.send_replace("https://y/openid/v1/jwks");
    let configuration = signing.cluster.get("/.well-known/openid-configuration").await.ok();
    assert_eq!(configuration["jwks_uri"], "https://y/openid/v1/jwks");
    let keys = signing.cluster.get("/openid/v1/jwks").await;
    assert_eq!(keys.headers[CONTENT_TYPE], "application/jwk-set+json");
    let key = keys.ok()["keys"][0].clone();

    let token = signing.token(json!({})).await;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let header: Value = serde_json::from_slice(&decode(signed.split('.').next().unwrap())).unwrap();
    assert_eq!(header, json!({"alg": "ES256", "kid": key["kid"]}));
    let mut point = vec![4];
    point.extend(decode(key["x"].as_str().unwrap()));
    point.extend(decode(key["y"].as_str().unwrap()));
    let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, point);
    public.verify(signed.as_bytes(), &decode(signature)).unwrap();
    assert!(public.verify(&signed.as_bytes()[1..], &decode(signature)).is_err());
}

#[tokio::test]
async fn impersonation_is_for_those_who_may() {
    // `boss` may act as `jane` and as the accounts of `default`.
    let signing = Signing::new().await;
    signing.cluster.grant("impersonate users named jane", "User", "boss").await;
    signing.cluster.grant_in("default", "impersonate serviceaccounts", "User", "boss").await;
    let whoami = async |user: &str, headers: &[(&'static str, &str)]| {
        let mut request = Request::post(SELF).header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        signing.cluster.send_as(User::new(user, &[]), request.body(body::full("{}")).unwrap()).await
    };
    let info = |reply: Reply| reply.ok()["status"]["userInfo"].clone();
    let jane = info(whoami("boss", &[("impersonate-user", "jane")]).await);
    assert_eq!(jane, json!({"username": "jane", "groups": ["system:authenticated"]}));
    let robot = info(whoami("boss", &[("impersonate-user", "system:serviceaccount:default:robot")]).await);
    assert_eq!(robot["groups"][1], "system:serviceaccounts:default");
    let refused = [
        (
            "jane",
            vec![("impersonate-user", "boss")],
            "users \"boss\" is forbidden: User \"jane\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
        ),
        (
            "boss",
            vec![("impersonate-user", "jane"), ("impersonate-group", "system:masters")],
            "groups \"system:masters\" is forbidden: User \"boss\" cannot impersonate resource \"groups\" in API group \"\" at the cluster scope",
        ),
        (
            "boss",
            vec![("impersonate-user", "jane"), ("impersonate-extra-scopes", "all")],
            "userextras.authentication.k8s.io \"all\" is forbidden: User \"boss\" cannot impersonate resource \"userextras/scopes\" in API group \"authentication.k8s.io\" at the cluster scope",
        ),
        (
            "boss",
            vec![("impersonate-user", "system:serviceaccount:kube-system:x")],
            "serviceaccounts \"x\" is forbidden: User \"boss\" cannot impersonate resource \"serviceaccounts\" in API group \"\" in the namespace \"kube-system\"",
        ),
    ];
    for (user, headers, said) in refused {
        let reply = whoami(user, &headers).await;
        assert_eq!((reply.code, reply.said()), (403, format!("Forbidden: {said}")));
    }
    let reply = whoami("boss", &[("impersonate-uid", "7")]).await;
    assert_eq!((reply.code, reply.headers.get(AUTHORIZATION)), (400, HeaderMap::new().get(AUTHORIZATION)));
}

#[tokio::test]
async fn the_use_of_a_secrets_token_is_written_on_the_secret() {
    use orch::lifecycle::Component;
    use orch::server::controllers::uses::{self, LAST_USED, LastUsed, TokenUse};

    let cluster = Cluster::new().await;
    let path = "/api/v1/namespaces/default/secrets";
    let made = cluster.post(path, json!({"metadata": {"name": "kept"}})).await.ok();
    let (used, uses) = uses::channel();
    let mut part = LastUsed::new(orch::client::in_process(cluster.server.as_user(User::admin())), uses);
    part.start().await.unwrap();
    let mut lines = cluster.watch(&format!("{path}?watch=1&resourceVersion=0")).await;
    assert_eq!(lines.short().await, "ADDED kept");
    let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
    let day = "2026-01-02".to_owned();
    used.send(TokenUse { namespace: "default".into(), secret: "kept".into(), uid, day }).await.unwrap();
    let changed = lines.next().await.unwrap();
    assert_eq!(changed["object"]["metadata"]["labels"], json!({LAST_USED: "2026-01-02"}));
    part.stop().await;
}

/// volumes of the pod, audience → the end of the refusal, empty where the token is given.
#[tokio::test]
async fn a_node_asks_for_no_audience_but_those_of_its_pods() {
    let Signing { cluster, .. } = Signing::new().await;
    cluster.grant("create serviceaccounts/token", "Group", "system:nodes").await;
    for driver in ["driver.example.com", "file.csi.azure.com"] {
        let driver = json!({"metadata": {"name": driver}, "spec": {"tokenRequests": [{"audience": "a"}]}});
        cluster.post("/apis/storage.k8s.io/v1/csidrivers", driver).await.ok();
    }
    let claim = json!({"metadata": {"name": "loose"}, "spec": {"volumeName": "gone", "storageClassName": "",
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}}});
    cluster.post("/api/v1/namespaces/default/persistentvolumeclaims", claim).await.ok();
    let projected = json!({"projected": {"sources": [{"serviceAccountToken": {"path": "p", "audience": "a"}}]}});
    let (csi, unknown) = (json!({"csi": {"driver": "driver.example.com"}}), json!({"csi": {"driver": "b.c"}}));
    let azure = json!({"azureFile": {"secretName": "s", "shareName": "d"}});
    let claims = |name: &str| json!({"persistentVolumeClaim": {"claimName": name}});
    let unfounded = "not found in pod spec volume, system:node:n is not authorized to request tokens for this audience";
    let cases = [
        (vec![projected], "a", String::new()),
        (vec![csi.clone()], "a", String::new()),
        (vec![csi.clone()], "b", format!("audience \"b\" {unfounded}")),
        (vec![], "a", format!("audience \"a\" {unfounded}")),
        (vec![azure], "a", String::new()),
        (vec![unknown.clone()], "a", "error validating audience \"a\": csidriver.storage.k8s.io \"b.c\" not found".to_owned()),
        (
            vec![claims("none"), claims("loose")],
            "a",
            "error validating audience \"a\": [persistentvolumeclaim \"none\" not found, persistentvolume \"gone\" not found]".to_owned(),
        ),
        (vec![unknown, claims("none"), csi], "a", String::new()),
    ];
    let ask = async |bound: Value, audience: &str| {
        let request = json!({"spec": {"audiences": [audience], "boundObjectRef": bound}});
        cluster.ask(&User::node("n"), http::Method::POST, &format!("{ACCOUNT}/token"), request).await
    };
    for (at, (mut volumes, audience, why)) in cases.into_iter().enumerate() {
        for (index, volume) in volumes.iter_mut().enumerate() {
            volume["name"] = format!("v{index}").into();
        }
        let pod = json!({"metadata": {"name": format!("p{at}")}, "spec": {"nodeName": "n", "volumes": volumes,
            "automountServiceAccountToken": false, "containers": [{"name": "a", "image": "a"}]}});
        let meta = cluster.post(PODS, pod).await.ok()["metadata"].clone();
        let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]});
        let reply = ask(bound, audience).await;
        let wanted = format!("Forbidden: serviceaccounts \"default\" is forbidden: {why}");
        assert!(if why.is_empty() { reply.code == 201 } else { reply.said() == wanted }, "{at}: {}", reply.text);
    }
    let missing = json!({"kind": "Pod", "apiVersion": "v1", "name": "gone", "uid": "u"});
    assert_eq!(ask(missing, "a").await.said(), "NotFound: pod \"gone\" not found");
}

#[tokio::test]
async fn what_is_no_token_request_is_told_apart() {
    let Signing { cluster, .. } = Signing::new().await;
    let cases = [
        (r#"{"kind":null,"apiVersion":null}"#, 201, ""),
        (
            r#"{"spec":{"audiences":"x"}}"#,
            400,
            "TokenRequest in version \"v1\" cannot be handled as a TokenRequest: json: cannot unmarshal string into Go struct field TokenRequestSpec.spec.audiences of type []string",
        ),
        (
            r#"{"kind":"Foo"}"#,
            400,
            "Foo in version \"v1\" cannot be handled as a TokenRequest: no kind \"Foo\" is registered for version \"authentication.k8s.io/v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        ),
        (
            r#"{"kind":1}"#,
            400,
            "the object provided is unrecognized (must be of type TokenRequest): couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string ({\"kind\":1})",
        ),
    ];
    for (body, code, said) in cases {
        let path = format!("{ACCOUNT}/token");
        let reply = cluster.call(http::Method::POST, &path, "application/json", body).await;
        assert!(reply.code == code && reply.said().ends_with(said), "{body}: {}", reply.text);
    }
}
