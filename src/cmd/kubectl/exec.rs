//! `exec`: a command in a running container, its streams joined with the terminal's.

use std::os::fd::AsFd;

use anyhow::bail;
use clap::Args;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, TerminalSize};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};

use super::logs::pod_of;
use super::session::{Session, worded};

#[derive(Args)]
pub struct ExecArgs {
    /// A pod's name, or TYPE/NAME of something that has pods.
    pod: String,
    /// The container; the first one unless given.
    #[arg(long, short)]
    container: Option<String>,
    /// Pass this terminal's input on.
    #[arg(long, short = 'i')]
    stdin: bool,
    /// Give the command a terminal.
    #[arg(long, short = 't')]
    tty: bool,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub async fn run(session: &Session, args: &ExecArgs) -> anyhow::Result<()> {
    let pod = pod_of(session, &args.pod).await?;
    let mut params = AttachParams { container: args.container.clone(), ..AttachParams::default() };
    params = params.stdin(args.stdin).tty(args.tty).stdout(true).stderr(!args.tty);
    let pods: Api<Pod> = Api::namespaced(session.client.clone(), &session.namespace);
    let mut process = pods.exec(&pod, args.command.iter(), &params).await.map_err(worded)?;
    let raw = args.tty.then(RawTerminal::enter).flatten();
    let status = process.take_status();
    let (output, errors, input) = (process.stdout(), process.stderr(), process.stdin());
    let sizes = process.terminal_size();
    if let Some(mut input) = input {
        let mut stdin = stdio(std::io::stdin())?;
        tokio::spawn(async move {
            let _ = tokio::io::copy(&mut stdin, &mut input).await;
            let _ = input.shutdown().await;
        });
    }
    if let Some(sizes) = sizes {
        tokio::spawn(send_sizes(sizes));
    }
    tokio::join!(pass_on(output, stdio(std::io::stdout())?), pass_on(errors, stdio(std::io::stderr())?));
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    drop(raw);
    match status {
        Some(status) if status.status.as_deref() != Some("Success") => bail!("{}", status.message.unwrap_or_default()),
        _ => Ok(()),
    }
}

/// Copies until the stream ends, each piece as it comes.
async fn pass_on(from: Option<impl AsyncRead + Unpin>, mut to: File) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        // Whoever reads us may have gone; then the rest has no reader either.
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

/// One of this process's own streams.
pub fn stdio(stream: impl AsFd) -> std::io::Result<File> {
    Ok(File::from_std(std::fs::File::from(stream.as_fd().try_clone_to_owned()?)))
}

/// Tells the other side the terminal's size, now and whenever it changes.
async fn send_sizes(mut sizes: futures::channel::mpsc::Sender<TerminalSize>) {
    use futures::SinkExt as _;
    let Ok(mut changed) = signal(SignalKind::window_change()) else { return };
    while let Ok(size) = tcgetwinsize(std::io::stdin()) {
        let size = TerminalSize { width: size.ws_col, height: size.ws_row };
        if sizes.send(size).await.is_err() || changed.recv().await.is_none() {
            return;
        }
    }
}

/// The terminal passes every key on; dropped, it is as before.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
