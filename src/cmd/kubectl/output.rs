//! How objects are printed: the server's table, YAML, JSON, names, or a JSONPath.

use std::str::FromStr;

use anyhow::{Context, bail};
use serde_json::Value;

use super::resources::{Resource, array};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    Table { wide: bool },
    Yaml,
    Json,
    Name,
    JsonPath(String),
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "wide" => Self::Table { wide: true },
            "yaml" => Self::Yaml,
            "json" => Self::Json,
            "name" => Self::Name,
            other => match other.strip_prefix("jsonpath=") {
                Some(path) => Self::JsonPath(path.to_owned()),
                None => return Err("must be wide, yaml, json, name or jsonpath=…".to_owned()),
            },
        })
    }
}

/// Prints objects (not tables): one as itself, many as a `List`.
pub fn objects(format: &Format, resource: &Resource, mut items: Vec<Value>, single: bool) -> anyhow::Result<()> {
    if *format == Format::Name {
        for item in &items {
            println!("{}/{}", resource.display(), item["metadata"]["name"].as_str().unwrap_or_default());
        }
        return Ok(());
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
        Format::JsonPath(path) => print!("{}", json_path(path, &value)?),
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

/// kubectl's JSONPath templates: text with `{.a.b[0].c}`, `{.items[*].x}`, `{"\n"}` and `{range}` left out.
pub fn json_path(template: &str, value: &Value) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        let close = rest[open..].find('}').map(|at| open + at).context("the JSONPath has a { without a }")?;
        let inner = rest[open + 1..close].trim();
        match inner.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(text) => out.push_str(&text.replace("\\n", "\n").replace("\\t", "\t")),
            None => {
                let found = select(inner, value)?;
                let texts: Vec<_> =
                    found.into_iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
                out.push_str(&texts.join(" "));
            }
        }
        rest = &rest[close + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The values a path selects: `.a.b`, `[0]`, `[*]`, `['a.b']`, and `\.` inside a name.
pub fn select<'a>(path: &str, value: &'a Value) -> anyhow::Result<Vec<&'a Value>> {
    let mut found = vec![value];
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let Some((index, tail)) = after.split_once(']') else { bail!("the JSONPath has a [ without a ]: {path}") };
            rest = tail;
            let name = index.trim_matches(['\'', '"']);
            found = match (index, index.parse::<usize>()) {
                ("*", _) => found.into_iter().flat_map(children).collect(),
                (_, Ok(at)) => found.into_iter().filter_map(|v| v.get(at)).collect(),
                _ => found.into_iter().filter_map(|v| v.get(name)).collect(),
            };
            continue;
        }
        let Some(after) = rest.strip_prefix('.') else { bail!("cannot read the JSONPath at {rest:?}") };
        let (name, tail) = field_name(after);
        rest = tail;
        found = match name.as_str() {
            "" => found,
            "*" => found.into_iter().flat_map(children).collect(),
            name => found.into_iter().filter_map(|v| v.get(name)).collect(),
        };
    }
    Ok(found)
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn field_name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return (name, &text[at..]),
            c => name.push(c),
        }
    }
    (name, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_paths_select() {
        let value = json!({"items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}], "x": {"k8s.io/y": 7}});
        let cases = [
            ("{.items[0].metadata.name}", "a"),
            ("{.items[*].metadata.name}", "a b"),
            ("{.x.k8s\\.io/y}{\"\\n\"}", "7\n"),
            ("{.x['k8s.io/y']} of {.none}", "7 of "),
        ];
        for (path, text) in cases {
            assert_eq!(json_path(path, &value).unwrap(), text, "{path}");
        }
        assert!(json_path("{.items[0", &value).is_err());
        assert!(json_path("{items}", &value).is_err());
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
