//! `orch kubectl`: enough of kubectl for a machine that has nothing else. Tables are the server's
//! own, apply is server-side; every other kubectl works against the same server just as well.

mod api;
mod apply;
mod create;
mod delete;
mod describe;
mod edit;
mod exec;
mod explain;
mod get;
mod logs;
mod output;
mod patch;
mod resources;
mod rollout;
mod scale;
mod session;
mod wait;

pub use output::align;
pub use session::{Session, worded};

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Args)]
pub struct KubectlArgs {
    /// The kubeconfig to use [default: $KUBECONFIG, /etc/orch/orch.yaml, ~/.kube/config].
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Work in this namespace.
    #[arg(long, short, global = true, value_name = "NAME")]
    namespace: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show one or many objects, as the server's tables or in another form.
    Get(get::GetArgs),
    /// Show the details of objects and their events.
    Describe(describe::DescribeArgs),
    /// Make objects be as files say, by server-side apply.
    Apply(apply::ApplyArgs),
    /// Create the objects of files.
    Create(create::FileArgs),
    /// Put the objects of files in place of those that are there.
    Replace(create::FileArgs),
    /// Change objects in an editor ($KUBE_EDITOR, $EDITOR, or vi).
    Edit(edit::EditArgs),
    /// Change fields of objects.
    Patch(patch::PatchArgs),
    /// Set or remove labels.
    Label(patch::MarkArgs),
    /// Set or remove annotations.
    Annotate(patch::MarkArgs),
    /// Delete objects by file, by name or by selector.
    Delete(delete::DeleteArgs),
    /// Print the log of a container.
    Logs(logs::LogsArgs),
    /// Run a command in a container.
    Exec(exec::ExecArgs),
    /// Set the number of replicas.
    Scale(scale::ScaleArgs),
    /// Follow or restart a rollout.
    Rollout(rollout::RolloutArgs),
    /// Wait for a condition of objects.
    Wait(wait::WaitArgs),
    /// Tell what a type and its fields are for.
    Explain(explain::ExplainArgs),
    /// List the types that the server knows.
    ApiResources(api::ApiResourcesArgs),
    /// List the groups and versions that the server knows.
    ApiVersions,
}

pub fn run(args: KubectlArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let session = session::Session::open(args.kubeconfig.as_deref(), args.namespace).await?;
        match args.verb {
            Verb::Get(args) => get::run(&session, &args).await,
            Verb::Describe(args) => describe::run(&session, &args).await,
            Verb::Apply(args) => apply::run(&session, &args).await,
            Verb::Create(args) => create::create(&session, &args).await,
            Verb::Replace(args) => create::replace(&session, &args).await,
            Verb::Edit(args) => edit::run(&session, &args).await,
            Verb::Patch(args) => patch::run(&session, &args).await,
            Verb::Label(args) => patch::label(&session, &args).await,
            Verb::Annotate(args) => patch::annotate(&session, &args).await,
            Verb::Delete(args) => delete::run(&session, &args).await,
            Verb::Logs(args) => logs::run(&session, &args).await,
            Verb::Exec(args) => exec::run(&session, &args).await,
            Verb::Scale(args) => scale::run(&session, &args).await,
            Verb::Rollout(args) => rollout::run(&session, &args).await,
            Verb::Wait(args) => wait::run(&session, &args).await,
            Verb::Explain(args) => explain::run(&session, &args).await,
            Verb::ApiResources(args) => api::resources(&session, &args).await,
            Verb::ApiVersions => api::versions(&session).await,
        }
    });
    // A blocked read of the terminal must not hold the process.
    runtime.shutdown_background();
    done
}
