//! `audit.k8s.io/v1` Event: the record of one stage of one request, one line of the log.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, Status, StatusDetails};
use serde::Serialize;
use serde_json::Value;

use super::policy::{Level, Stage};
use crate::server::http::authn::User as Known;

/// What is known of a request so far. Fields are in upstream's order.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    kind: &'static str,
    api_version: &'static str,
    pub level: &'static str,
    #[serde(rename = "auditID")]
    pub audit_id: String,
    pub stage: &'static str,
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    pub verb: String,
    pub user: User,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<User>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_object: Option<Value>,
    pub request_received_timestamp: String,
    pub stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A Status inside of an event, which does not say what it is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    metadata: ListMeta,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<StatusDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        let Status { metadata, status, message, reason, details, code } = status;
        Self { metadata, status, message, reason, details, code }
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct User {
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, Vec<String>>,
}

impl From<&Known> for User {
    fn from(user: &Known) -> Self {
        let Known { name, uid, groups, extra } = user.clone();
        Self { username: name, uid, groups, extra }
    }
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

impl ObjectReference {
    /// Fills in what the path does not say from the metadata of the request's object.
    pub fn complete(&mut self, object: &Value) {
        let fields = [
            ("namespace", &mut self.namespace),
            ("name", &mut self.name),
            ("uid", &mut self.uid),
            ("resourceVersion", &mut self.resource_version),
        ];
        for (name, field) in fields {
            if field.is_empty() {
                object["metadata"][name].as_str().unwrap_or_default().clone_into(field);
            }
        }
    }
}

impl Event {
    pub fn new(level: Level, audit_id: String, received: Timestamp) -> Self {
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: level.as_str(),
            audit_id,
            stage: "",
            request_uri: String::new(),
            verb: String::new(),
            user: User::default(),
            impersonated_user: None,
            source_ips: Vec::new(),
            user_agent: String::new(),
            object_ref: None,
            response_status: None,
            request_object: None,
            response_object: None,
            request_received_timestamp: micro(received),
            stage_timestamp: String::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// The line of a stage that is reached at `now`.
    pub fn line(&mut self, stage: Stage, now: Timestamp) -> Vec<u8> {
        self.stage = stage.as_str();
        self.stage_timestamp = match stage {
            Stage::RequestReceived => self.request_received_timestamp.clone(),
            _ => micro(now),
        };
        // String keys and finite numbers only: this cannot fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// With microseconds, always.
fn micro(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// Removes what says who manages which field, also from the items of a list.
pub fn without_managed_fields(mut object: Value) -> Value {
    let forget = |object: &mut Value| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    };
    forget(&mut object);
    for (list, inner) in [("items", None), ("rows", Some("object"))] {
        for item in object.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            match inner {
                None => forget(item),
                Some(inner) => item.get_mut(inner).into_iter().for_each(forget),
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_upstreams() {
        let received: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut event = Event::new(Level::Metadata, "id".to_owned(), received);
        event.request_uri = "/api/v1/namespaces/n/pods".to_owned();
        event.verb = "create".to_owned();
        event.user = User::from(&Known::new("alice", &["g"]));
        event.source_ips = vec!["192.0.2.1".to_owned()];
        let mut reference = ObjectReference {
            resource: "pods".into(),
            namespace: "n".into(),
            api_version: "v1".into(),
            ..Default::default()
        };
        reference.complete(&json!({"metadata": {"name": "p", "namespace": "other"}}));
        event.object_ref = Some(reference);
        event.response_status = Some(Status { code: Some(201), ..Status::default() }.into());
        event.annotations.insert("authorization.k8s.io/decision".to_owned(), "allow".to_owned());
        let line = event.line(Stage::ResponseComplete, "2026-01-02T03:04:05.0012345Z".parse().unwrap());
        assert_eq!(
            String::from_utf8(line).unwrap(),
            concat!(
                r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"id","stage":"ResponseComplete","#,
                r#""requestURI":"/api/v1/namespaces/n/pods","verb":"create","user":{"username":"alice","groups":["g","system:authenticated"]},"#,
                r#""sourceIPs":["192.0.2.1"],"objectRef":{"resource":"pods","namespace":"n","name":"p","apiVersion":"v1"},"#,
                r#""responseStatus":{"metadata":{},"code":201},"requestReceivedTimestamp":"2026-01-02T03:04:05.000000Z","#,
                r#""stageTimestamp":"2026-01-02T03:04:05.001234Z","annotations":{"authorization.k8s.io/decision":"allow"}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn managed_fields_can_be_left_out() {
        let managed = json!({"metadata": {"name": "a", "managedFields": []}});
        let plain = json!({"metadata": {"name": "a"}});
        assert_eq!(without_managed_fields(managed.clone()), plain);
        let list = json!({"items": [managed], "metadata": {}});
        assert_eq!(without_managed_fields(list), json!({"items": [plain], "metadata": {}}));
    }
}
