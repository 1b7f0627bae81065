//! `api-resources` and `api-versions`: what the server serves.

use clap::Args;

use super::output::align;
use super::resources::Resource;
use super::session::Session;

#[derive(Args)]
pub struct ApiResourcesArgs {
    /// Only those of this group; empty for the core group.
    #[arg(long)]
    api_group: Option<String>,
    /// Only those that are in namespaces, or only those that are not.
    #[arg(long)]
    namespaced: Option<bool>,
}

pub async fn resources(session: &Session, args: &ApiResourcesArgs) -> anyhow::Result<()> {
    let mut all = session.resources().await?.0;
    all.retain(|one| args.api_group.as_ref().is_none_or(|group| *group == one.group));
    all.retain(|one| args.namespaced.is_none_or(|namespaced| namespaced == one.namespaced));
    let head = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"].map(str::to_owned).to_vec();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(all.iter().map(line)).collect();
    print!("{}", align(&lines));
    Ok(())
}

fn line(resource: &Resource) -> Vec<String> {
    vec![
        resource.plural.clone(),
        resource.short_names.join(","),
        crate::api::gvk::api_version(&resource.group, &resource.version),
        resource.namespaced.to_string(),
        resource.kind.clone(),
    ]
}

pub async fn versions(session: &Session) -> anyhow::Result<()> {
    let all = session.resources().await?.0;
    let mut versions: Vec<_> =
        all.iter().map(|one| crate::api::gvk::api_version(&one.group, &one.version).to_string()).collect();
    versions.sort();
    versions.dedup();
    for version in versions {
        println!("{version}");
    }
    Ok(())
}
