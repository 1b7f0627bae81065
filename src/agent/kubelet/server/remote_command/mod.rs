//! `/exec` and `/attach`: the streams of a process over the client's channels, and how it ended as a Status on the
//! error channel.

mod client;

use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Container;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::Server;
use super::answer::{Answer, Failure};
use super::channels::{self, Input, RESIZE, STDERR, STDIN, STDOUT};
use super::query::Query;
use crate::agent::runtime::{AttachSpec, Error, ExecSpec, Reader, StdioSession, TerminalSize, Writer};
use client::{Inputs, Outputs, upgrade};

/// Which streams the client wants.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Wanted {
    fn of(query: &Query) -> Result<Self, Failure> {
        let tty = query.flag(&["tty"]);
        let wanted = Self {
            stdin: query.flag(&["stdin", "input"]),
            stdout: query.flag(&["stdout", "output"]),
            // A terminal has one output.
            stderr: query.flag(&["stderr", "error"]) && !tty,
            tty,
        };
        if !(wanted.stdin || wanted.stdout || wanted.stderr) {
            return Err(Failure::bad("you must specify at least 1 of stdin, stdout, stderr"));
        }
        Ok(wanted)
    }
}

pub fn exec(server: &Arc<Server>, id: String, query: &Query, request: Request<Incoming>) -> Result<Answer, Failure> {
    let wanted = Wanted::of(query)?;
    let command = query.all("command");
    if command.is_empty() {
        return Err(Failure::bad("you must specify a command"));
    }
    let spec = ExecSpec { command, stdin: wanted.stdin, stdout: wanted.stdout, stderr: wanted.stderr, tty: wanted.tty };
    let runtime = server.host.runtime.clone();
    upgrade(request, wanted, move |outputs, inputs| async move {
        let session = runtime.exec(&id, &spec).await;
        serve(outputs, inputs, wanted, session).await;
    })
}

pub fn attach(
    server: &Arc<Server>,
    id: String,
    container: &Container,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let asked = Wanted::of(query)?;
    let mut wanted = asked;
    wanted.tty = container.tty == Some(true);
    wanted.stderr &= !wanted.tty;
    let spec = AttachSpec { stdin: wanted.stdin, stdout: wanted.stdout, stderr: wanted.stderr };
    let runtime = server.host.runtime.clone();
    upgrade(request, asked, move |outputs, inputs| async move {
        let session = runtime.attach(&id, &spec).await;
        serve(outputs, inputs, wanted, session).await;
    })
}

/// There is no such container: clients of the newest protocol are told by a Status, others by the answer.
pub fn refuse(failure: Failure, query: &Query, request: Request<Incoming>) -> Result<Answer, Failure> {
    if !channels::asked(&request).contains(&channels::NEWEST.name) {
        return Err(failure);
    }
    let status = internal_error(&format!("unable to upgrade connection: {}", failure.message));
    upgrade(request, Wanted::of(query)?, move |outputs, _| async move { outputs.end(&status).await })
}

async fn serve(mut outputs: Outputs, inputs: Inputs, wanted: Wanted, session: Result<StdioSession, Error>) {
    if outputs.greet(wanted).await.is_err() {
        return;
    }
    let status = match session {
        Ok(session) => {
            let StdioSession { stdin, stdout, stderr, resize, exit } = session;
            let incoming = take_input(inputs, stdin, resize);
            tokio::select! {
                status = give_output(&mut outputs, stdout, stderr, exit) => status,
                () = incoming => return,
            }
        }
        Err(error) => Some(failure_status(&error)),
    };
    if let Some(status) = status {
        outputs.end(&status).await;
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

/// Frames that wait for the process to read its input.
const WAITING: usize = 16;

/// Feeds the process until the client leaves. A process that reads slowly slows the client, not us.
async fn take_input(mut inputs: Inputs, stdin: Option<Writer>, resize: Option<mpsc::Sender<TerminalSize>>) {
    let (to_process, mut waiting) = mpsc::channel::<bytes::Bytes>(WAITING);
    let mut to_process = stdin.is_some().then_some(to_process);
    let writing = async move {
        if let Some(mut stdin) = stdin {
            while let Some(data) = waiting.recv().await {
                if stdin.write_all(&data).await.is_err() || stdin.flush().await.is_err() {
                    break;
                }
            }
            let _ = stdin.shutdown().await;
        }
        // The process' input is closed, but the client is still listening.
        std::future::pending::<()>().await;
    };
    let reading = async move {
        while let Some(input) = inputs.next().await {
            match input {
                Input::Data(STDIN, data) => {
                    if let Some(sender) = &to_process
                        && sender.send(data).await.is_err()
                    {
                        to_process = None;
                    }
                }
                Input::Data(RESIZE, data) => {
                    // Several may have come at once: the last one counts.
                    let size =
                        serde_json::Deserializer::from_slice(&data).into_iter::<Size>().map_while(Result::ok).last();
                    if let (Some(resize), Some(size)) = (&resize, size) {
                        let _ = resize.send(TerminalSize { width: size.width, height: size.height }).await;
                    }
                }
                Input::Finished(STDIN) => to_process = None,
                _ => {}
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
}

const CHUNK: usize = 32 * 1024;
/// After the exit a stream may be held open by a child that was left behind; it is read while it has something.
const LINGER: Duration = Duration::from_secs(2);

async fn read(stream: &mut Option<Reader>, buffer: &mut [u8]) -> usize {
    match stream {
        Some(reader) => read_some(reader, buffer).await,
        None => std::future::pending().await,
    }
}

async fn read_some(reader: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> usize {
    reader.read(buffer).await.unwrap_or(0)
}

/// Forwards both outputs and returns the Status of the end; `None` when the client has left.
async fn give_output(
    outputs: &mut Outputs,
    mut stdout: Option<Reader>,
    mut stderr: Option<Reader>,
    mut exit: futures::future::BoxFuture<'static, Result<i32, Error>>,
) -> Option<Value> {
    let (mut out, mut err) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut ended = None;
    loop {
        if let (Some(status), true) = (&ended, stdout.is_none() && stderr.is_none()) {
            return Some(Value::clone(status));
        }
        let over = ended.is_some();
        let (channel, size) = tokio::select! {
            size = read(&mut stdout, &mut out) => (STDOUT, size),
            size = read(&mut stderr, &mut err) => (STDERR, size),
            code = &mut exit, if !over => {
                ended = Some(match code {
                    Ok(code) => exit_status(code),
                    Err(error) => failure_status(&error),
                });
                continue;
            }
            () = tokio::time::sleep(LINGER), if over => return ended,
        };
        let (stream, data) = if channel == STDOUT { (&mut stdout, &out[..size]) } else { (&mut stderr, &err[..size]) };
        if size == 0 {
            *stream = None;
        } else if outputs.send(channel, data).await.is_err() {
            return None;
        }
    }
}

/// The Status that tells an exit code, as remotecommand's clients read it.
fn exit_status(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

fn failure_status(error: &Error) -> Value {
    internal_error(&format!("error executing command in container: {error}"))
}

fn internal_error(message: &str) -> Value {
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: {message}"),
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_a_cause() {
        assert_eq!(exit_status(0)["status"], "Success");
        let failed = exit_status(3);
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
    }

    #[test]
    fn a_terminal_has_one_output() {
        let wanted = Wanted::of(&Query::parse("input=1&output=1&error=1&tty=1")).unwrap();
        assert!(wanted.stdin && wanted.stdout && !wanted.stderr);
        assert!(Wanted::of(&Query::parse("command=ls")).is_err());
    }
}
