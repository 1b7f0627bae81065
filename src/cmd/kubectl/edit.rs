//! `edit`: an object in the editor, and what was changed there sent as a patch. What the server finds invalid is opened
//! again with its reasons above it; what cannot be sent stays in its file.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;
use http::Request;
use serde_json::{Map, Value, json};

use super::resources::Resource;
use super::session::{Session, worded};

#[derive(Args)]
pub struct EditArgs {
    /// TYPE NAME…, or TYPE/NAME…
    #[arg(required = true)]
    what: Vec<String>,
}

pub async fn run(session: &Session, args: &EditArgs) -> anyhow::Result<()> {
    let resources = session.resources().await?;
    for (resource, names) in resources.targets(&args.what)? {
        if names.is_empty() {
            bail!("error: name is required");
        }
        for name in names {
            edit(session, resource, &name).await?;
        }
    }
    Ok(())
}

async fn edit(session: &Session, resource: &Resource, name: &str) -> anyhow::Result<()> {
    let path = session.path(resource, false, Some(name));
    let mut original = session.get(&path, "application/json").await?;
    original["metadata"].as_object_mut().map(|metadata| metadata.remove("managedFields"));
    let draft = Draft::new()?;
    let mut text = serde_yaml_ng::to_string(&original)?;
    let (mut reasons, mut sent) = (Vec::new(), None);
    loop {
        draft.write(&format!("{}{text}", header(&reasons)))?;
        open(&draft.path)?;
        text = without_comments(&draft.read()?);
        if text.trim().is_empty() {
            eprintln!("Edit cancelled, saved file was empty.");
            return draft.remove();
        }
        if sent.as_ref() == Some(&text) {
            bail!("{}\nerror: Edit cancelled, no valid changes were saved.", draft.kept());
        }
        sent = Some(text.clone());
        let edited: Value = match serde_yaml_ng::from_str(&text) {
            Ok(edited) => edited,
            Err(error) => {
                reasons = vec![format!("The edited file had a syntax error: {error}")];
                continue;
            }
        };
        if edited == original {
            eprintln!("Edit cancelled, no changes made.");
            return draft.remove();
        }
        if let Some(outcome) = refused(send(session, &path, &original, &edited).await, resource, name) {
            eprintln!("error: {} {name:?} {}", plural(resource), outcome.brief);
            let Some(why) = outcome.reasons else {
                bail!(
                    "{}\nYou can run `orch kubectl replace -f {}` to try this update again.",
                    draft.kept(),
                    draft.path.display()
                );
            };
            reasons = why;
            continue;
        }
        println!("{}/{name} edited", resource.display());
        return draft.remove();
    }
}

async fn send(session: &Session, path: &str, original: &Value, edited: &Value) -> Result<(), kube::Error> {
    let mut patch = changes(original, edited).unwrap_or_else(|| json!({}));
    // Lists are put in place of what is there: only of what was looked at.
    patch["metadata"]["resourceVersion"] = edited["metadata"]["resourceVersion"].clone();
    let request = Request::patch(format!("{path}?fieldManager=kubectl-edit&fieldValidation=Strict"))
        .header("content-type", "application/merge-patch+json")
        .body(patch.to_string().into_bytes());
    session.client.request::<Value>(request.map_err(kube::Error::HttpError)?).await.map(drop)
}

/// Why an edit was not taken, and what to say above the text where another try may help.
struct Refused {
    brief: String,
    reasons: Option<Vec<String>>,
}

fn refused(outcome: Result<(), kube::Error>, resource: &Resource, name: &str) -> Option<Refused> {
    let error = outcome.err()?;
    let kube::Error::Api(status) = &error else {
        return Some(Refused { brief: format!("could not be patched: {}", worded(error)), reasons: None });
    };
    Some(match status.reason.as_str() {
        "Invalid" => {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            let causes = causes.map(|cause| format!("* {}: {}", cause.field, cause.message));
            let head = format!("{} {name:?} was not valid:", plural(resource));
            Refused { brief: "is invalid".to_owned(), reasons: Some(std::iter::once(head).chain(causes).collect()) }
        }
        "BadRequest" => Refused { brief: "is invalid".to_owned(), reasons: Some(vec![status.message.clone()]) },
        "NotFound" => Refused { brief: "could not be found on the server".to_owned(), reasons: None },
        _ => Refused { brief: format!("could not be patched: {}", status.message), reasons: None },
    })
}

fn plural(resource: &Resource) -> String {
    match resource.group.as_str() {
        "" => resource.plural.clone(),
        group => format!("{}.{group}", resource.plural),
    }
}

/// The merge patch from one to the other; `None` where they are the same.
fn changes(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (key, value) in after {
        let change = before.get(key).map_or_else(|| Some(value.clone()), |was| changes(was, value));
        patch.extend(change.map(|change| (key.clone(), change)));
    }
    patch.extend(before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null)));
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn header(reasons: &[String]) -> String {
    let mut text = "# Please edit the object below. Lines beginning with a '#' will be ignored,\n\
                    # and an empty file will abort the edit. If an error occurs while saving this file will be\n\
                    # reopened with the relevant failures.\n#\n"
        .to_owned();
    for line in reasons.iter().flat_map(|reason| reason.lines()) {
        text.push_str(&format!("# {line}\n"));
    }
    if !reasons.is_empty() {
        text.push_str("#\n");
    }
    text
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

fn open(path: &Path) -> anyhow::Result<()> {
    let named = ["KUBE_EDITOR", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let editor = named.unwrap_or_else(|| "vi".to_owned());
    // It may have arguments of its own.
    let status = Command::new("sh").args(["-c", &format!("{editor} \"$0\"")]).arg(path).status();
    match status.with_context(|| format!("error: unable to launch the editor {editor:?}"))?.success() {
        true => Ok(()),
        false => bail!("error: there was a problem with the editor {editor:?}"),
    }
}

/// The file in the editor, for its owner only: it may be a Secret.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn new() -> anyhow::Result<Self> {
        let name = format!("kubectl-edit-{}-{}.yaml", std::process::id(), jiff::Timestamp::now().as_nanosecond());
        let path = std::env::temp_dir().join(name);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    fn write(&self, text: &str) -> anyhow::Result<()> {
        let mut file = OpenOptions::new().write(true).truncate(true).open(&self.path)?;
        Ok(file.write_all(text.as_bytes())?)
    }

    fn read(&self) -> anyhow::Result<String> {
        fs::read_to_string(&self.path).with_context(|| format!("cannot read {}", self.path.display()))
    }

    fn remove(self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.path)?)
    }

    fn kept(&self) -> String {
        format!("A copy of your changes has been stored to {:?}", self.path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_a_merge_patch() {
        let old = json!({"a": 1, "b": {"c": [1, 2], "d": "x"}, "e": true});
        for (new, patch) in [
            (old.clone(), None),
            (json!({"a": 2, "b": {"c": [1, 2], "d": "x"}, "e": true}), Some(json!({"a": 2}))),
            (json!({"a": 1, "b": {"c": [2], "d": "x"}}), Some(json!({"b": {"c": [2]}, "e": null}))),
            (json!({"a": 1, "b": "y", "e": true, "f": {}}), Some(json!({"b": "y", "f": {}}))),
        ] {
            assert_eq!(changes(&old, &new), patch, "{new}");
            if let Some(patch) = patch {
                let mut made = old.clone();
                json_patch::merge(&mut made, &patch);
                assert_eq!(made, new);
            }
        }
    }

    #[test]
    fn reasons_stand_above_the_text_and_go_again() {
        let text =
            format!("{}a: 1\n", header(&["pods \"p\" was not valid:".to_owned(), "* spec: two\nlines".to_owned()]));
        assert!(text.contains("#\n# pods \"p\" was not valid:\n# * spec: two\n# lines\n#\na: 1\n"), "{text}");
        assert_eq!(without_comments(&text), "a: 1\n");
    }
}
