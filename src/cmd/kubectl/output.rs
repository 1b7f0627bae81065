//! How objects are printed: the server's table, YAML, JSON, names, or what JSONPaths select.

use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;

use super::resources::{Resource, array};
use crate::api::jsonpath::{self, Template};

#[derive(Clone, Debug)]
pub enum Format {
    Table {
        wide: bool,
    },
    Yaml,
    Json,
    Name,
    JsonPath(Arc<Template>),
    /// A header and a path for each.
    Columns(Arc<[(String, Template)]>),
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "wide" => Self::Table { wide: true },
            "yaml" => Self::Yaml,
            "json" => Self::Json,
            "name" => Self::Name,
            other => match other.split_once('=') {
                Some(("jsonpath", template)) => Self::JsonPath(Arc::new(parsed(template)?)),
                Some(("jsonpath-file", file)) => {
                    let template = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
                    Self::JsonPath(Arc::new(parsed(&template)?))
                }
                Some(("custom-columns", columns)) => {
                    Self::Columns(columns.split(',').map(column).collect::<Result<_, _>>()?)
                }
                _ => {
                    return Err(
                        "must be wide, yaml, json, name, jsonpath=…, jsonpath-file=… or custom-columns=…".to_owned()
                    );
                }
            },
        })
    }
}

fn parsed(template: &str) -> Result<Template, String> {
    Template::parse(template).map_err(|error| format!("error parsing jsonpath {template}, {error}"))
}

fn column(spec: &str) -> Result<(String, Template), String> {
    let (header, path) = spec
        .split_once(':')
        .ok_or_else(|| format!("unexpected custom-columns spec: {spec}, expected <header>:<json-path-expr>"))?;
    let path = Template::relaxed(path).map_err(|error| format!("error parsing jsonpath {path}, {error}"))?;
    Ok((header.to_owned(), path))
}

/// Prints objects (not tables): one as itself, many as a `List`.
pub fn objects(
    format: &Format,
    resource: &Resource,
    mut items: Vec<Value>,
    single: bool,
    headers: bool,
) -> anyhow::Result<()> {
    match format {
        Format::Name => {
            for item in &items {
                println!("{}/{}", resource.display(), item["metadata"]["name"].as_str().unwrap_or_default());
            }
            return Ok(());
        }
        Format::Columns(columns) => {
            print!("{}", custom(columns, &items, headers)?);
            return Ok(());
        }
        _ => {}
    }
    for item in &mut items {
        if let Some(metadata) = item["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    }
    let value = match (single, items.len()) {
        (true, 1) => items.remove(0),
        _ => {
            serde_json::json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
        }
    };
    match format {
        Format::Yaml => print!("{}", serde_yaml_ng::to_string(&value)?),
        Format::JsonPath(template) => print!("{}", template.render(&value)?),
        _ => println!("{}", serde_json::to_string_pretty(&value)?),
    }
    Ok(())
}

/// The rows of a server's Table as kubectl aligns them; with `prefix`, names carry their type.
pub struct TablePrinter {
    pub wide: bool,
    pub namespaces: bool,
    pub headers: bool,
    pub labels: bool,
    pub prefix: Option<String>,
}

impl TablePrinter {
    pub fn render(&self, table: &Value) -> String {
        let definitions = array(&table["columnDefinitions"]);
        let shown: Vec<usize> =
            (0..definitions.len()).filter(|at| self.wide || definitions[*at]["priority"].as_i64() == Some(0)).collect();
        let mut lines: Vec<Vec<String>> = Vec::new();
        if self.headers {
            let names = shown.iter().map(|at| cell(&definitions[*at]["name"]).to_uppercase());
            lines.push(self.line("NAMESPACE".to_owned(), names.collect(), "LABELS".to_owned()));
        }
        for row in array(&table["rows"]) {
            let cells = array(&row["cells"]);
            let mut texts: Vec<String> = shown.iter().map(|at| cells.get(*at).map(cell).unwrap_or_default()).collect();
            if let (Some(prefix), Some(name)) = (&self.prefix, texts.first_mut()) {
                *name = format!("{prefix}/{name}");
            }
            let metadata = &row["object"]["metadata"];
            lines.push(self.line(cell(&metadata["namespace"]), texts, labels(&metadata["labels"])));
        }
        align(&lines)
    }

    fn line(&self, namespace: String, cells: Vec<String>, labels: String) -> Vec<String> {
        let namespace = self.namespaces.then_some(namespace);
        namespace.into_iter().chain(cells).chain(self.labels.then_some(labels)).collect()
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn labels(value: &Value) -> String {
    let Some(map) = value.as_object().filter(|map| !map.is_empty()) else { return "<none>".to_owned() };
    map.iter().map(|(key, value)| format!("{key}={}", cell(value))).collect::<Vec<_>>().join(",")
}

/// Columns three spaces apart, as kubectl's tab writer.
pub fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|t| t.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let mut text = String::new();
        for (at, cell) in line.iter().enumerate() {
            text.push_str(cell);
            if at + 1 < line.len() {
                text.extend(std::iter::repeat_n(' ', widths[at] + 3 - cell.chars().count()));
            }
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

fn custom(columns: &[(String, Template)], items: &[Value], headers: bool) -> Result<String, jsonpath::Error> {
    let mut lines = Vec::new();
    if headers {
        lines.push(columns.iter().map(|(header, _)| header.clone()).collect());
    }
    for item in items {
        let mut cells = Vec::new();
        for (_, path) in columns {
            let found: Vec<_> = path.select(item)?.into_iter().map(jsonpath::text).collect();
            cells.push(if found.is_empty() { "<none>".to_owned() } else { found.join(",") });
        }
        lines.push(cells);
    }
    Ok(align(&lines))
}

/// Orders by what `path` selects; what lacks it comes first. `of` finds the object.
pub fn sort(items: &mut [Value], path: &str, of: impl Fn(&Value) -> &Value) -> anyhow::Result<()> {
    let template = Template::relaxed(path)?;
    let mut keyed = Vec::new();
    for item in items.iter() {
        keyed.push((template.select(of(item))?.first().map(|key| (*key).clone()), item.clone()));
    }
    if !keyed.is_empty() && keyed.iter().all(|(key, _)| key.is_none()) {
        anyhow::bail!("error: couldn't find any field with path {path:?} in the list of objects");
    }
    keyed.sort_by(|(a, _), (b, _)| match (a, b) {
        (Some(a), Some(b)) => jsonpath::compare(a, b).unwrap_or_else(|_| a.to_string().cmp(&b.to_string())),
        _ => a.is_some().cmp(&b.is_some()),
    });
    items.iter_mut().zip(keyed).for_each(|(item, (_, sorted))| *item = sorted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_what_their_paths_select() {
        let Format::Columns(columns) =
            "custom-columns=NAME:.metadata.name,PORTS:.ports[*].port,ZONE:.zone".parse().unwrap()
        else {
            panic!("columns");
        };
        let items = [json!({"metadata": {"name": "b"}, "ports": [{"port": 80}, {"port": 81}]}), json!({"zone": "z"})];
        let table = "NAME     PORTS    ZONE\nb        80,81    <none>\n<none>   <none>   z\n";
        assert_eq!(custom(&columns, &items, true).unwrap(), table);
        for (wrong, why) in [
            ("custom-columns=NAME", "unexpected custom-columns spec: NAME, expected <header>:<json-path-expr>"),
            ("jsonpath={.a", "error parsing jsonpath {.a, unclosed action"),
            ("csv", "must be wide, yaml"),
        ] {
            assert!(wrong.parse::<Format>().unwrap_err().starts_with(why), "{wrong}");
        }
    }

    #[test]
    fn objects_are_sorted_by_a_path() {
        let mut items = [json!({"n": 10}), json!({}), json!({"n": 9})];
        sort(&mut items, ".n", |item| item).unwrap();
        assert_eq!(items, [json!({}), json!({"n": 9}), json!({"n": 10})]);
        assert!(sort(&mut items, "{.x}", |item| item).is_err());
    }

    #[test]
    fn tables_align_and_hide_wide_columns() {
        let table = json!({
            "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "IP", "priority": 1}, {"name": "Age", "priority": 0}],
            "rows": [{"cells": ["long-name", "10.0.0.1", "5s"], "object": {"metadata": {"namespace": "ns"}}},
                     {"cells": ["b", null, "10d"], "object": {"metadata": {"namespace": "ns"}}}],
        });
        let mut printer = TablePrinter { wide: false, namespaces: false, headers: true, labels: false, prefix: None };
        assert_eq!(printer.render(&table), "NAME        AGE\nlong-name   5s\nb           10d\n");
        printer.wide = true;
        printer.namespaces = true;
        printer.headers = false;
        assert_eq!(printer.render(&table), "ns   long-name   10.0.0.1   5s\nns   b           <none>     10d\n");
    }
}
