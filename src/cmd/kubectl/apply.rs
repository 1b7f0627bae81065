//! `apply -f`: every document of the files, server-side applied.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize as _;
use serde_json::Value;

use super::resources::Resources;
use super::session::Session;

#[derive(Args)]
pub struct ApplyArgs {
    /// A file, a folder of .yaml, .yml and .json files, or - for standard input; may be repeated.
    #[arg(long, short, required = true)]
    filename: Vec<PathBuf>,
    /// Take over fields that others manage.
    #[arg(long)]
    force_conflicts: bool,
    /// The name under which the fields are owned.
    #[arg(long, default_value = "kubectl")]
    field_manager: String,
    /// Apply is always server-side here; accepted for kubectl's sake.
    #[arg(long)]
    server_side: bool,
    /// Ask the server to change nothing.
    #[arg(long, value_parser = ["server", "none"], default_value = "none")]
    dry_run: String,
}

pub async fn run(session: &Session, args: &ApplyArgs) -> anyhow::Result<()> {
    let resources = session.resources().await?;
    for object in documents(&args.filename)? {
        apply(session, &resources, args, &object).await?;
    }
    Ok(())
}

async fn apply(session: &Session, resources: &Resources, args: &ApplyArgs, object: &Value) -> anyhow::Result<()> {
    let (path, name) = target(session, resources, object)?;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("fieldManager", &args.field_manager).append_pair("fieldValidation", "Strict");
    if args.force_conflicts {
        query.append_pair("force", "true");
    }
    if args.dry_run == "server" {
        query.append_pair("dryRun", "All");
    }
    let body = serde_json::to_vec(object)?;
    session.send("PATCH", &format!("{path}?{}", query.finish()), "application/apply-patch+yaml", body).await?;
    let note = if args.dry_run == "server" { " (server dry run)" } else { "" };
    println!("{name} serverside-applied{note}");
    Ok(())
}

/// The path of a document's object, and how kubectl prints its name.
pub fn target(session: &Session, resources: &Resources, object: &Value) -> anyhow::Result<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resource = resources.of_kind(&text(&object["apiVersion"]), &text(&object["kind"]))?;
    let name = text(&object["metadata"]["name"]);
    if name.is_empty() {
        bail!("error: a {} without metadata.name", resource.kind);
    }
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&session.namespace);
    Ok((resource.path(Some(namespace), Some(&name)), format!("{}/{name}", resource.display())))
}

/// Every document of the files, Lists taken apart.
pub fn documents(files: &[PathBuf]) -> anyhow::Result<Vec<Value>> {
    let mut found = Vec::new();
    for file in files {
        for (name, text) in read(file)? {
            for document in serde_yaml_ng::Deserializer::from_str(&text) {
                let value = Value::deserialize(document).with_context(|| format!("error: error parsing {name}"))?;
                match value {
                    Value::Null => {}
                    mut list if list["kind"] == "List" => {
                        found.extend(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default());
                    }
                    object => found.push(object),
                }
            }
        }
    }
    if found.is_empty() {
        bail!("error: no objects passed to apply");
    }
    Ok(found)
}

fn read(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(vec![("standard input".to_owned(), text)]);
    }
    let one = |path: &Path| {
        let text = std::fs::read_to_string(path);
        text.map(|text| (path.display().to_string(), text)).with_context(|| format!("cannot read {}", path.display()))
    };
    if !path.is_dir() {
        return Ok(vec![one(path)?]);
    }
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json"));
    files.sort();
    files.iter().map(|file| one(file)).collect()
}
