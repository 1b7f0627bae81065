//! One operation: a method on a path, with what it takes and what it answers.

use serde_json::{Map, Value, json};

use super::components::GVK;

/// What orch answers in.
pub const PRODUCES: &[&str] = &["application/json", "application/yaml"];
/// Lists may also be watched.
pub const STREAMS: &[&str] = &["application/json", "application/json;stream=watch", "application/yaml"];
pub const PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

const ANY: &[&str] = &["*/*"];

/// Built step by step; [`PathItem`] puts it in its place.
pub struct Operation {
    method: &'static str,
    fields: Map<String, Value>,
    parameters: Vec<Value>,
    responses: Map<String, Value>,
}

impl Operation {
    pub fn new(method: &'static str, id: String, description: String) -> Self {
        let mut fields = Map::new();
        fields.insert("operationId".to_owned(), id.into());
        fields.insert("description".to_owned(), description.into());
        Self { method, fields, parameters: Vec::new(), responses: Map::new() }
    }

    pub fn tag(mut self, tag: &str) -> Self {
        self.fields.insert("tags".to_owned(), json!([tag]));
        self
    }

    /// What it does to which kind; clients find operations by this.
    pub fn action(mut self, action: &str, group: &str, version: &str, kind: &str) -> Self {
        self.fields.insert("x-kubernetes-action".to_owned(), action.into());
        self.fields.insert(GVK.to_owned(), json!({"group": group, "version": version, "kind": kind}));
        self
    }

    pub fn parameters(mut self, parameters: impl IntoIterator<Item = Value>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    pub fn body(self, schema: &Value) -> Self {
        self.request(ANY, schema, true)
    }
    pub fn optional_body(self, schema: &Value) -> Self {
        self.request(ANY, schema, false)
    }
    pub fn patch_body(self, schema: &Value) -> Self {
        self.request(PATCHES, schema, true)
    }

    fn request(mut self, media: &[&str], schema: &Value, required: bool) -> Self {
        let mut body = json!({"content": content(media, schema)});
        if required {
            body["required"] = true.into();
        }
        self.fields.insert("requestBody".to_owned(), body);
        self
    }

    /// The codes with which the object itself is answered.
    pub fn answers(mut self, codes: &[u16], media: &[&str], schema: &Value) -> Self {
        for code in codes {
            let description = match code {
                201 => "Created",
                202 => "Accepted",
                _ => "OK",
            };
            let response = json!({"description": description, "content": content(media, schema)});
            self.responses.insert(code.to_string(), response);
        }
        self.responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        self
    }

    /// A connection: whatever the other side says.
    pub fn answers_text(mut self, media: &[&str]) -> Self {
        self = self.answers(&[200], media, &json!({"type": "string"}));
        self
    }

    pub fn answers_anything(self) -> Self {
        self.answers_text(ANY)
    }
}

fn content(media: &[&str], schema: &Value) -> Value {
    media.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect::<Map<_, _>>().into()
}

/// The operations of one path.
#[derive(Default)]
pub struct PathItem(Vec<Operation>);

impl PathItem {
    pub fn add(&mut self, operation: Operation) {
        self.0.push(operation);
    }

    /// As the document has it; `None` where the path has no operation. What every operation takes is said once.
    pub fn finish(self) -> Option<Value> {
        let mut shared = self.0.first()?.parameters.clone();
        shared.retain(|parameter| self.0.iter().all(|operation| operation.parameters.contains(parameter)));
        let mut item = Map::new();
        for operation in self.0 {
            let Operation { method, mut fields, mut parameters, responses } = operation;
            parameters.retain(|parameter| !shared.contains(parameter));
            if !parameters.is_empty() {
                fields.insert("parameters".to_owned(), parameters.into());
            }
            fields.insert("responses".to_owned(), responses.into());
            item.insert(method.to_owned(), fields.into());
        }
        if !shared.is_empty() {
            shared.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
            item.insert("parameters".to_owned(), shared.into());
        }
        Some(item.into())
    }
}
