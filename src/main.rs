//! The executable: parses the command line, runs the subcommand and is the only place that exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch::cmd::main(std::env::args_os().collect())
}
