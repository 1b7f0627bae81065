//! `rollout`: follow a Deployment's rollout to its end, or start a new one.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::resources::array;
use super::session::Session;
use super::wait;

#[derive(Args)]
pub struct RolloutArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Wait until the newest version is everywhere.
    Status {
        /// TYPE NAME, or TYPE/NAME.
        #[arg(required = true)]
        what: Vec<String>,
        /// Give up after this long.
        #[arg(long, value_parser = wait::duration)]
        timeout: Option<Duration>,
    },
    /// Replace every pod by a new one of the same version.
    Restart {
        /// TYPE NAME, or TYPE/NAME.
        #[arg(required = true)]
        what: Vec<String>,
    },
}

pub async fn run(session: &Session, args: &RolloutArgs) -> anyhow::Result<()> {
    match &args.action {
        Action::Status { what, timeout } => {
            let follow = status(session, what);
            match timeout {
                Some(limit) => {
                    let done = tokio::time::timeout(*limit, follow).await;
                    done.map_err(|_| anyhow!("error: timed out waiting for the condition"))?
                }
                None => follow.await,
            }
        }
        Action::Restart { what } => restart(session, what).await,
    }
}

async fn status(session: &Session, what: &[String]) -> anyhow::Result<()> {
    let resources = session.resources().await?;
    for (resource, names) in resources.targets(what)? {
        if resource.kind != "Deployment" {
            bail!("error: no status viewer has been implemented for {}", resource.kind);
        }
        for name in names {
            // The server's answer for a name that is not there.
            session.get(&session.path(resource, false, Some(&name)), "application/json").await?;
            let said = RefCell::new(String::new());
            let failed = RefCell::new(None);
            let collection = session.path(resource, false, None);
            wait::until(session, &collection, &name, |object| {
                let Some(object) = object else { return false };
                let (message, progress) = progress(&name, object);
                if *said.borrow() != message && progress != Progress::Failed {
                    println!("{message}");
                }
                if progress == Progress::Failed {
                    *failed.borrow_mut() = Some(message.clone());
                }
                *said.borrow_mut() = message;
                progress != Progress::Waiting
            })
            .await?;
            if let Some(message) = failed.take() {
                bail!("error: {message}");
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    Done,
    Failed,
}

/// kubectl's own sentences for the stages of a Deployment's rollout.
fn progress(name: &str, object: &Value) -> (String, Progress) {
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let (spec, status) = (&object["spec"], &object["status"]);
    if number(&object["metadata"]["generation"]) > number(&status["observedGeneration"]) {
        return ("Waiting for deployment spec update to be observed...".to_owned(), Progress::Waiting);
    }
    let late = |c: &&Value| c["type"] == "Progressing" && c["reason"] == "ProgressDeadlineExceeded";
    if array(&status["conditions"]).iter().find(late).is_some() {
        return (format!("deployment \"{name}\" exceeded its progress deadline"), Progress::Failed);
    }
    let wanted = spec["replicas"].as_i64().unwrap_or(1);
    let (all, updated, ready) =
        (number(&status["replicas"]), number(&status["updatedReplicas"]), number(&status["availableReplicas"]));
    let waiting = format!("Waiting for deployment \"{name}\" rollout to finish:");
    if updated < wanted {
        return (format!("{waiting} {updated} out of {wanted} new replicas have been updated..."), Progress::Waiting);
    }
    if all > updated {
        return (format!("{waiting} {} old replicas are pending termination...", all - updated), Progress::Waiting);
    }
    if ready < updated {
        return (format!("{waiting} {ready} of {updated} updated replicas are available..."), Progress::Waiting);
    }
    (format!("deployment \"{name}\" successfully rolled out"), Progress::Done)
}

async fn restart(session: &Session, what: &[String]) -> anyhow::Result<()> {
    let resources = session.resources().await?;
    for (resource, names) in resources.targets(what)? {
        for name in names {
            let stamp = json!({"kubectl.kubernetes.io/restartedAt": jiff::Timestamp::now().to_string()});
            let patch = json!({"spec": {"template": {"metadata": {"annotations": stamp}}}});
            let path = session.path(resource, false, Some(&name));
            session.send("PATCH", &path, "application/merge-patch+json", serde_json::to_vec(&patch)?).await?;
            println!("{}/{name} restarted", resource.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(observed: i64, replicas: i64, updated: i64, available: i64) -> Value {
        json!({
            "metadata": {"generation": 2},
            "spec": {"replicas": 3},
            "status": {"observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available},
        })
    }

    #[test]
    fn a_rollout_goes_through_its_stages() {
        let cases = [
            (deployment(1, 0, 0, 0), "spec update", Progress::Waiting),
            (deployment(2, 3, 1, 3), "1 out of 3 new", Progress::Waiting),
            (deployment(2, 4, 3, 3), "1 old replicas", Progress::Waiting),
            (deployment(2, 3, 3, 2), "2 of 3 updated", Progress::Waiting),
            (deployment(2, 3, 3, 3), "successfully", Progress::Done),
        ];
        for (object, words, stage) in cases {
            let (message, found) = progress("web", &object);
            assert!(message.contains(words) && found == stage, "{message}");
        }
        let mut late = deployment(2, 3, 1, 0);
        late["status"]["conditions"] = json!([{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]);
        assert_eq!(progress("web", &late).1, Progress::Failed);
    }
}
