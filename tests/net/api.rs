//! As much of the API as the network's watchers need: lists, watches that stay open, and Events to be written.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// A server without sockets.
#[derive(Clone, Default)]
pub struct Api(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    revision: u64,
    objects: BTreeMap<(String, String), Value>,
    watchers: Vec<(String, mpsc::UnboundedSender<Bytes>)>,
    events: Vec<String>,
}

impl Api {
    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                if request.method() == Method::POST {
                    return Ok::<_, Infallible>(api.take_event(request).await);
                }
                Ok(api.answer(&request))
            }
        });
        kube::Client::new(service, "default")
    }

    pub fn service(&self, name: &str, spec: Value) {
        self.put("services", name, json!({"apiVersion": "v1", "kind": "Service", "spec": spec}), None);
    }

    pub fn service_with_status(&self, name: &str, spec: Value, status: Value) {
        let service = json!({"apiVersion": "v1", "kind": "Service", "spec": spec, "status": status});
        self.put("services", name, service, None);
    }

    pub fn node(&self, name: &str, labels: Value) {
        self.put("nodes", name, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"labels": labels}}), None);
    }

    pub fn tainted_node(&self, name: &str, taints: Value) {
        self.put("nodes", name, json!({"apiVersion": "v1", "kind": "Node", "spec": {"taints": taints}}), None);
    }

    pub fn endpoints(&self, service: &str, ports: Value, endpoints: Value) {
        self.slice(service, service, ports, endpoints);
    }

    /// One of several slices of a Service.
    pub fn slice(&self, name: &str, service: &str, ports: Value, endpoints: Value) {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        });
        self.put("endpointslices", name, slice, Some(service));
    }

    pub fn pod(&self, name: &str, spec: Value, status: Value) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec, "status": status});
        self.put("pods", name, pod, None);
    }

    pub fn config_map(&self, name: &str, data: Value) {
        self.put("configmaps", name, json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data}), None);
    }

    /// The Events that were written, as `<reason>: <message>`.
    pub fn events(&self) -> Vec<String> {
        self.0.lock().events.clone()
    }

    pub fn delete(&self, resource: &str, name: &str) {
        let mut state = self.0.lock();
        let gone = state.objects.remove(&(resource.to_owned(), name.to_owned())).unwrap();
        state.tell(resource, "DELETED", gone);
    }

    fn put(&self, resource: &str, name: &str, mut object: Value, owner: Option<&str>) {
        let mut state = self.0.lock();
        object["metadata"]["namespace"] = "n".into();
        object["metadata"]["name"] = name.into();
        if let Some(owner) = owner {
            object["metadata"]["labels"] = json!({"kubernetes.io/service-name": owner});
        }
        state.tell(resource, "MODIFIED", object.clone());
        state.objects.insert((resource.to_owned(), name.to_owned()), object);
    }

    /// Events are all that is written here.
    async fn take_event(&self, request: Request<Body>) -> Response<Answer> {
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        let event: Value = serde_json::from_slice(&bytes).unwrap();
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        self.0.lock().events.push(format!("{}: {}", text("reason"), text("message")));
        Response::new(Full::new(bytes).boxed_unsync())
    }

    fn answer(&self, request: &Request<Body>) -> Response<Answer> {
        let mut state = self.0.lock();
        let resource = request.uri().path().rsplit('/').next().unwrap().to_owned();
        if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
            let (sender, mut receiver) = mpsc::unbounded_channel();
            state.watchers.push((resource, sender));
            let frames = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
            let frames = futures::StreamExt::map(frames, |bytes| Ok(Frame::data(bytes)));
            return Response::new(StreamBody::new(frames).boxed_unsync());
        }
        let number = |name: &str| {
            let query = request.uri().query().unwrap_or_default();
            form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name)?.1.parse::<usize>().ok()
        };
        // A page's continue token is how many objects came before.
        let (skip, limit) = (number("continue").unwrap_or(0), number("limit").unwrap_or(usize::MAX));
        let all = state.objects.iter().filter(|((of, _), _)| *of == resource).map(|(_, it)| it);
        let mut items: Vec<_> = all.skip(skip).take(limit.saturating_add(1)).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { (skip + limit).to_string() } else { String::new() };
        let list =
            json!({"metadata": {"resourceVersion": state.revision.to_string(), "continue": next}, "items": items});
        Response::new(Full::new(list.to_string().into()).boxed_unsync())
    }
}

impl State {
    fn tell(&mut self, resource: &str, kind: &str, mut object: Value) {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let line = Bytes::from(format!("{}\n", json!({"type": kind, "object": object})));
        self.watchers.retain(|(of, sender)| of != resource || sender.send(line.clone()).is_ok());
    }
}
