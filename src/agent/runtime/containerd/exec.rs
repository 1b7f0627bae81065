//! Further processes in a running container, and joining the streams of its first one. Knows pipes and
//! containerd's exec calls; the protocol towards the client is the kubelet's.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use containerd_client::services::v1::{
    CloseIoRequest, DeleteProcessRequest, ExecProcessRequest, GetContainerRequest, KillRequest, ResizePtyRequest,
    StartRequest, WaitRequest,
};
use futures::FutureExt;
use futures::future::{BoxFuture, Either, ready, select};
use prost_types::Any;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::client::{Client, optional, rpc};
use super::containers::{Containers, Entry};
use super::fifo::{self, Fifos};
use super::logs::{Output, Stream};
use super::spec::PROCESS_TYPE;
use crate::agent::runtime::{
    AttachSpec, Error, ExecOutput, ExecSpec, Reader, RuntimeEvent, StdioSession, TerminalSize, Writer,
};

/// What exec_sync keeps of each stream; the rest is read and dropped.
const MAX_OUTPUT: u64 = 16 << 20;
/// A child left behind in the background may hold the pipes; its output is not waited for.
const DRAIN: Duration = Duration::from_secs(1);
const SIGKILL: u32 = 9;
/// Bytes between the pump and a slow attached client.
const ATTACH_BUFFER: usize = 64 << 10;

/// A process of a container: the first one when `exec_id` is empty.
#[derive(Clone)]
struct Target {
    client: Client,
    container_id: String,
    exec_id: String,
}

impl Target {
    async fn close_stdin(self) {
        let request = CloseIoRequest { container_id: self.container_id, exec_id: self.exec_id, stdin: true };
        if let Err(error) = self.client.tasks().close_io(self.client.request(request)).await {
            tracing::debug!(%error, "closing standard input");
        }
    }

    async fn wait(self) -> Result<i32, Error> {
        let request = WaitRequest { container_id: self.container_id, exec_id: self.exec_id };
        let answer = self.client.tasks().wait(self.client.request(request)).await.map_err(rpc("wait for process"))?;
        Ok(answer.into_inner().exit_status.cast_signed())
    }

    async fn delete(self) {
        let request = DeleteProcessRequest { container_id: self.container_id, exec_id: self.exec_id };
        if let Err(error) = optional(self.client.tasks().delete_process(self.client.request(request)).await) {
            tracing::debug!(%error, "deleting an ended process");
        }
    }

    async fn kill(&self) -> Result<(), Error> {
        let request = KillRequest {
            container_id: self.container_id.clone(),
            exec_id: self.exec_id.clone(),
            signal: SIGKILL,
            all: false,
        };
        optional(self.client.tasks().kill(self.client.request(request)).await).map(drop).map_err(rpc("kill process"))
    }

    /// Passes window sizes on, until the client leaves.
    fn resizer(&self) -> mpsc::Sender<TerminalSize> {
        let (sender, mut receiver) = mpsc::channel::<TerminalSize>(4);
        let target = self.clone();
        tokio::spawn(async move {
            while let Some(size) = receiver.recv().await {
                let request = ResizePtyRequest {
                    container_id: target.container_id.clone(),
                    exec_id: target.exec_id.clone(),
                    width: u32::from(size.width),
                    height: u32::from(size.height),
                };
                if let Err(error) = target.client.tasks().resize_pty(target.client.request(request)).await {
                    tracing::debug!(%error, "resizing a terminal");
                }
            }
        });
        sender
    }
}

type Exit = BoxFuture<'static, Result<i32, Error>>;

/// Starts the process; its streams are open when this returns.
async fn launch(containers: &Containers, id: &str, spec: &ExecSpec) -> Result<(Target, StdioSession), Error> {
    let entry = containers.get(id)?;
    if !entry.running() {
        return Err(Error::NotRunning { id: id.to_owned() });
    }
    let client = containers.client.clone();
    let exec_id = format!("exec-{}", super::random_hex());
    let target = Target { client: client.clone(), container_id: id.to_owned(), exec_id: exec_id.clone() };
    let process = process(&client, id, spec).await?;
    let dir = containers.io_dir(id);
    let fifos = Fifos::paths(&dir, &format!("{exec_id}-"), spec.stdin, true, !spec.tty);
    fifos.create(&dir)?;
    let request = ExecProcessRequest {
        container_id: id.to_owned(),
        stdin: Fifos::name(fifos.stdin.as_ref()),
        stdout: Fifos::name(fifos.stdout.as_ref()),
        stderr: Fifos::name(fifos.stderr.as_ref()),
        terminal: spec.tty,
        spec: Some(Any { type_url: PROCESS_TYPE.to_owned(), value: process.to_string().into_bytes() }),
        exec_id: exec_id.clone(),
    };
    let result = start(&target, request, &fifos, spec).await;
    // The shim has its ends open by now, or never will.
    fifos.remove();
    result.map(|session| (target, session))
}

async fn start(
    target: &Target,
    request: ExecProcessRequest,
    fifos: &Fifos,
    spec: &ExecSpec,
) -> Result<StdioSession, Error> {
    let failed = |status: tonic::Status| Error::Exec { message: status.message().to_owned() };
    let output = |path: Option<&std::path::PathBuf>| path.map(|path| fifo::open_output(path)).transpose();
    let (stdout, stderr) = (output(fifos.stdout.as_ref())?, output(fifos.stderr.as_ref())?);
    let stdin = fifos.stdin.as_deref().map(fifo::open_input).transpose()?;
    let client = &target.client;
    client.tasks().exec(client.request(request)).await.map_err(failed)?;
    let start = StartRequest { container_id: target.container_id.clone(), exec_id: target.exec_id.clone() };
    let mut tasks = client.tasks();
    // How it ends is asked before it starts: it may end its container, and nobody would know it any more.
    let (started, exit) = match select(target.clone().wait().boxed(), tasks.start(client.request(start)).boxed()).await
    {
        Either::Right((started, exit)) => (started, exit),
        Either::Left((Ok(code), starting)) => (starting.await, ready(Ok(code)).boxed()),
        Either::Left((Err(_), starting)) => (starting.await, target.clone().wait().boxed()),
    };
    if let Err(status) = started {
        target.clone().delete().await;
        return Err(failed(status));
    }
    let (held, all_read) = mpsc::channel::<()>(1);
    let reader = |output: Option<fifo::Output>, wanted: bool| -> Option<Reader> {
        let reader = output?.reader;
        let reader = Held { reader, _held: held.clone() };
        if wanted {
            return Some(Box::pin(reader));
        }
        // Somebody has to empty the pipe, or the process would block on it.
        tokio::spawn(discard(reader));
        None
    };
    Ok(StdioSession {
        stdin: stdin.map(|pipe| Box::pin(Stdin::new(pipe, Some(target.clone()))) as Writer),
        stdout: reader(stdout, spec.stdout),
        stderr: reader(stderr, spec.stderr),
        resize: spec.tty.then(|| target.resizer()),
        exit: reap(target.clone(), exit, all_read),
    })
}

/// The exit code as a future that goes on without being polled: the process is deleted in any case, but not
/// before its output was read, because the shim closes the pipes then.
fn reap(target: Target, exit: Exit, mut all_read: mpsc::Receiver<()>) -> Exit {
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let _ = sender.send(exit.await);
        // Nothing is ever sent: this ends when the last reader is dropped.
        let _ = all_read.recv().await;
        target.delete().await;
    });
    async move { receiver.await.unwrap_or_else(|_| Err(Error::Exec { message: "orch is stopping".to_owned() })) }
        .boxed()
}

/// The container's own process, with another command line and without its terminal.
async fn process(client: &Client, id: &str, spec: &ExecSpec) -> Result<serde_json::Value, Error> {
    let request = client.request(GetContainerRequest { id: id.to_owned() });
    let answer = client.containers().get(request).await.map_err(rpc("get container"))?.into_inner();
    let stored = answer.container.and_then(|container| container.spec).unwrap_or_default();
    let whole: serde_json::Value = serde_json::from_slice(&stored.value)
        .map_err(|error| Error::Exec { message: format!("the specification of {id:?} cannot be read: {error}") })?;
    let mut process = whole["process"].clone();
    process["args"] = serde_json::json!(spec.command);
    process["terminal"] = serde_json::json!(spec.tty);
    if let (true, Some(env)) = (spec.tty, process["env"].as_array_mut())
        && !env.iter().any(|pair| pair.as_str().is_some_and(|pair| pair.starts_with("TERM=")))
    {
        env.push("TERM=xterm".into());
    }
    Ok(process)
}

pub(super) async fn exec(containers: &Containers, id: &str, spec: &ExecSpec) -> Result<StdioSession, Error> {
    launch(containers, id, spec).await.map(|(_, session)| session)
}

pub(super) async fn exec_sync(
    containers: &Containers,
    id: &str,
    command: &[String],
    timeout: Option<Duration>,
) -> Result<ExecOutput, Error> {
    let spec = ExecSpec { command: command.to_vec(), stdout: true, stderr: true, ..ExecSpec::default() };
    let (target, mut session) = launch(containers, id, &spec).await?;
    let (stdout, stderr) = (collect(session.stdout.take()), collect(session.stderr.take()));
    let deadline = timeout.map_or(Duration::MAX, |timeout| timeout);
    let exit_code = match tokio::time::timeout(deadline, session.exit).await {
        Ok(exit) => exit?,
        Err(_) => {
            target.kill().await?;
            return Err(Error::ExecTimeout { timeout: deadline });
        }
    };
    let (stdout, stderr) = futures::join!(stdout.finish(), stderr.finish());
    Ok(ExecOutput { exit_code, stdout, stderr })
}

/// Reads a stream beside everything else; what came by the deadline is kept.
struct Collector {
    bytes: Arc<parking_lot::Mutex<Vec<u8>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    async fn finish(mut self) -> Vec<u8> {
        let _ = tokio::time::timeout(DRAIN, &mut self.task).await;
        std::mem::take(&mut *self.bytes.lock())
    }
}

fn collect(reader: Option<Reader>) -> Collector {
    let bytes = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let kept = bytes.clone();
    let task = tokio::spawn(async move {
        let Some(mut reader) = reader else { return };
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            let mut kept = kept.lock();
            if (kept.len() as u64) < MAX_OUTPUT {
                kept.extend_from_slice(&buffer[..count]);
            }
        }
    });
    Collector { bytes, task }
}

async fn discard(mut reader: Held) {
    let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
}

/// Joins a running container. Output begins now.
pub(super) fn attach(
    containers: &Containers,
    id: &str,
    spec: &AttachSpec,
    events: broadcast::Receiver<RuntimeEvent>,
) -> Result<StdioSession, Error> {
    let entry = containers.get(id)?;
    let not_running = || Error::NotRunning { id: id.to_owned() };
    if !entry.running() {
        return Err(not_running());
    }
    let subscribe = || entry.pump.lock().as_ref().map(super::logs::Pump::subscribe).ok_or_else(not_running);
    let reader = |wanted: bool, stream: Stream| -> Result<Option<Reader>, Error> {
        wanted.then(|| subscribe().map(|output| relay(output, stream))).transpose()
    };
    let record = &entry.record;
    let target = Target { client: containers.client.clone(), container_id: id.to_owned(), exec_id: String::new() };
    let stdin: Option<Writer> = match containers.fifos(record).stdin {
        Some(path) if spec.stdin => {
            // Without stdinOnce the container's input stays open for the next client.
            let close = record.stdin_once.then(|| target.clone());
            Some(Box::pin(Stdin::new(fifo::open_input(&path)?, close)))
        }
        _ => None,
    };
    Ok(StdioSession {
        stdin,
        stdout: reader(spec.stdout, Stream::Stdout)?,
        stderr: reader(spec.stderr && !record.tty, Stream::Stderr)?,
        resize: record.tty.then(|| target.resizer()),
        exit: exit_of(entry.clone(), events),
    })
}

fn relay(mut output: broadcast::Receiver<Output>, stream: Stream) -> Reader {
    let (mut writer, reader) = tokio::io::duplex(ATTACH_BUFFER);
    tokio::spawn(async move {
        loop {
            match output.recv().await {
                Ok(chunk) if chunk.stream == stream => {
                    if writer.write_all(&chunk.bytes).await.is_err() {
                        return;
                    }
                }
                // A client that cannot keep up loses output; the container must not wait for it.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    });
    Box::pin(reader)
}

fn exit_of(entry: Arc<Entry>, mut events: broadcast::Receiver<RuntimeEvent>) -> BoxFuture<'static, Result<i32, Error>> {
    async move {
        loop {
            if let Some(end) = &entry.status.lock().end {
                return Ok(end.exit_code);
            }
            // Any event may be the one, or have hidden it: look again.
            if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
                return Err(Error::Exec { message: "orch is stopping".to_owned() });
            }
        }
    }
    .boxed()
}

/// A reader that tells when it is dropped.
struct Held {
    reader: pipe::Receiver,
    _held: mpsc::Sender<()>,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}

/// The writing end of an input pipe. The shim holds a writing end too, so the end of input must be told to it.
struct Stdin {
    pipe: Option<pipe::Sender>,
    close: Option<Target>,
}

impl Stdin {
    fn new(pipe: pipe::Sender, close: Option<Target>) -> Self {
        Self { pipe: Some(pipe), close }
    }

    fn end(&mut self) {
        self.pipe = None;
        if let (Some(target), Ok(runtime)) = (self.close.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(target.close_stdin());
        }
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        self.end();
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match &mut self.pipe {
            Some(pipe) => Pin::new(pipe).poll_write(context, bytes),
            None => Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}
