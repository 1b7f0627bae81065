//! `describe`: an object's fields in words, then the events about it.

use clap::Args;
use serde_json::Value;

use super::output::align;
use super::resources::{Resource, array};
use super::session::Session;

#[derive(Args)]
pub struct DescribeArgs {
    /// TYPE [NAME…], or TYPE/NAME…
    #[arg(required = true)]
    what: Vec<String>,
    /// Only objects whose labels match.
    #[arg(long, short = 'l')]
    selector: Option<String>,
}

pub async fn run(session: &Session, args: &DescribeArgs) -> anyhow::Result<()> {
    let resources = session.resources().await?;
    let mut first = true;
    for (resource, names) in resources.targets(&args.what)? {
        for object in fetch(session, resource, &names, args.selector.as_deref()).await? {
            if !std::mem::take(&mut first) {
                println!("\n");
            }
            print!("{}", render(&object));
            events(session, resource, &object).await?;
        }
    }
    Ok(())
}

/// The objects named, or all that match the selector.
pub async fn fetch(
    session: &Session,
    resource: &Resource,
    names: &[String],
    selector: Option<&str>,
) -> anyhow::Result<Vec<Value>> {
    if names.is_empty() {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(selector.map(|selector| ("labelSelector", selector)));
        let path = format!("{}?{}", session.path(resource, false, None), query.finish());
        let list = session.get(&path, "application/json").await?;
        return Ok(array(&list["items"]).to_vec());
    }
    let mut objects = Vec::new();
    for name in names {
        objects.push(session.get(&session.path(resource, false, Some(name)), "application/json").await?);
    }
    Ok(objects)
}

fn render(object: &Value) -> String {
    let metadata = &object["metadata"];
    let mut out = String::new();
    field(&mut out, 0, "Name", &metadata["name"]);
    if !metadata["namespace"].is_null() {
        field(&mut out, 0, "Namespace", &metadata["namespace"]);
    }
    for (title, key) in [("Labels", "labels"), ("Annotations", "annotations")] {
        pairs(&mut out, title, &metadata[key]);
    }
    field(&mut out, 0, "Created", &metadata["creationTimestamp"]);
    for (key, value) in object.as_object().into_iter().flatten() {
        if !["apiVersion", "kind", "metadata"].contains(&key.as_str()) {
            field(&mut out, 0, &title(key), value);
        }
    }
    out
}

fn pairs(out: &mut String, name: &str, map: &Value) {
    let mut lead = format!("{name}:");
    let Some(map) = map.as_object().filter(|map| !map.is_empty()) else {
        out.push_str(&format!("{lead:<14}<none>\n"));
        return;
    };
    for (key, value) in map {
        let value = value.as_str().unwrap_or_default();
        // The last applied configuration is for machines.
        if !key.ends_with("last-applied-configuration") {
            out.push_str(&format!("{lead:<14}{key}{}{value}\n", if name == "Labels" { "=" } else { ": " }));
            lead.clear();
        }
    }
}

/// `readyReplicas` as `Ready Replicas`.
fn title(key: &str) -> String {
    let mut out = String::new();
    for (at, c) in key.char_indices() {
        match (at, c.is_uppercase()) {
            (0, _) => out.extend(c.to_uppercase()),
            (_, true) if !out.ends_with(char::is_uppercase) => out.extend([' ', c]),
            _ => out.push(c),
        }
    }
    out
}

fn field(out: &mut String, depth: usize, name: &str, value: &Value) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            out.push_str(&format!("{indent}{name}:\n"));
            map.iter().for_each(|(key, value)| field(out, depth + 1, &title(key), value));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            out.push_str(&format!("{indent}{name}:\n"));
            for item in items {
                let label = item["name"].as_str().or(item["type"].as_str()).unwrap_or("-");
                field(out, depth + 1, label, item);
            }
        }
        Value::Array(items) => {
            let texts: Vec<_> = items.iter().map(plain).collect();
            out.push_str(&format!("{indent}{:<14}{}\n", format!("{name}: "), texts.join(", ")));
        }
        scalar => out.push_str(&format!("{indent}{:<14}{}\n", format!("{name}: "), plain(scalar))),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

async fn events(session: &Session, resource: &Resource, object: &Value) -> anyhow::Result<()> {
    let metadata = &object["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let selector = format!(
        "involvedObject.name={},involvedObject.kind={},involvedObject.uid={}",
        text(&metadata["name"]),
        resource.kind,
        text(&metadata["uid"])
    );
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("fieldSelector", &selector);
    let namespace = metadata["namespace"].as_str().unwrap_or("default");
    let path = format!("/api/v1/namespaces/{namespace}/events?{}", query.finish());
    let list = session.get(&path, "application/json").await?;
    let events = array(&list["items"]);
    if events.is_empty() {
        println!("Events:       <none>");
        return Ok(());
    }
    println!("Events:");
    let mut lines = vec![["  Type", "Reason", "From", "Message"].map(str::to_owned).to_vec()];
    for event in events {
        let from = event["source"]["component"].as_str().or(event["reportingComponent"].as_str()).unwrap_or_default();
        let kind = format!("  {}", text(&event["type"]));
        lines.push(vec![kind, text(&event["reason"]), from.to_owned(), text(&event["message"])]);
    }
    print!("{}", align(&lines));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_reads_as_words() {
        let object = json!({
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "ns", "labels": {"app": "web"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"readyReplicas": 3, "conditions": [{"type": "Available", "status": "True"}]},
        });
        let text = render(&object);
        for line in [
            "Name:         web",
            "Labels:       app=web",
            "  Ready Replicas: 3",
            "    Available:",
            "      Status:       True",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }
}
