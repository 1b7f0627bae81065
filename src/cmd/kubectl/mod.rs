//! `orch kubectl`: enough of kubectl for a machine that has nothing else. Tables are the server's
//! own, apply is server-side; every other kubectl works against the same server just as well.

mod apply;
mod delete;
mod describe;
mod exec;
mod get;
mod logs;
mod output;
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
}

pub fn run(args: KubectlArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let session = session::Session::open(args.kubeconfig.as_deref(), args.namespace).await?;
        match args.verb {
            Verb::Get(args) => get::run(&session, &args).await,
            Verb::Describe(args) => describe::run(&session, &args).await,
            Verb::Apply(args) => apply::run(&session, &args).await,
            Verb::Delete(args) => delete::run(&session, &args).await,
            Verb::Logs(args) => logs::run(&session, &args).await,
            Verb::Exec(args) => exec::run(&session, &args).await,
            Verb::Scale(args) => scale::run(&session, &args).await,
            Verb::Rollout(args) => rollout::run(&session, &args).await,
            Verb::Wait(args) => wait::run(&session, &args).await,
        }
    });
    // A blocked read of the terminal must not hold the process.
    runtime.shutdown_background();
    done
}
