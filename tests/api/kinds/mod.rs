//! Every kind of the catalog through every verb that it has, by the same walk.

mod habits;
mod objects;
mod over_tls;

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use http::Method;
use orch::server::catalog::catalog;
use orch::server::strategy::{Meta, Verb};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Lines, Reply};

/// One object on its way.
struct Walk<'a> {
    cluster: &'a Cluster,
    meta: &'a Meta,
    collection: String,
    path: String,
    watch: Lines,
}

impl Walk<'_> {
    async fn patch(&self, path: &str, kind: &str, body: &Value) -> Reply {
        self.cluster.call(Method::PATCH, path, &format!("application/{kind}"), body.to_string()).await
    }

    async fn get(&self) -> Value {
        self.cluster.get(&self.path).await.ok()
    }

    #[track_caller]
    fn is(&self, reply: &Reply, code: u16) {
        assert_eq!(reply.code, code, "{}: {}", self.meta.plural, reply.text);
    }

    async fn event(&mut self, kind: &str) -> Value {
        let event = self.watch.next().await.unwrap_or_else(|| panic!("{}: the watch ended", self.meta.plural));
        assert_eq!(event["type"], kind, "{}: {event}", self.meta.plural);
        event["object"].clone()
    }

    async fn create(&mut self) {
        let object = objects::minimal(self.meta);
        let before = self.cluster.server.pipeline().store().revision();
        let dry = self.cluster.post(&format!("{}?dryRun=All", self.collection), object.clone()).await;
        self.is(&dry, 201);
        self.is(&self.cluster.get(&self.path).await, 404);
        assert_eq!(self.cluster.server.pipeline().store().revision(), before, "{}", self.meta.plural);
        let strict = format!("{}?fieldValidation=Strict", self.collection);
        let created = self.cluster.post(&strict, object.clone()).await;
        self.is(&created, 201);
        let created = created.json();
        assert_eq!((&created["kind"], &created["apiVersion"]), (&object["kind"], &object["apiVersion"]));
        assert!(created["metadata"]["uid"].is_string() && created["metadata"]["creationTimestamp"].is_string());
        assert_eq!(created["status"].is_object(), self.meta.has_status(), "{}: {created}", self.meta.plural);
        assert_eq!(self.event("ADDED").await, created);
        assert_eq!(self.get().await, created);
        let again = self.cluster.post(&self.collection, object).await;
        assert_eq!((again.code, again.json()["reason"].as_str()), (409, Some("AlreadyExists")), "{}", again.text);
    }

    async fn show(&self) {
        let name = objects::name(self.meta);
        let one = format!("{}?fieldSelector=metadata.name%3D{name}", self.collection);
        let list = self.cluster.get(&one).await.ok();
        assert_eq!(list["kind"], format!("{}List", self.meta.kind).as_str());
        let mut item = self.get().await;
        item.as_object_mut().unwrap().retain(|field, _| field != "apiVersion" && field != "kind");
        assert_eq!(list["items"], json!([item]), "{}: the list says the type of its items", self.meta.plural);
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        for path in [&one, &self.path] {
            let table = self.cluster.get_as(path, table).await.ok();
            let columns = table["columnDefinitions"].as_array().unwrap().len();
            assert_eq!(table["rows"][0]["cells"].as_array().unwrap().len(), columns, "{}", self.meta.plural);
            if table["columnDefinitions"][0]["format"] == "name" {
                assert_eq!(table["rows"][0]["cells"][0], name, "{}", self.meta.plural);
            }
        }
        let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
        let partial = self.cluster.get_as(&self.path, partial).await.ok();
        assert_eq!((&partial["kind"], &partial["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!(name)));
        assert_eq!(partial.as_object().unwrap().len(), 3, "{partial}");
    }

    /// By each of its selectable fields the object is found, and by no other value.
    async fn select(&self) {
        let kind = catalog().find_kind(self.meta.group, self.meta.version, self.meta.kind).unwrap();
        let object = kind.decode(self.get().await.to_string().as_bytes()).unwrap();
        for (field, value) in kind.fields(object.as_ref()) {
            for (sign, count) in [("%3D", 1), ("!%3D", 0)] {
                let selector = format!("metadata.name%3D{},{field}{sign}{value}", objects::name(self.meta));
                let list = self.cluster.get(&format!("{}?fieldSelector={selector}", self.collection)).await.ok();
                assert_eq!(list["items"].as_array().unwrap().len(), count, "{} {selector}", self.meta.plural);
            }
        }
    }

    async fn update(&mut self) {
        let old = self.get().await;
        let same = self.cluster.put(&self.path, old.clone()).await.ok();
        assert_eq!(same, old, "{}: changing nothing changes nothing", self.meta.plural);
        let mut new = old.clone();
        new["metadata"]["labels"]["put"] = "yes".into();
        let put = self.cluster.put(&self.path, new.clone()).await;
        self.is(&put, 200);
        assert_eq!(self.event("MODIFIED").await, put.json());
        let stale = self.cluster.put(&self.path, new.clone()).await;
        assert_eq!((stale.code, stale.json()["reason"].as_str()), (409, Some("Conflict")), "{}", stale.text);
        new["metadata"]["resourceVersion"] = Value::Null;
        new["metadata"]["labels"]["open"] = "yes".into();
        let open = self.cluster.put(&self.path, new).await;
        self.is(&open, if self.meta.unconditional_update { 200 } else { 422 });
        if self.meta.unconditional_update {
            self.event("MODIFIED").await;
        }
    }

    async fn patches(&mut self) {
        let label = |name: &str| json!({"metadata": {"labels": {name: "yes"}}});
        let mut applied = label("apply");
        applied["apiVersion"] = self.meta.api_version().into();
        applied["kind"] = self.meta.kind.into();
        let json_patch = json!([{"op": "add", "path": "/metadata/labels/json", "value": "yes"}]);
        let patches = [
            (self.path.clone(), "merge-patch+json", label("merge")),
            (self.path.clone(), "json-patch+json", json_patch),
            (self.path.clone(), "strategic-merge-patch+json", label("strategic")),
            (format!("{}?fieldManager=walker", self.path), "apply-patch+yaml", applied),
        ];
        for (path, kind, body) in patches {
            let reply = self.patch(&path, kind, &body).await;
            self.is(&reply, 200);
            let version = reply.json()["metadata"]["resourceVersion"].clone();
            assert_eq!(self.event("MODIFIED").await["metadata"]["resourceVersion"], version);
            let again = self.patch(&path, kind, &body).await.ok();
            assert_eq!(again["metadata"]["resourceVersion"], version, "{} {kind}", self.meta.plural);
        }
        let object = self.get().await;
        for name in ["put", "merge", "json", "strategic", "apply"] {
            assert_eq!(object["metadata"]["labels"][name], "yes", "{}", self.meta.plural);
        }
        let entries = object["metadata"]["managedFields"].as_array().unwrap();
        let mine = entries.iter().find(|entry| entry["manager"] == "walker").unwrap();
        assert_eq!(mine["operation"], "Apply");
        assert_eq!(mine["fieldsV1"], json!({"f:metadata": {"f:labels": {"f:apply": {}}}}), "{}", self.meta.plural);
    }

    async fn status(&self) {
        if !self.meta.has_status() {
            self.is(&self.cluster.get(&format!("{}/status", self.path)).await, 404);
            return;
        }
        let before = self.get().await;
        let path = format!("{}/status", self.path);
        assert_eq!(self.cluster.get(&path).await.ok(), before);
        let body = json!({"spec": null, "metadata": {"labels": {"put": "no"}, "finalizers": null}});
        // Whatever a status may or may not change, the object itself does not.
        let reply = self.patch(&path, "merge-patch+json", &json!({"metadata": {}})).await;
        self.is(&reply, 200);
        let _ = self.patch(&path, "merge-patch+json", &body).await;
        assert_eq!(self.get().await.get("spec"), before.get("spec"), "{}", self.meta.plural);
    }

    async fn delete(&mut self) {
        let dry = self.cluster.delete(&format!("{}?dryRun=All", self.path), Value::Null).await;
        self.is(&dry, 200);
        self.is(&self.cluster.get(&self.path).await, 200);
        let wrong = json!({"preconditions": {"uid": "other"}});
        self.is(&self.cluster.delete(&self.path, wrong).await, 409);
        let background = json!({"propagationPolicy": "Background"});
        self.is(&self.cluster.delete(&self.path, background).await, 200);
        self.release().await;
        self.is(&self.cluster.delete(&self.path, Value::Null).await, 404);
        let mut event = self.watch.next().await.unwrap();
        while event["type"] != "DELETED" {
            event = self.watch.next().await.unwrap();
        }
        let last = &event["object"]["metadata"];
        assert_eq!(last["resourceVersion"], self.cluster.server.pipeline().store().revision().to_string().as_str());
    }

    /// Lets go what waits for finalizers that a controller would see to.
    async fn release(&self) {
        let reply = self.cluster.get(&self.path).await;
        if reply.code == 404 {
            return;
        }
        let mut object = reply.ok();
        assert!(object["metadata"]["deletionTimestamp"].is_string(), "{}: {object}", self.meta.plural);
        if self.meta.plural == "namespaces" {
            object["spec"]["finalizers"] = json!([]);
            self.cluster.put(&format!("{}/finalize", self.path), object).await.ok();
        } else {
            object["metadata"]["finalizers"] = json!([]);
            self.cluster.put(&self.path, object).await.ok();
        }
    }

    async fn again_by_apply(&mut self) {
        let config = objects::minimal(self.meta);
        let path = format!("{}?fieldManager=walker", self.path);
        let created = self.patch(&path, "apply-patch+yaml", &config).await;
        self.is(&created, 201);
        let created = created.json()["metadata"].clone();
        let again = self.patch(&path, "apply-patch+yaml", &config).await;
        self.is(&again, 200);
        // Who sets nothing has no record, and the next apply writes down what was there before it.
        if let Some(entry) = created["managedFields"].get(0) {
            assert_eq!(entry["operation"], "Apply", "{}", self.meta.plural);
            let again = again.json()["metadata"]["resourceVersion"].clone();
            assert_eq!(again, created["resourceVersion"], "{}", self.meta.plural);
        }
    }

    async fn delete_collection(&self) {
        let query = "propagationPolicy=Background&fieldSelector=metadata.name%3D";
        let path = format!("{}?{query}{}", self.collection, objects::name(self.meta));
        let reply = self.cluster.delete(&path, Value::Null).await;
        if self.meta.verbs.contains(&Verb::DeleteCollection) {
            self.is(&reply, 200);
            assert_eq!(reply.json()["items"].as_array().map(Vec::len), Some(1), "{}", self.meta.plural);
        } else {
            self.is(&reply, 405);
            self.cluster.delete(&self.path, Value::Null).await.ok();
        }
        self.release().await;
        self.is(&self.cluster.get(&self.path).await, 404);
    }
}

/// Each kind on its own, so that one failure does not hide the others.
#[tokio::test]
async fn every_kind_goes_through_every_verb() {
    let mut failed = Vec::new();
    for kind in catalog().kinds().filter(|kind| objects::is_stored(kind.meta())) {
        if AssertUnwindSafe(walk(kind.meta())).catch_unwind().await.is_err() {
            failed.push(kind.meta().plural);
        }
    }
    assert_eq!(failed, Vec::<&str>::new());
}

async fn walk(meta: &'static Meta) {
    let cluster = Cluster::new().await;
    let collection = objects::collection(meta);
    let path = format!("{collection}/{}", objects::name(meta));
    let revision = cluster.server.pipeline().store().revision();
    let watch = cluster.watch(&format!("{collection}?watch=1&resourceVersion={revision}")).await;
    let mut walk = Walk { cluster: &cluster, meta, collection, path, watch };
    walk.create().await;
    walk.show().await;
    walk.select().await;
    walk.update().await;
    walk.patches().await;
    walk.status().await;
    walk.delete().await;
    walk.again_by_apply().await;
    walk.delete_collection().await;
}
