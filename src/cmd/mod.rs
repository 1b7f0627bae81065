//! The subcommands, one file each: the composition roots that name concrete types. Nothing imports
//! this module but `main`.

mod agent;
mod certificate;
mod clock;
mod completion;
mod config;
mod daemon;
mod doctor;
mod image;
mod kubectl;
mod manifests;
mod node_address;
mod notify;
mod pause;
mod pidfile;
mod preflight;
mod resident;
mod secrets_encrypt;
mod server;
mod stop;
mod teardown;
mod token;
mod uninstall;
mod version;
mod whoami;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// A complete Kubernetes in one static executable.
#[derive(Parser)]
#[command(name = "orch", version = version::SHORT, propagate_version = true, args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a server: API, store, scheduler, controllers and, unless told not to, an agent.
    Server(Box<config::ServerArgs>),
    /// Run a node that joins a server elsewhere.
    Agent(Box<config::AgentArgs>),
    /// Stop the server or agent on this machine.
    Stop(Box<stop::StopArgs>),
    /// Remove everything that orch made on this machine.
    Uninstall(Box<uninstall::UninstallArgs>),
    /// Import, list and remove the images on this node.
    Image(Box<image::ImageArgs>),
    /// Look at this machine, before the start or while orch runs, and say what is wrong with it and how to mend it.
    Doctor(Box<doctor::DoctorArgs>),
    /// Look at the server's certificates, or have them made anew.
    Certificate(Box<certificate::CertificateArgs>),
    /// Make, list and delete the tokens by which machines join.
    Token(Box<token::TokenArgs>),
    /// Work with a cluster: the verbs of kubectl that a machine needs when it has no kubectl.
    Kubectl(kubectl::KubectlArgs),
    /// Encrypt Secrets on the server's disk, change the key, or tell how they lie there.
    SecretsEncrypt(secrets_encrypt::SecretsEncryptArgs),
    /// Print a completion script for a shell.
    Completion(completion::CompletionArgs),
    /// Print the version of orch and of the Kubernetes API it serves.
    Version,
    /// Answer HTTP requests with the name, address and node of this pod (the demo's image).
    Whoami(whoami::WhoamiArgs),
    /// Keep the process namespace that the containers of a pod share.
    #[command(hide = true)]
    Pause,
}

/// Runs `orch` with the arguments given, the program's name first.
pub fn main(mut args: Vec<OsString>) -> ExitCode {
    // A link called kubectl is kubectl.
    if args.first().is_some_and(|program| Path::new(program).file_name() == Some("kubectl".as_ref())) {
        args.insert(1, "kubectl".into());
    }
    let args = match config::with_file(args, &Cli::command()) {
        Ok(args) => args,
        Err(error) => return fail(&error),
    };
    let matches = Cli::command().get_matches_from(args);
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let result: anyhow::Result<()> = match cli.command {
        Command::Server(args) => server::run(*args),
        Command::Agent(args) => agent::run(&args),
        Command::Stop(args) => stop::run(&args),
        Command::Uninstall(args) => uninstall::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Doctor(args) => {
            return doctor::run(&args).unwrap_or_else(|error| fail(&error));
        }
        Command::Certificate(args) => certificate::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Kubectl(args) => kubectl::run(args),
        Command::SecretsEncrypt(args) => secrets_encrypt::run(&args),
        Command::Completion(args) => completion::run(&args),
        Command::Version => version::run(),
        Command::Whoami(args) => whoami::run(&args),
        Command::Pause => pause::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// One line that says what is wrong, with its causes behind colons.
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("orch: {error:#}");
    ExitCode::FAILURE
}
