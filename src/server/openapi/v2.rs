//! The same documents as one in Swagger 2.0, for clients that know no better: every path and type, in the older
//! words.

use serde_json::{Map, Value, json};

use super::document::{VERSION, describe, roots, security};

/// The whole API.
pub fn document() -> Value {
    let roots: Vec<_> = roots().into_iter().map(|(_, root)| root).collect();
    let (mut paths, mut definitions) = describe(&roots);
    for (name, definition) in &mut definitions {
        scalar_form(name, definition);
        older(definition);
    }
    paths.values_mut().for_each(path_item);
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": security(),
        "security": [{"BearerToken": []}],
    })
}

/// Swagger 2.0 knows no alternatives.
fn scalar_form(name: &str, definition: &mut Value) {
    let format = match name.rsplit('.').next() {
        Some("IntOrString") => Some("int-or-string"),
        Some("Quantity") => None,
        _ => return,
    };
    let Some(fields) = definition.as_object_mut() else { return };
    fields.remove("oneOf");
    fields.insert("type".to_owned(), "string".into());
    fields.extend(format.map(|format| ("format".to_owned(), format.into())));
}

/// References to the older place, and bare where version 3 needs an `allOf` around them.
fn older(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    if let Some(mut all) = fields.remove("allOf") {
        fields.extend(all[0].as_object_mut().map(std::mem::take).unwrap_or_default());
    }
    if let Some(Value::String(reference)) = fields.get_mut("$ref") {
        *reference = reference.replace("#/components/schemas/", "#/definitions/");
    }
    // Not all values: a property may be called as anything is.
    fields.get_mut("items").into_iter().for_each(older);
    fields.get_mut("additionalProperties").into_iter().for_each(older);
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flat_map(Map::values_mut).for_each(older);
}

fn path_item(item: &mut Value) {
    let Some(item) = item.as_object_mut() else { return };
    for (key, value) in item {
        match (key.as_str(), value) {
            ("parameters", Value::Array(all)) => all.iter_mut().for_each(parameter),
            (_, Value::Object(fields)) => operation(fields),
            _ => {}
        }
    }
}

/// What version 3 says of a parameter's schema stands in the parameter itself.
fn parameter(parameter: &mut Value) {
    let Some(fields) = parameter.as_object_mut() else { return };
    if let Some(Value::Object(schema)) = fields.remove("schema") {
        fields.extend(schema);
    }
}

fn operation(fields: &mut Map<String, Value>) {
    let mut parameters = match fields.remove("parameters") {
        Some(Value::Array(mut all)) => {
            all.iter_mut().for_each(parameter);
            all
        }
        _ => Vec::new(),
    };
    let mut consumes = vec!["*/*".to_owned()];
    if let Some(mut body) = fields.remove("requestBody") {
        let (media, schema) = content(&mut body);
        consumes = media;
        let mut parameter = json!({"in": "body", "name": "body", "schema": schema});
        if body["required"] == true {
            parameter["required"] = true.into();
        }
        parameters.insert(0, parameter);
    }
    let mut produces = Vec::new();
    let responses = fields.get_mut("responses").and_then(Value::as_object_mut);
    for response in responses.into_iter().flat_map(Map::values_mut) {
        let (media, schema) = content(response);
        if !media.is_empty() {
            produces = media;
            response["schema"] = schema;
        }
    }
    fields.insert("consumes".to_owned(), consumes.into());
    fields.insert("produces".to_owned(), produces.into());
    fields.insert("schemes".to_owned(), json!(["https"]));
    if !parameters.is_empty() {
        fields.insert("parameters".to_owned(), parameters.into());
    }
}

/// Takes out the media types of a body, and its schema, which is the same for all.
fn content(body: &mut Value) -> (Vec<String>, Value) {
    let content = body.as_object_mut().and_then(|body| body.remove("content"));
    let Some(Value::Object(content)) = content else { return (Vec::new(), Value::Null) };
    let media = content.keys().cloned().collect();
    let mut schema = content.into_iter().next().map(|(_, mut body)| body["schema"].take()).unwrap_or_default();
    older(&mut schema);
    (media, schema)
}
