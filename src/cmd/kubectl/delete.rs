//! `delete`: by file, by name or by selector; waits until the objects are gone.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::resources::Resource;
use super::session::Session;
use super::{apply, describe, wait};

#[derive(Args)]
pub struct DeleteArgs {
    /// TYPE [NAME…], or TYPE/NAME…
    #[arg(required_unless_present = "filename")]
    what: Vec<String>,
    /// Delete what these files describe.
    #[arg(long, short, conflicts_with = "what")]
    filename: Vec<PathBuf>,
    /// Every object of the type whose labels match.
    #[arg(long, short = 'l')]
    selector: Option<String>,
    /// Every object of the type.
    #[arg(long)]
    all: bool,
    /// Seconds that pods get to stop.
    #[arg(long)]
    grace_period: Option<i64>,
    /// Stop pods at once.
    #[arg(long)]
    force: bool,
    /// What happens to dependents.
    #[arg(long, value_parser = ["background", "foreground", "orphan"], default_value = "background")]
    cascade: String,
    /// Say nothing of what does not exist.
    #[arg(long)]
    ignore_not_found: bool,
    /// Return only when the objects are gone.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    wait: bool,
}

pub async fn run(session: &Session, args: &DeleteArgs) -> anyhow::Result<()> {
    let resources = session.resources().await?;
    let mut targets = Vec::new();
    if args.filename.is_empty() {
        for (resource, names) in resources.targets(&args.what)? {
            targets.extend(named(session, args, resource, names).await?);
        }
    } else {
        for object in apply::documents(&args.filename)? {
            targets.push(apply::target(session, &resources, &object)?);
        }
    }
    let mut gone = Vec::new();
    for (path, name) in targets {
        if let Some(uid) = delete(session, args, &path, &name).await? {
            gone.push((path, uid));
        }
    }
    if args.wait {
        for (path, uid) in gone {
            wait::until_gone(session, &path, &uid).await?;
        }
    }
    Ok(())
}

async fn named(
    session: &Session,
    args: &DeleteArgs,
    resource: &Resource,
    mut names: Vec<String>,
) -> anyhow::Result<Vec<(String, String)>> {
    if names.is_empty() {
        if !args.all && args.selector.is_none() {
            bail!("error: resource(s) were provided, but no name was specified");
        }
        let objects = describe::fetch(session, resource, &[], args.selector.as_deref()).await?;
        names = objects.iter().filter_map(|o| o["metadata"]["name"].as_str()).map(str::to_owned).collect();
    }
    let target =
        |name: String| (session.path(resource, false, Some(&name)), format!("{} \"{name}\"", resource.display()));
    Ok(names.into_iter().map(target).collect())
}

/// Deletes one object; gives its uid where it may take a while to go.
async fn delete(session: &Session, args: &DeleteArgs, path: &str, name: &str) -> anyhow::Result<Option<String>> {
    let mut propagation = args.cascade.clone();
    propagation[..1].make_ascii_uppercase();
    let grace = if args.force { Some(0) } else { args.grace_period };
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation, "gracePeriodSeconds": grace});
    let body = serde_json::to_vec(&options)?;
    let answer = match session.send("DELETE", path, "application/json", body).await {
        Ok(answer) => answer,
        Err(error) if args.ignore_not_found && error.to_string().contains("(NotFound)") => return Ok(None),
        Err(error) => return Err(error),
    };
    println!("{name} {}", if args.force { "force deleted" } else { "deleted" });
    let uid = match answer["kind"] == "Status" {
        true => &answer["details"]["uid"],
        false => &answer["metadata"]["uid"],
    };
    Ok(Value::as_str(uid).map(str::to_owned))
}
