//! `explain`: what the server's OpenAPI document says of a type and its fields.

use anyhow::{anyhow, bail};
use clap::Args;
use serde_json::{Map, Value};

use super::resources::{Resource, array};
use super::session::Session;

#[derive(Args)]
pub struct ExplainArgs {
    /// TYPE, or TYPE.field.field…
    what: String,
    /// All fields below it, without their descriptions.
    #[arg(long)]
    recursive: bool,
}

pub async fn run(session: &Session, args: &ExplainArgs) -> anyhow::Result<()> {
    let resources = session.resources().await?;
    let mut fields = args.what.split('.');
    let resource = resources.find(fields.next().unwrap_or_default())?;
    let root = match resource.group.as_str() {
        "" => format!("api/{}", resource.version),
        group => format!("apis/{group}/{}", resource.version),
    };
    let document = session.get(&format!("/openapi/v3/{root}"), "application/json").await?;
    print!("{}", explain(&document, resource, &fields.collect::<Vec<_>>(), args.recursive)?);
    Ok(())
}

/// A schema with its reference followed, and what the reference's surroundings say.
#[derive(Clone, Copy)]
struct Shape<'a> {
    schemas: &'a Map<String, Value>,
    /// Where it is used.
    used: &'a Value,
    /// What it is.
    is: &'a Value,
}

impl<'a> Shape<'a> {
    fn of(schemas: &'a Map<String, Value>, used: &'a Value) -> Self {
        let reference = used["$ref"].as_str().or_else(|| used["allOf"][0]["$ref"].as_str());
        let name = reference.and_then(|reference| reference.rsplit('/').next());
        Self { schemas, used, is: name.and_then(|name| schemas.get(name)).unwrap_or(used) }
    }

    fn description(&self) -> &'a str {
        self.used["description"].as_str().or_else(|| self.is["description"].as_str()).unwrap_or("<no description>")
    }

    /// `<[]Container>`, `<map[string]string>`, `<integer>`.
    fn type_name(&self) -> String {
        let reference = self.used["$ref"].as_str().or_else(|| self.used["allOf"][0]["$ref"].as_str());
        if let Some(name) = reference.and_then(|reference| reference.rsplit('.').next()) {
            // Scalars with a name of their own.
            return match self.is["type"].as_str() {
                Some("object") | None => name.to_owned(),
                Some(scalar) => scalar.to_owned(),
            };
        }
        match (self.is["type"].as_str(), self.is.get("additionalProperties")) {
            (Some("array"), _) => format!("[]{}", Self::of(self.schemas, &self.is["items"]).type_name()),
            (_, Some(values)) => format!("map[string]{}", Self::of(self.schemas, values).type_name()),
            (Some(scalar), _) => scalar.to_owned(),
            (None, _) => "Object".to_owned(),
        }
    }

    /// Itself, or what its items or values are.
    fn inside(self) -> Self {
        match (self.is.get("items"), self.is.get("additionalProperties")) {
            (Some(inner), _) | (None, Some(inner)) => Self::of(self.schemas, inner).inside(),
            _ => self,
        }
    }

    fn fields(self) -> impl Iterator<Item = (&'a str, Self, bool)> {
        let required = array(&self.is["required"]);
        let properties = self.is["properties"].as_object().into_iter().flatten();
        properties.map(move |(name, used)| {
            (name.as_str(), Self::of(self.schemas, used), required.iter().any(|one| one == name.as_str()))
        })
    }
}

fn explain(document: &Value, resource: &Resource, path: &[&str], recursive: bool) -> anyhow::Result<String> {
    let schemas = document["components"]["schemas"].as_object().ok_or_else(|| anyhow!("the server has no schemas"))?;
    let is_kind = |schema: &&Value| {
        let all = array(&schema["x-kubernetes-group-version-kind"]);
        all.iter().any(|gvk| gvk["kind"] == resource.kind.as_str() && gvk["group"] == resource.group.as_str())
    };
    let Some(kind) = schemas.values().find(is_kind) else { bail!("error: {} is not described", resource.kind) };
    let mut shape = Shape { schemas, used: kind, is: kind };
    for name in path {
        let found = shape.inside().fields().find(|(field, ..)| field == name);
        shape = found.ok_or_else(|| anyhow!("error: field \"{name}\" does not exist"))?.1;
    }
    let mut out = String::new();
    if !resource.group.is_empty() {
        out.push_str(&format!("GROUP:      {}\n", resource.group));
    }
    out.push_str(&format!("KIND:       {}\nVERSION:    {}\n\n", resource.kind, resource.version));
    if let Some(name) = path.last() {
        out.push_str(&format!("FIELD: {name} <{}>\n\n", shape.type_name()));
    }
    out.push_str("DESCRIPTION:\n");
    wrap(&mut out, shape.description(), 4);
    let inside = shape.inside();
    if inside.fields().next().is_some() {
        out.push_str("\nFIELDS:\n");
        describe(&mut out, inside, 2, recursive, &mut Vec::new());
    }
    Ok(out)
}

fn describe<'a>(out: &mut String, shape: Shape<'a>, indent: usize, recursive: bool, within: &mut Vec<&'a Value>) {
    for (name, field, required) in shape.fields() {
        let required = if required { " -required-" } else { "" };
        out.push_str(&format!("{:indent$}{name}\t<{}>{required}\n", "", field.type_name()));
        let inside = field.inside();
        if !recursive {
            wrap(out, field.description(), indent + 2);
            out.push('\n');
        } else if !within.iter().any(|seen| std::ptr::eq(*seen, inside.is)) {
            // A type inside itself is not followed again.
            within.push(inside.is);
            describe(out, inside, indent + 2, recursive, within);
            within.pop();
        }
    }
}

/// Lines of at most 80 letters, the indent among them.
fn wrap(out: &mut String, text: &str, indent: usize) {
    for paragraph in text.lines() {
        let mut width = 0;
        for word in paragraph.split_whitespace() {
            if width > 0 && indent + width + 1 + word.len() > 80 {
                out.push('\n');
                width = 0;
            }
            match width {
                0 => out.push_str(&" ".repeat(indent)),
                _ => out.push(' '),
            }
            out.push_str(word);
            width += word.len() + 1;
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn explained(path: &[&str], recursive: bool) -> anyhow::Result<String> {
        let document = json!({"components": {"schemas": {
            "io.k8s.Thing": {
                "description": "A thing.", "type": "object", "required": ["spec"],
                "properties": {"spec": {"allOf": [{"$ref": "#/components/schemas/io.k8s.Spec"}], "description": "What is wanted."}},
                "x-kubernetes-group-version-kind": [{"group": "g", "version": "v1", "kind": "Thing"}],
            },
            "io.k8s.Spec": {"type": "object", "properties": {
                "parts": {"type": "array", "items": {"$ref": "#/components/schemas/io.k8s.Spec"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Names."},
                "size": {"$ref": "#/components/schemas/io.k8s.Size"},
            }},
            "io.k8s.Size": {"description": "How large.", "type": "string"},
        }}});
        let resource =
            Resource { group: "g".into(), version: "v1".into(), kind: "Thing".into(), ..Resource::default() };
        explain(&document, &resource, path, recursive)
    }

    #[test]
    fn fields_are_told_with_their_types() {
        let text = explained(&["spec"], false).unwrap();
        assert_eq!(
            text,
            "GROUP:      g\nKIND:       Thing\nVERSION:    v1\n\nFIELD: spec <Spec>\n\nDESCRIPTION:\n    What is wanted.\n\nFIELDS:\n  labels\t<map[string]string>\n    Names.\n\n  parts\t<[]Spec>\n    <no description>\n\n  size\t<string>\n    How large.\n\n"
        );
        assert!(explained(&["spec", "parts", "size"], false).unwrap().contains("FIELD: size <string>"));
        assert_eq!(
            explained(&["spec", "none"], false).unwrap_err().to_string(),
            "error: field \"none\" does not exist"
        );
    }

    #[test]
    fn types_inside_themselves_end() {
        let text = explained(&[], true).unwrap();
        assert!(text.ends_with("FIELDS:\n  spec\t<Spec> -required-\n    labels\t<map[string]string>\n    parts\t<[]Spec>\n    size\t<string>\n"), "{text}");
    }

    #[test]
    fn long_lines_are_wrapped() {
        let mut out = String::new();
        wrap(&mut out, &"word ".repeat(40), 4);
        assert!(out.lines().count() == 3 && out.lines().all(|line| line.len() <= 80 && line.starts_with("    word")));
    }
}
