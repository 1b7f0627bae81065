//! `scale`: the number of replicas, through the scale subresource.

use clap::Args;
use serde_json::json;

use super::session::Session;

#[derive(Args)]
pub struct ScaleArgs {
    /// TYPE NAME…, or TYPE/NAME…
    #[arg(required = true)]
    what: Vec<String>,
    /// The number wanted.
    #[arg(long, required = true)]
    replicas: u32,
}

pub async fn run(session: &Session, args: &ScaleArgs) -> anyhow::Result<()> {
    let resources = session.resources().await?;
    for (resource, names) in resources.targets(&args.what)? {
        for name in names {
            let path = format!("{}/scale", session.path(resource, false, Some(&name)));
            let patch = json!({"spec": {"replicas": args.replicas}});
            session.send("PATCH", &path, "application/merge-patch+json", serde_json::to_vec(&patch)?).await?;
            println!("{}/{name} scaled", resource.display());
        }
    }
    Ok(())
}
