//! What a decision costs with a thousand bindings. Prints figures, asserts nothing.

use std::sync::Arc;
use std::time::Instant;

use orch::server::authorization::{Authorization, Authorizer, RequestInfo};
use orch::server::pipeline::user::User;
use orch::store::memory::MemoryStore;
use orch::store::{Change, Durability, Expect, Store, Write};
use serde_json::{Value, json};

const BINDINGS: usize = 1_000;
const DECISIONS: u32 = 200_000;

async fn put(store: &dyn Store, path: String, object: Value) {
    let change = Change::Put(Box::new(move |_| object.to_string().into()));
    let key = format!("/registry/rbac.authorization.k8s.io/{path}").into();
    let write = Write { key, expect: Expect::Absent, change, durability: Durability::Durable };
    store.write(write).await.expect("a memory store takes writes");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let store: Arc<dyn Store> = MemoryStore::new();
    for at in 0..BINDINGS {
        let rules = json!([
            {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods", "services", "configmaps"]},
            {"verbs": ["*"], "apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"]},
        ]);
        put(&*store, format!("clusterroles/r{at}"), json!({"metadata": {}, "rules": rules})).await;
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": format!("r{at}")});
        let subjects =
            json!([{"kind": "User", "name": format!("u{at}")}, {"kind": "Group", "name": format!("g{}", at % 100)}]);
        let binding = json!({"metadata": {}, "roleRef": role, "subjects": subjects});
        put(&*store, format!("clusterrolebindings/b{at}"), binding).await;
    }
    let authorization = Authorization::standard(&store);
    let ask = |verb: &str| RequestInfo {
        is_resource: true,
        verb: verb.to_owned(),
        resource: "pods".to_owned(),
        namespace: "default".to_owned(),
        ..RequestInfo::default()
    };
    let begun = Instant::now();
    authorization.authorize(&User::new("u1", &[]), &ask("get")).await;
    let index = format!("authorization: index of {BINDINGS} bindings");
    println!("{index:<44} {:>22} {:>34}", "", format!("{:.1?}", begun.elapsed()));
    let cases = [
        ("allowed by the user's one binding", User::new("u500", &[]), "get"),
        ("refused, one binding looked at", User::new("u500", &[]), "delete"),
        ("refused, eleven bindings looked at", User::new("u500", &["g7"]), "delete"),
        ("refused, nothing bound", User::new("nobody", &[]), "get"),
    ];
    for (what, user, verb) in cases {
        let request = ask(verb);
        let begun = Instant::now();
        for _ in 0..DECISIONS {
            std::hint::black_box(authorization.authorize(&user, &request).await);
        }
        let each = begun.elapsed() / DECISIONS;
        println!("  {what:<42} {:>22} {:>34}", "5µs", format!("{each:.1?}"));
    }
}
