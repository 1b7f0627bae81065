//! `wait`: until a condition of objects holds, by watching, never by asking again and again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use futures::{AsyncBufReadExt, TryStreamExt};
use serde_json::Value;

use super::describe;
use super::resources::array;
use super::session::{Session, worded};
use crate::api::jsonpath::{Template, text};

#[derive(Args)]
pub struct WaitArgs {
    /// TYPE [NAME…], or TYPE/NAME…
    #[arg(required = true)]
    what: Vec<String>,
    /// create, delete, condition=NAME[=VALUE] or jsonpath={PATH}=VALUE.
    #[arg(long = "for", required = true, value_name = "CONDITION")]
    condition: Goal,
    /// Give up after this long, such as 30s, 5m or 1h.
    #[arg(long, default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// Only objects whose labels match.
    #[arg(long, short = 'l')]
    selector: Option<String>,
    /// Every object of the type.
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Debug)]
enum Goal {
    Create,
    Delete,
    Condition { name: String, status: String },
    JsonPath { path: Arc<Template>, value: Option<String> },
}

impl std::str::FromStr for Goal {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "create" => return Ok(Self::Create),
            "delete" => return Ok(Self::Delete),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix("condition=") {
            let (name, status) = rest.split_once('=').unwrap_or((rest, "True"));
            return Ok(Self::Condition { name: name.to_owned(), status: status.to_owned() });
        }
        let rest = text.strip_prefix("jsonpath=").ok_or("must be create, delete, condition=… or jsonpath=…")?;
        let rest = rest.trim_matches('\'');
        let close = rest.rfind('}').ok_or("the JSONPath must be in braces")?;
        let path = Template::relaxed(&rest[..=close]).map_err(|error| error.to_string())?.into();
        let value = rest[close + 1..].strip_prefix('=').map(str::to_owned);
        Ok(Self::JsonPath { path, value })
    }
}

impl Goal {
    /// Whether an existing object meets it.
    fn met(&self, object: &Value) -> bool {
        match self {
            Self::Create => true,
            Self::Delete => false,
            Self::Condition { name, status } => array(&object["status"]["conditions"]).iter().any(|condition| {
                let same =
                    |key: &str, wanted: &str| condition[key].as_str().is_some_and(|t| t.eq_ignore_ascii_case(wanted));
                same("type", name) && same("status", status)
            }),
            Self::JsonPath { path, value } => path.select(object).is_ok_and(|found| {
                found.iter().any(|found| value.as_ref().is_none_or(|wanted| *wanted == text(found)))
            }),
        }
    }
}

/// A duration as Go writes it: `90s`, `5m`, `1h30m`, or plain seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 30s, 5m or 1h30m");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let (mut total, mut rest) = (0u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].chars().next().ok_or_else(wrong)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return Err(wrong()),
        };
        total = number.checked_mul(seconds).and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
        rest = &rest[digits + 1..];
    }
    Ok(Duration::from_secs(total))
}

pub async fn run(session: &Session, args: &WaitArgs) -> anyhow::Result<()> {
    tokio::time::timeout(args.timeout, wait_all(session, args))
        .await
        .map_err(|_| anyhow!("error: timed out waiting for the condition on {}", args.what.join(" ")))?
}

async fn wait_all(session: &Session, args: &WaitArgs) -> anyhow::Result<()> {
    let resources = session.resources().await?;
    for (resource, mut names) in resources.targets(&args.what)? {
        if names.is_empty() {
            if !args.all && args.selector.is_none() {
                bail!("error: resource(s) were provided, but no name was specified");
            }
            let objects = describe::fetch(session, resource, &[], args.selector.as_deref()).await?;
            names = objects.iter().filter_map(|o| o["metadata"]["name"].as_str()).map(str::to_owned).collect();
            if names.is_empty() && !matches!(args.condition, Goal::Delete) {
                bail!("error: no matching resources found");
            }
        }
        for name in names {
            let collection = session.path(resource, false, None);
            match args.condition {
                Goal::Delete => until(session, &collection, &name, |object| object.is_none()).await?,
                Goal::Create => until(session, &collection, &name, |object| object.is_some()).await?,
                ref goal => until(session, &collection, &name, |o| o.is_some_and(|o| goal.met(o))).await?,
            }
            println!("{}/{name} condition met", resource.display());
        }
    }
    Ok(())
}

/// Waits until the object at `path` is gone or is another one than `uid`.
pub async fn until_gone(session: &Session, path: &str, uid: &str) -> anyhow::Result<()> {
    let (collection, name) = path.rsplit_once('/').context("a path without a name")?;
    until(session, collection, name, |object| object.is_none_or(|o| o["metadata"]["uid"] != uid)).await
}

/// Watches one name of a collection until `done` says so of its object (`None` while there is none).
pub async fn until(
    session: &Session,
    collection: &str,
    name: &str,
    done: impl Fn(Option<&Value>) -> bool,
) -> anyhow::Result<()> {
    let selector = format!("fieldSelector=metadata.name%3D{name}");
    loop {
        let list = session.get(&format!("{collection}?{selector}"), "application/json").await?;
        if done(array(&list["items"]).first()) {
            return Ok(());
        }
        let revision = list["metadata"]["resourceVersion"].as_str().unwrap_or("0");
        let path = format!("{collection}?watch=1&resourceVersion={revision}&{selector}");
        let request = http::Request::get(path).header("accept", "application/json").body(Vec::new())?;
        let mut lines = session.client.request_stream(request).await.map_err(worded)?.lines();
        // A watch that ends (the server restarted, history was compacted) starts over with a list.
        while let Ok(Some(line)) = lines.try_next().await {
            let event: Value = serde_json::from_str(&line)?;
            let object = &event["object"];
            match event["type"].as_str() {
                Some("ADDED" | "MODIFIED") if done(Some(object)) => return Ok(()),
                Some("DELETED") if done(None) => return Ok(()),
                Some("ERROR") => break,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn goals_parse_and_are_met() {
        let object = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}});
        let cases = [
            ("condition=Ready", false),
            ("condition=ready=false", true),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath={.status.phase}=Failed", false),
            ("jsonpath={.status.phase}", true),
            ("jsonpath='{.status.conditions[?(@.type==\"Ready\")].status}'=False", true),
            ("create", true),
        ];
        for (text, met) in cases {
            assert_eq!(text.parse::<Goal>().unwrap().met(&object), met, "{text}");
        }
        assert!("ready".parse::<Goal>().is_err());
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("45"), Ok(Duration::from_secs(45)));
        for wrong in ["", "m", "5x", "1h3"] {
            assert!(wrong.is_empty() || duration(wrong).is_err(), "{wrong}");
        }
    }
}
