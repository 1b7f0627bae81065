//! exec, attach, statistics.

use std::time::Duration;

use orch::agent::runtime::{AttachSpec, Error, ExecSpec, Runtime, TerminalSize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::support::{Node, exited};

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_sync_collects_and_times_out_needs_root() {
    let node = Node::with_busybox().await;
    node.run(&node.spec("c", "sleep 1000")).await;
    let output =
        node.runtime.exec_sync("c", &words(&["sh", "-c", "echo out; echo err >&2; exit 7"]), None).await.unwrap();
    assert_eq!(
        (output.exit_code, output.stdout.as_slice(), output.stderr.as_slice()),
        (7, &b"out\n"[..], &b"err\n"[..])
    );
    // More than the pipes hold.
    let large = node.runtime.exec_sync("c", &words(&["head", "-c", "1000000", "/dev/zero"]), None).await.unwrap();
    assert_eq!((large.exit_code, large.stdout.len()), (0, 1_000_000));
    let short = Some(Duration::from_millis(300));
    let error = node.runtime.exec_sync("c", &words(&["sleep", "100"]), short).await.unwrap_err();
    assert!(matches!(error, Error::ExecTimeout { .. }), "{error}");
    let left = node.runtime.exec_sync("c", &words(&["sh", "-c", "ps | grep -c 'sleep 10[0]$'"]), None).await.unwrap();
    assert_eq!(left.stdout, b"0\n", "the process was not killed");
    let missing = node.runtime.exec_sync("c", &words(&["nothing-here"]), None).await.unwrap_err().to_string();
    assert!(
        missing.starts_with("failed to exec in container: ") && missing.contains("executable file not found"),
        "{missing}"
    );
    let stats = node.runtime.stats("c").await.unwrap();
    assert!(stats.cpu_nanoseconds > 0 && stats.memory_working_set > 0 && stats.processes >= 1, "{stats:?}");
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_streams_input_until_it_ends_needs_root() {
    let node = Node::with_busybox().await;
    node.run(&node.spec("c", "sleep 1000")).await;
    let spec =
        ExecSpec { command: words(&["sh", "-c", "cat; echo end"]), stdin: true, stdout: true, ..ExecSpec::default() };
    let mut session = node.runtime.exec("c", &spec).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    let input = vec![b'x'; 300_000];
    let feed = async {
        stdin.write_all(&input).await.unwrap();
        stdin.shutdown().await.unwrap();
    };
    let mut output = Vec::new();
    let mut stdout = session.stdout.take().unwrap();
    let (_, read) = futures::join!(feed, stdout.read_to_end(&mut output));
    read.unwrap();
    assert_eq!(output.len(), input.len() + "end\n".len());
    assert_eq!(session.exit.await.unwrap(), 0);
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_has_a_terminal_that_resizes_needs_root() {
    let node = Node::with_busybox().await;
    node.run(&node.spec("c", "sleep 1000")).await;
    let command = words(&["sh", "-c", "test -t 0 && echo tty; read line; stty size; exit 5"]);
    let spec = ExecSpec { command, stdin: true, stdout: true, stderr: false, tty: true };
    let mut session = node.runtime.exec("c", &spec).await.unwrap();
    let mut lines = BufReader::new(session.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap().trim(), "tty");
    session.resize.as_ref().unwrap().send(TerminalSize { width: 123, height: 45 }).await.unwrap();
    let sized = async {
        // The size is set beside this stream: ask the kernel until it has arrived.
        let probe = words(&["sh", "-c", "for p in /proc/[0-9]*; do stty size < $p/fd/0; done 2>/dev/null"]);
        loop {
            let output = node.runtime.exec_sync("c", &probe, None).await.unwrap();
            if String::from_utf8_lossy(&output.stdout).contains("45 123") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sized).await.unwrap();
    session.stdin.as_mut().unwrap().write_all(b"go\n").await.unwrap();
    assert_eq!(lines.next_line().await.unwrap().unwrap().trim(), "go");
    assert_eq!(lines.next_line().await.unwrap().unwrap().trim(), "45 123");
    assert_eq!(session.exit.await.unwrap(), 5);
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_joins_input_and_output_needs_root() {
    let node = Node::with_busybox().await;
    let mut spec = node.spec("c", "while read line; do echo got $line; done; echo over; exit 4");
    spec.stdin = true;
    spec.stdin_once = true;
    let mut events = node.runtime.events();
    node.run(&spec).await;
    let both = AttachSpec { stdin: true, stdout: true, stderr: true };
    let watcher = AttachSpec { stdout: true, ..AttachSpec::default() };
    let mut session = node.runtime.attach("c", &both).await.unwrap();
    let second = node.runtime.attach("c", &watcher).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    let mut lines = BufReader::new(session.stdout.take().unwrap()).lines();
    stdin.write_all(b"one\n").await.unwrap();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "got one");
    drop(stdin);
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "over");
    assert_eq!(session.exit.await.unwrap(), 4);
    assert_eq!(exited(&mut events, "c").await, 4);
    let mut seen = String::new();
    second.stdout.unwrap().read_to_string(&mut seen).await.unwrap();
    assert_eq!(seen, "got one\nover\n");
    assert_eq!(node.log("c"), ["stdout F got one", "stdout F over"]);
    assert!(matches!(node.runtime.attach("c", &both).await, Err(Error::NotRunning { .. })));
    node.finish().await;
}
