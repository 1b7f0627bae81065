//! From create to remove.

use std::time::Duration;

use orch::agent::runtime::{ContainerState, Error, Resources, RunAs, Runtime, Seccomp};

use crate::support::{Node, PATIENCE, exited, processes_naming};

#[tokio::test(flavor = "multi_thread")]
async fn runs_logs_and_tells_the_exit_code_needs_root() {
    let node = Node::with_busybox().await;
    let mut spec = node.spec("c1", "echo out; echo err >&2; echo $FROM_IMAGE $MINE; printf unfinished; exit 3");
    spec.env = vec![("MINE".into(), "own".into())];
    let info = node.complete(&spec).await;
    assert_eq!((info.state, info.exit_code, info.reason.as_str()), (ContainerState::Exited, Some(3), "Error"));
    assert!(info.started_at.unwrap() <= info.finished_at.unwrap());
    assert_eq!(info.image_id.len(), "sha256:".len() + 64);
    let mut log = node.log("c1");
    log.sort();
    assert_eq!(log, ["stderr F err", "stdout F out", "stdout F yes own", "stdout P unfinished"]);
    // The end stays known until the container is removed.
    assert_eq!(node.runtime.containers().await.unwrap().len(), 1);
    node.runtime.remove("c1").await.unwrap();
    node.runtime.remove("c1").await.unwrap();
    assert!(node.runtime.container("c1").await.unwrap().is_none());
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_removes_what_runs_needs_root() {
    let node = Node::with_busybox().await;
    node.run(&node.spec("deaf", "trap '' TERM; while :; do sleep 1; done")).await;
    node.run(&node.spec("polite", "trap 'exit 0' TERM; while :; do sleep 0.1; done")).await;
    let mut events = node.runtime.events();
    // The trap is set a moment after the start: repeat until it is heard.
    let heard = async {
        loop {
            node.runtime.kill("polite", 15).await.unwrap();
            let end = exited(&mut events, "polite");
            if let Ok(code) = tokio::time::timeout(Duration::from_millis(300), end).await {
                return code;
            }
        }
    };
    let code = tokio::time::timeout(PATIENCE, heard).await.expect("the trap hears it");
    assert!(code == 0 || code == 143, "{code}");
    node.runtime.kill("deaf", 9).await.unwrap();
    assert_eq!(exited(&mut events, "deaf").await, 137);
    node.runtime.kill("deaf", 9).await.unwrap();
    node.run(&node.spec("running", "sleep 1000")).await;
    node.runtime.remove("running").await.unwrap();
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_errors_are_told_and_listed_needs_root() {
    let node = Node::with_busybox().await;
    let mut spec = node.spec("bad", "");
    spec.command = vec!["/no/such/program".into()];
    node.runtime.create(&spec).await.unwrap();
    let error = node.runtime.start("bad").await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("failed to create containerd task: failed to create shim task: OCI runtime create failed:"),
        "{text}"
    );
    assert!(text.contains("/no/such/program") && text.contains("no such file or directory"), "{text}");
    let info = node.info("bad").await;
    assert_eq!((info.exit_code, info.reason.as_str(), info.message), (Some(128), "StartError", text));
    let mut missing = node.spec("missing", "true");
    missing.image = "registry.example/none:1".into();
    assert!(matches!(node.runtime.create(&missing).await, Err(Error::ImageNotFound { .. })));
    let mut nobody = node.spec("nobody", "true");
    nobody.run_as = RunAs { user: Some(1 << 40), ..RunAs::default() };
    assert!(matches!(node.runtime.create(&nobody).await, Err(Error::Spec { .. })));
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_users_and_seccomp_hold_needs_root() {
    let node = Node::with_busybox().await;
    let mut spec = node.spec("hog", "dd if=/dev/zero of=/dev/shm/fill bs=1M count=60; tail /dev/zero");
    spec.resources = Resources { memory_limit: Some(32 << 20), pids_limit: Some(64), ..Resources::default() };
    let info = node.complete(&spec).await;
    assert!(info.oom_killed && info.reason == "OOMKilled", "{info:?}");
    assert_eq!(info.exit_code, Some(137));
    let mut fenced = node.spec(
        "fenced",
        "id -u; id -g; grep -E '^(Seccomp|CapEff|NoNewPrivs):' /proc/self/status; cat /proc/1/oom_score_adj",
    );
    fenced.run_as = RunAs { user: Some(1000), group: None, supplementary_groups: vec![77] };
    fenced.seccomp = Seccomp::RuntimeDefault;
    fenced.no_new_privileges = true;
    fenced.oom_score_adj = 500;
    let info = node.complete(&fenced).await;
    assert_eq!(info.exit_code, Some(0), "{:?}", node.log("fenced"));
    let log = node.log("fenced").join("\n").replace("stdout F ", "");
    assert_eq!(log, "1000\n1000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n500");
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_containers_of_a_pod_share_one_shim_needs_root() {
    let node = Node::with_busybox().await;
    let specs: Vec<_> = (0..30).map(|number| node.spec(&format!("c{number}"), "sleep 1000")).collect();
    futures::future::join_all(specs.iter().map(|spec| node.run(spec))).await;
    let running = node.runtime.containers().await.unwrap();
    assert_eq!(running.iter().filter(|info| info.state == ContainerState::Running && info.pid > 0).count(), 30);
    let socket = node.runtime.socket().to_string_lossy().into_owned();
    let shims: Vec<_> = processes_naming(&socket).into_iter().filter(|line| line.contains("containerd-shim")).collect();
    assert_eq!(shims.len(), 1, "{shims:?}");
    // The shim outlives the first container, and goes with the last.
    node.runtime.remove("c0").await.unwrap();
    assert_eq!(node.info("c1").await.state, ContainerState::Running);
    node.finish().await;
}
