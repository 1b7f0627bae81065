//! What a structural schema says of a value to CEL: its type, and how large it may be (`SchemaDeclType` of
//! k8s.io/apiserver/pkg/cel/common).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use crate::server::validation::cel::{self, Below, Decl, Object, Type};
use crate::server::validation::text;

/// Of a request: what an unlimited value may fill.
const REQUEST: u64 = 3 * 1024 * 1024;
/// The longest and the shortest of times and durations, as they are written in JSON, with their quotation marks.
const DURATION: (u64, u64) = (32, 3);
const DATE_TIME: (u64, u64) = (32, 21);
const DATE: u64 = 12;

pub fn is_embedded(schema: &JSONSchemaProps) -> bool {
    schema.x_kubernetes_embedded_resource == Some(true)
}

/// How many values as this one fit into a request at most.
pub fn most_in_a_request(decl: &Decl) -> u64 {
    REQUEST / (decl.min_size + 1)
}

/// What a rule sees of a value with this schema; nothing where the schema does not say. `name` is what its type is called.
pub fn of(schema: &JSONSchemaProps, is_object: bool, name: &str) -> Option<Decl> {
    let limit = |limit: Option<i64>| limit.map(|limit| u64::try_from(limit).unwrap_or(0));
    // Characters may take four bytes.
    let length = limit(schema.max_length).map(|length| length * 4);
    if schema.x_kubernetes_int_or_string == Some(true) {
        return Some(Decl::new(Type::Dyn, length.unwrap_or(REQUEST - 2), 1));
    }
    let kind = if is_object { "object" } else { text(&schema.type_) };
    match (kind, text(&schema.format)) {
        ("array", _) => {
            let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items else { return None };
            let items = of(items, is_embedded(items), &format!("{name}.@idx"))?;
            let most = limit(schema.max_items).unwrap_or((REQUEST - 2) / (items.min_size + 1));
            Some(Decl::list(items, most))
        }
        ("object", _) => match &schema.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(values)) => {
                let values = of(values, is_embedded(values), &format!("{name}.@elem"))?;
                let most = limit(schema.max_properties).unwrap_or((REQUEST - 2) / (values.min_size + 6));
                Some(Decl::map(0, values, most))
            }
            _ => Some(object(schema, is_object, name)),
        },
        ("string", "byte") => Some(Decl::new(Type::Bytes, limit(schema.max_length).unwrap_or(REQUEST - 2), 2)),
        ("string", "duration") => Some(Decl::new(Type::Duration, DURATION.0, DURATION.1)),
        ("string", "date") => Some(Decl::new(Type::Timestamp, DATE, DATE)),
        ("string", "date-time") => Some(Decl::new(Type::Timestamp, DATE_TIME.0, DATE_TIME.1)),
        ("string", _) => {
            let listed = schema.enum_.as_deref().filter(|listed| !listed.is_empty());
            let longest = listed.map(|listed| listed.iter().map(|JSON(one)| one.as_str().map_or(0, str::len)).max());
            let longest = longest.flatten().map(|longest| longest as u64);
            Some(Decl::new(Type::String, length.or(longest).unwrap_or(REQUEST - 2), 2))
        }
        ("boolean", _) => Some(Decl::new(Type::Bool, 0, 4)),
        ("number", _) => Some(Decl::new(Type::Double, 0, 1)),
        ("integer", _) => Some(Decl::new(Type::Int, 0, 1)),
        _ => None,
    }
}

fn object(schema: &JSONSchemaProps, is_object: bool, name: &str) -> Decl {
    let (mut fields, mut types, mut min_size) = (BTreeMap::new(), BTreeMap::new(), 2);
    let mut add = |plain: &str, decl: Decl| {
        // Escaped, and as it is for those who quote it.
        types.insert(escaped(plain), decl.of.clone());
        types.insert(plain.to_owned(), decl.of.clone());
        fields.insert(escaped(plain), decl.clone());
        fields.insert(plain.to_owned(), decl);
    };
    for (plain, property) in schema.properties.iter().flatten() {
        let Some(decl) = of(property, is_embedded(property), &format!("{name}.{}", escaped(plain))) else { continue };
        if schema.required.iter().flatten().any(|required| required == plain) && property.default.is_none() {
            min_size += plain.len() as u64 + decl.min_size + 4;
        }
        add(plain, decl);
    }
    if is_object {
        let plain = |longest| Decl::new(Type::String, longest, 2);
        let names = BTreeMap::from(["name", "generateName"].map(|name| (name.to_owned(), plain(REQUEST - 2))));
        let of = [("name", Type::String), ("generateName", Type::String)];
        let of = Type::object(&format!("{name}.metadata"), &of);
        add("metadata", Decl { below: Below::Fields(names), ..Decl::new(of, 0, 2) });
        ["apiVersion", "kind"].into_iter().for_each(|name| add(name, plain(REQUEST - 2)));
    }
    let of = Type::Object(Arc::new(Object { name: name.to_owned(), fields: types }));
    Decl { below: Below::Fields(fields), ..Decl::new(of, 0, min_size) }
}

/// A name of a property that CEL can read.
fn escaped(name: &str) -> String {
    if cel::RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    let name = name.replace("__", "__underscores__").replace('.', "__dot__");
    name.replace('-', "__dash__").replace('/', "__slash__")
}
