//! `patch`, and `label` and `annotate`, which are patches of the metadata.

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::session::Session;

#[derive(Args)]
pub struct PatchArgs {
    /// TYPE NAME…, or TYPE/NAME…
    #[arg(required = true)]
    what: Vec<String>,
    /// The patch, as JSON or YAML.
    #[arg(long, short)]
    patch: String,
    /// The kind of patch.
    #[arg(long = "type", value_enum, default_value = "strategic")]
    kind: Kind,
    /// Patch this subresource.
    #[arg(long)]
    subresource: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Json,
    Merge,
    Strategic,
}

impl Kind {
    fn media(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

pub async fn run(session: &Session, args: &PatchArgs) -> anyhow::Result<()> {
    let patch: Value = serde_yaml_ng::from_str(&args.patch)?;
    let sub = args.subresource.as_deref().map(|sub| format!("/{sub}")).unwrap_or_default();
    send(session, &args.what, &sub, args.kind, &patch, "patched").await
}

#[derive(Args)]
pub struct MarkArgs {
    /// TYPE NAME… or TYPE/NAME…, then KEY=VALUE to set and KEY- to remove
    #[arg(required = true)]
    words: Vec<String>,
}

pub async fn label(session: &Session, args: &MarkArgs) -> anyhow::Result<()> {
    mark(session, args, "labels", "labeled").await
}

pub async fn annotate(session: &Session, args: &MarkArgs) -> anyhow::Result<()> {
    mark(session, args, "annotations", "annotated").await
}

async fn mark(session: &Session, args: &MarkArgs, field: &str, done: &str) -> anyhow::Result<()> {
    let (what, marks) = split(&args.words)?;
    let patch = json!({"metadata": {(field): marks}});
    send(session, &what, "", Kind::Merge, &patch, done).await
}

/// Objects first, then what to set and (with null) to remove.
fn split(words: &[String]) -> anyhow::Result<(Vec<String>, Map<String, Value>)> {
    let is_mark = |word: &&String| word.contains('=') || word.ends_with('-');
    let at = words.iter().position(|word| is_mark(&word)).unwrap_or(words.len());
    let (what, marks) = words.split_at(at);
    if what.is_empty() {
        bail!("error: one or more resources must be specified as <resource> <name> or <resource>/<name>");
    }
    let mut found = Map::new();
    for word in marks {
        let (key, value) = match (word.split_once('='), word.strip_suffix('-')) {
            (Some((key, value)), _) => (key, Value::from(value)),
            (None, Some(key)) => (key, Value::Null),
            (None, None) => bail!("error: all resources must be specified before changes: {word}"),
        };
        found.insert(key.to_owned(), value);
    }
    if found.is_empty() {
        bail!("error: at least one change is required");
    }
    Ok((what.to_vec(), found))
}

async fn send(
    session: &Session,
    what: &[String],
    sub: &str,
    kind: Kind,
    patch: &Value,
    done: &str,
) -> anyhow::Result<()> {
    let resources = session.resources().await?;
    let body = serde_json::to_vec(patch)?;
    for (resource, names) in resources.targets(what)? {
        if names.is_empty() {
            bail!("error: name is required");
        }
        for name in names {
            let path = format!("{}{sub}", session.path(resource, false, Some(&name)));
            session.send("PATCH", &path, kind.media(), body.clone()).await?;
            println!("{}/{name} {done}", resource.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_follow_objects() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (what, marks) = split(&words("pod a-b c x=1 y- z=a=b")).unwrap();
        assert_eq!(what, ["pod", "a-b", "c"]);
        assert_eq!(Value::from(marks), json!({"x": "1", "y": null, "z": "a=b"}));
        for wrong in ["x=1", "pod a", "pod a x=1 b"] {
            assert!(split(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
