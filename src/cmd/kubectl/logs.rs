//! `logs`: a container's log, copied to standard output as it comes.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use futures::AsyncReadExt as _;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::exec::stdio;
use super::session::{Session, worded};
use super::{describe, wait};

#[derive(Args)]
pub struct LogsArgs {
    /// A pod's name, or TYPE/NAME of something that has pods.
    pod: String,
    /// The container; needed only where a pod has several.
    #[arg(long, short)]
    container: Option<String>,
    /// Go on printing as the log grows.
    #[arg(long, short)]
    follow: bool,
    /// The log of the container's last run instead of this one.
    #[arg(long, short)]
    previous: bool,
    /// Put the time in front of each line.
    #[arg(long)]
    timestamps: bool,
    /// Only the last so many lines.
    #[arg(long)]
    tail: Option<i64>,
    /// Only lines younger than this, such as 10s or 5m.
    #[arg(long, value_parser = wait::duration)]
    since: Option<Duration>,
}

pub async fn run(session: &Session, args: &LogsArgs) -> anyhow::Result<()> {
    let pod = pod_of(session, &args.pod).await?;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, on) in [("follow", args.follow), ("previous", args.previous), ("timestamps", args.timestamps)] {
        if on {
            query.append_pair(name, "true");
        }
    }
    query.extend_pairs(args.container.as_ref().map(|name| ("container", name.clone())));
    query.extend_pairs(args.tail.map(|lines| ("tailLines", lines.to_string())));
    query.extend_pairs(args.since.map(|since| ("sinceSeconds", since.as_secs().max(1).to_string())));
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/log?{}", session.namespace, query.finish());
    let request = http::Request::get(path).body(Vec::new())?;
    let mut log = std::pin::pin!(session.client.request_stream(request).await.map_err(worded)?);
    let mut out = stdio(std::io::stdout())?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = log.read(&mut buffer).await?;
        if count == 0 {
            return Ok(out.flush().await?);
        }
        out.write_all(&buffer[..count]).await?;
        out.flush().await?;
    }
}

/// The pod named, or the first pod that a Deployment and the like selects.
pub async fn pod_of(session: &Session, name: &str) -> anyhow::Result<String> {
    let Some((kind, name)) = name.split_once('/') else { return Ok(name.to_owned()) };
    let resources = session.resources().await?;
    let resource = resources.find(kind)?;
    if resource.kind == "Pod" {
        return Ok(name.to_owned());
    }
    let object = session.get(&session.path(resource, false, Some(name)), "application/json").await?;
    let selector = &object["spec"]["selector"];
    let labels = selector["matchLabels"].as_object().or(selector.as_object());
    let labels = labels.with_context(|| format!("error: {} has no pods of its own", resource.display()))?;
    let pairs: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    let pods = describe::fetch(session, resources.find("pods")?, &[], Some(&pairs.join(","))).await?;
    // As kubectl ranks them: a running one that stays before all others.
    let rank = |pod: &&Value| (!pod["metadata"]["deletionTimestamp"].is_null(), pod["status"]["phase"] != "Running");
    match pods.iter().min_by_key(rank).and_then(|pod| pod["metadata"]["name"].as_str()) {
        Some(pod) => Ok(pod.to_owned()),
        None => bail!("error: no pods found for {kind}/{name}"),
    }
}
