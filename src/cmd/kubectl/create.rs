//! `create -f` and `replace -f`: objects as the files say, made anew or put in place of what is there.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use serde_json::Value;

use super::apply::{documents, target};
use super::resources::Resources;
use super::session::Session;

#[derive(Args)]
pub struct FileArgs {
    /// A file, a folder of .yaml, .yml and .json files, or - for standard input; may be repeated.
    #[arg(long, short, required = true)]
    filename: Vec<PathBuf>,
}

pub async fn create(session: &Session, args: &FileArgs) -> anyhow::Result<()> {
    let resources = session.resources().await?;
    for object in documents(&args.filename)? {
        let path = collection(session, &resources, &object)?;
        let made = session.send("POST", &format!("{path}?{QUERY}"), JSON, serde_json::to_vec(&object)?).await?;
        // The server may have chosen the name.
        let (_, name) = target(session, &resources, &made)?;
        println!("{name} created");
    }
    Ok(())
}

pub async fn replace(session: &Session, args: &FileArgs) -> anyhow::Result<()> {
    let resources = session.resources().await?;
    for object in documents(&args.filename)? {
        let (path, name) = target(session, &resources, &object)?;
        session.send("PUT", &format!("{path}?{QUERY}"), JSON, serde_json::to_vec(&object)?).await?;
        println!("{name} replaced");
    }
    Ok(())
}

const JSON: &str = "application/json";
const QUERY: &str = "fieldManager=kubectl-create&fieldValidation=Strict";

fn collection(session: &Session, resources: &Resources, object: &Value) -> anyhow::Result<String> {
    let text = |field: &str| object[field].as_str().ok_or_else(|| anyhow!("error: {field} not set"));
    let resource = resources.of_kind(text("apiVersion")?, text("kind")?)?;
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&session.namespace);
    Ok(resource.path(Some(namespace), None))
}
