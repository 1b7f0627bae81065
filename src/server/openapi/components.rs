//! The types of a document: what k8s-openapi's types say of themselves (fields, descriptions, formats, what is
//! required), completed by how their fields merge and in the words that Kubernetes' own documents use.
//!
//! Left out: `default` but for the keys of lists; nobody but a document's reader would see them.

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as metav1;
use k8s_openapi::apimachinery::pkg::version::Info;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::merge;
use crate::api::schema;
use crate::server::catalog::catalog;
use crate::server::discovery::groups;
use crate::server::strategy::{Kind, Meta};

const PREFIX: &str = "/components/schemas";

/// Collects the types that the operations of one document name.
pub struct Components {
    generator: SchemaGenerator,
    /// Definitions of kinds, with the group, version and kind that clients look them up by.
    kinds: Vec<(String, [String; 3])>,
    /// Lists: made here, because theirs is one generic type.
    lists: Map<String, Value>,
}

impl Components {
    pub fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = PREFIX.into();
            settings.transforms.clear();
        });
        Self { generator: settings.into_generator(), kinds: Vec::new(), lists: Map::new() }
    }

    /// A reference to the type of a catalog's kind.
    pub fn kind(&mut self, kind: &dyn Kind) -> Value {
        let reference = kind.schema(&mut self.generator).to_value();
        let meta = kind.meta();
        self.note(&reference, [meta.group, meta.version, meta.kind]);
        reference
    }

    /// A reference to the list of a kind.
    pub fn list(&mut self, kind: &dyn Kind) -> Value {
        let items = self.kind(kind);
        let metadata = self.plain::<metav1::ListMeta>();
        let meta = kind.meta();
        let name = format!("{}List", name_of(&items).unwrap_or_default());
        let reference = reference(&name);
        self.note(&reference, [meta.group, meta.version, &format!("{}List", meta.kind)]);
        self.lists.entry(name).or_insert_with(|| list(meta, items, metadata));
        reference
    }

    /// A reference to the body of a subresource, which may be of another group; `None` where it has none.
    pub fn body(&mut self, group: &str, version: &str, kind: &str) -> Option<Value> {
        if let Some(found) = catalog().find_kind(group, version, kind) {
            return Some(self.kind(found));
        }
        let reference = match (group, version, kind) {
            ("autoscaling", "v1", "Scale") => self.plain::<Scale>(),
            ("policy", "v1", "Eviction") => self.plain::<Eviction>(),
            ("authentication.k8s.io", "v1", "TokenRequest") => self.plain::<TokenRequest>(),
            _ => return None,
        };
        self.note(&reference, [group, version, kind]);
        Some(reference)
    }

    pub fn status(&mut self) -> Value {
        self.core::<metav1::Status>("Status")
    }
    pub fn patch(&mut self) -> Value {
        self.plain::<metav1::Patch>()
    }
    pub fn version(&mut self) -> Value {
        self.plain::<Info>()
    }
    pub fn api_versions(&mut self) -> Value {
        self.core::<metav1::APIVersions>("APIVersions")
    }
    pub fn api_group_list(&mut self) -> Value {
        self.core::<metav1::APIGroupList>("APIGroupList")
    }
    pub fn api_group(&mut self) -> Value {
        self.core::<metav1::APIGroup>("APIGroup")
    }
    pub fn api_resource_list(&mut self) -> Value {
        self.core::<metav1::APIResourceList>("APIResourceList")
    }
    pub fn delete_options(&mut self) -> Value {
        self.everywhere::<metav1::DeleteOptions>("DeleteOptions")
    }
    pub fn watch_event(&mut self) -> Value {
        self.everywhere::<metav1::WatchEvent<metav1::Status>>("WatchEvent")
    }

    fn plain<T: JsonSchema>(&mut self) -> Value {
        self.generator.subschema_for::<T>().to_value()
    }

    fn core<T: JsonSchema>(&mut self, kind: &str) -> Value {
        let reference = self.plain::<T>();
        self.note(&reference, ["", "v1", kind]);
        reference
    }

    /// A type that every group and version has.
    fn everywhere<T: JsonSchema>(&mut self, kind: &str) -> Value {
        let reference = self.plain::<T>();
        for group in groups() {
            for version in &group.versions {
                self.note(&reference, [group.name, version, kind]);
            }
        }
        reference
    }

    fn note(&mut self, reference: &Value, gvk: [&str; 3]) {
        let Some(name) = name_of(reference) else { return };
        let entry = (name.to_owned(), gvk.map(str::to_owned));
        if !self.kinds.contains(&entry) {
            self.kinds.push(entry);
        }
    }

    /// All types, by name.
    pub fn finish(mut self) -> Map<String, Value> {
        let mut all = self.generator.take_definitions(false);
        all.append(&mut self.lists);
        for (name, definition) in &mut all {
            upstream_form(name, definition);
        }
        for (name, [group, version, kind]) in &self.kinds {
            if let Some(shape) = schema::for_kind(group, version, kind) {
                merge::annotate(&mut all, name, shape);
            }
            let Some(definition) = all.get_mut(name) else { continue };
            not_required(definition, "metadata");
            let gvk = json!({"group": group, "version": version, "kind": kind});
            match definition.get_mut(GVK).and_then(Value::as_array_mut) {
                Some(known) => known.push(gvk),
                None => definition[GVK] = json!([gvk]),
            }
        }
        all
    }
}

pub const GVK: &str = "x-kubernetes-group-version-kind";

pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("#{PREFIX}/{name}")})
}

/// The definition that a schema refers to, by itself or with more said around the reference.
pub fn name_of(schema: &Value) -> Option<&str> {
    let reference = match schema.get("allOf") {
        Some(all) => all.get(0)?.get("$ref"),
        None => schema.get("$ref"),
    };
    reference?.as_str()?.strip_prefix('#')?.strip_prefix(PREFIX)?.strip_prefix('/')
}

fn list(meta: &Meta, items: Value, mut metadata: Value) -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    metadata["description"] = "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds".into();
    json!({
        "description": format!("{0}List is a list of {0}.", meta.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text("APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"),
            "items": {"type": "array", "items": items, "description": "List of objects."},
            "kind": text("Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"),
            "metadata": metadata,
        },
    })
}

/// k8s-openapi says what its Rust types need; the API itself does not ask for metadata.
fn not_required(definition: &mut Value, field: &str) {
    let Some(required) = definition.get_mut("required").and_then(Value::as_array_mut) else { return };
    required.retain(|name| name != field);
    if required.is_empty()
        && let Some(definition) = definition.as_object_mut()
    {
        definition.remove("required");
    }
}

/// Types that JSON Schema can say but Kubernetes' documents say in their own way.
fn upstream_form(name: &str, definition: &mut Value) {
    let description = definition.get("description").cloned().unwrap_or_default();
    let short = name.rsplit('.').next().unwrap_or_default();
    match short {
        "IntOrString" => {
            let either = json!([{"type": "integer"}, {"type": "string"}]);
            *definition = json!({"description": description, "format": "int-or-string", "oneOf": either});
        }
        "Quantity" => {
            *definition = json!({"description": description, "oneOf": [{"type": "string"}, {"type": "number"}]});
        }
        // Anything at all.
        "JSON" | "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray" => {
            *definition = json!({"description": description});
        }
        "Status" => not_required(definition, "metadata"),
        _ => {}
    }
    let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) else { return };
    properties.values_mut().for_each(wrap_reference);
    // References by name, of which upstream still takes empty ones.
    let name = properties.get_mut("name").filter(|name| name["description"].as_str().is_some_and(may_be_empty));
    if let Some(name) = name {
        name["default"] = "".into();
        not_required(definition, "name");
    }
}

fn may_be_empty(description: &str) -> bool {
    description
        .contains("This field is effectively required, but due to backwards compatibility is allowed to be empty")
}

/// Beside a `$ref` nothing may stand: what is said there goes around an `allOf`.
fn wrap_reference(property: &mut Value) {
    let Some(fields) = property.as_object_mut() else { return };
    if fields.len() < 2 {
        return;
    }
    if let Some(reference) = fields.remove("$ref") {
        fields.insert("allOf".to_owned(), json!([{"$ref": reference}]));
    }
}
