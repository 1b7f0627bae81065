//! `orch completion`: a completion script on standard output.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

#[derive(Args)]
pub struct CompletionArgs {
    /// The shell that will read the script.
    shell: Shell,
}

pub fn run(args: &CompletionArgs) -> anyhow::Result<()> {
    clap_complete::generate(args.shell, &mut super::Cli::command(), "orch", &mut std::io::stdout());
    Ok(())
}
