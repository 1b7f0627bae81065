//! An API server over an empty memory store, and requests to it.

use http::{Method, Request};
use http_body_util::BodyExt;
use orch::server::authorization::policy;
use orch::server::http::authn::User;
use orch::server::http::body::{self, Body};
use orch::server::http::{ApiServer, ApiServerConfig};
use orch::store::memory::MemoryStore;
use serde_json::{Value, json};

pub struct Cluster {
    pub server: ApiServer,
}

/// What came back.
pub struct Reply {
    pub code: u16,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
    /// `reason: message` of a Status.
    pub fn said(&self) -> String {
        let status = self.json();
        format!("{}: {}", status["reason"].as_str().unwrap_or_default(), status["message"].as_str().unwrap_or_default())
    }
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.code), "{}: {}", self.code, self.text);
        self.json()
    }
    pub fn warnings(&self) -> Vec<&str> {
        self.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok()).collect()
    }
}

/// Lines of a watch.
pub struct Lines {
    body: Body,
    rest: Vec<u8>,
}

impl Lines {
    /// The next event, within five seconds.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(std::time::Duration::from_secs(5), self.body.frame());
            let frame = frame.await.expect("an event within five seconds")?.unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// `TYPE name`.
    pub async fn short(&mut self) -> String {
        let event = self.next().await.expect("another event");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", event["type"].as_str().unwrap())
    }
}

impl Cluster {
    /// With the namespace `default` and its account.
    pub async fn new() -> Self {
        Self::over(ApiServer::new(ApiServerConfig::default(), MemoryStore::new())).await
    }

    /// With the system namespaces and the default roles and bindings besides.
    pub async fn with_roles() -> Self {
        let cluster = Self::new().await;
        for name in ["kube-system", "kube-public", "kube-node-lease"] {
            cluster.post("/api/v1/namespaces", json!({"metadata": {"name": name}})).await.ok();
        }
        policy::ensure(cluster.server.pipeline()).await.unwrap();
        cluster
    }

    /// Lets somebody do what a rule says, everywhere. The rule is written as in `manifests/rbac/`.
    pub async fn grant(&self, rule: &str, kind: &str, name: &str) {
        self.grant_by("clusterroles", "clusterrolebindings", "ClusterRole", rule, kind, name).await;
    }

    /// The same in one namespace.
    pub async fn grant_in(&self, namespace: &str, rule: &str, kind: &str, name: &str) {
        let (roles, bindings) =
            (format!("namespaces/{namespace}/roles"), format!("namespaces/{namespace}/rolebindings"));
        self.grant_by(&roles, &bindings, "Role", rule, kind, name).await;
    }

    async fn grant_by(&self, roles: &str, bindings: &str, role_kind: &str, rule: &str, kind: &str, name: &str) {
        const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
        let metadata = json!({"name": format!("of-{name}")});
        let role = json!({"metadata": metadata, "rules": [policy::rule(rule)]});
        self.post(&format!("{RBAC}/{roles}"), role).await.ok();
        let binding = json!({
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": metadata["name"]},
            "subjects": [{"kind": kind, "name": name}],
        });
        self.post(&format!("{RBAC}/{bindings}"), binding).await.ok();
    }

    pub async fn over(server: ApiServer) -> Self {
        let cluster = Self { server };
        cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await.ok();
        let account = json!({"metadata": {"name": "default"}});
        cluster.post("/api/v1/namespaces/default/serviceaccounts", account).await.ok();
        cluster
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        self.send_as(User::admin(), request).await
    }
    pub async fn send_as(&self, user: User, request: Request<Body>) -> Reply {
        let (parts, body) = self.server.handle(user, request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply { code: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// A request of somebody, with a JSON body or none.
    pub async fn ask(&self, user: &User, method: Method, path: &str, object: Value) -> Reply {
        let content = if object.is_null() { String::new() } else { object.to_string() };
        let media = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        self.send_as(user.clone(), request.body(body::full(content)).unwrap()).await
    }

    pub async fn call(&self, method: Method, path: &str, media: &str, content: impl Into<bytes::Bytes>) -> Reply {
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        self.send(request.body(body::full(content)).unwrap()).await
    }
    pub async fn get(&self, path: &str) -> Reply {
        self.get_as(path, "application/json").await
    }
    pub async fn get_as(&self, path: &str, accept: &str) -> Reply {
        self.send(Request::get(path).header("accept", accept).body(body::empty()).unwrap()).await
    }
    pub async fn post(&self, path: &str, object: Value) -> Reply {
        self.call(Method::POST, path, "application/json", object.to_string()).await
    }
    pub async fn put(&self, path: &str, object: Value) -> Reply {
        self.call(Method::PUT, path, "application/json", object.to_string()).await
    }
    pub async fn delete(&self, path: &str, options: Value) -> Reply {
        let options = if options.is_null() { String::new() } else { options.to_string() };
        self.call(Method::DELETE, path, "application/json", options).await
    }
    pub async fn watch(&self, path: &str) -> Lines {
        let request = Request::get(path).body(body::empty()).unwrap();
        let response = self.server.handle(User::admin(), request).await;
        assert_eq!(response.status(), 200);
        Lines { body: response.into_body(), rest: Vec::new() }
    }
}

pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}
