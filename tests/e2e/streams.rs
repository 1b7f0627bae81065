//! What flows between kubectl and a container: port-forward, exec, attach, cp, logs.

use std::io::{BufRead as _, Read as _, Write as _};
use std::process::Stdio;

use crate::support::{Cluster, Running, told};

/// A web server with something to send, and a shell.
const WEB: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox:latest
    imagePullPolicy: Never
    command: [sh, -c, "mkdir /www; echo hello >/www/index.html; head -c 5000000 /dev/urandom >/www/big; exec httpd -f -p 8080 -h /www"]
    ports: [{name: http, containerPort: 8080}]
    readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
"#;

fn cluster_with(manifest: &str, pod: &str) -> Cluster {
    let cluster = Cluster::start();
    cluster.import_busybox();
    cluster.apply(manifest);
    cluster.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=60s"]);
    cluster
}

/// A running `kubectl port-forward` and its local port.
fn forwarded(cluster: &Cluster, target: &str, port: &str, extra: &[(&str, &str)]) -> (Running, String) {
    let mut args = vec!["port-forward", target, port];
    args.push("--address=127.0.0.1");
    let mut running = cluster.start_kubectl_with(&args, extra);
    let line = running.line();
    let local = line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.split(' ').next());
    let local = local.unwrap_or_else(|| panic!("{line}: {:?}", running.rest())).to_owned();
    (running, local)
}

#[test]
fn ports_are_forwarded_needs_root() {
    let cluster = cluster_with(WEB, "web");
    let size = cluster.kubectl(&["exec", "web", "--", "md5sum", "/www/big"]);
    // Inside of a WebSocket, which is kubectl's first choice, and as SPDY alone.
    for spdy in [&[][..], &[("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")][..]] {
        let (_running, port) = forwarded(&cluster, "pod/web", ":8080", spdy);
        assert_eq!(cluster.host.http_soon(&format!("http://127.0.0.1:{port}/")), "hello\n");
        let fetch = format!("curl -s http://127.0.0.1:{port}/big | md5sum");
        let clients: Vec<_> = (0..8)
            .map(|_| cluster.host.command("sh").args(["-c", &fetch]).stdout(Stdio::piped()).spawn().expect("a shell"))
            .collect();
        for client in clients {
            let output = client.wait_with_output().expect("an end");
            assert_eq!(told(&output).split_whitespace().nth(3), size.split_whitespace().next(), "{spdy:?}");
        }
    }
}

#[test]
fn a_port_nobody_listens_on_is_told_needs_root() {
    let cluster = cluster_with(WEB, "web");
    let (mut running, port) = forwarded(&cluster, "pod/web", ":9", &[]);
    assert_eq!(cluster.host.http(&format!("http://127.0.0.1:{port}/")), None);
    let (code, _, errors) = running.rest();
    assert!(errors.contains("error forwarding port 9 to pod") && errors.contains("connection refused"), "{errors}");
    assert_eq!(code, Some(1), "{errors}");
}

#[test]
fn a_service_and_a_deployment_are_forwarded_needs_root() {
    let cluster = Cluster::start();
    cluster.hello();
    for (target, port) in [("service/hello", ":80"), ("deployment/hello", ":8080"), ("deployment/hello", ":http")] {
        let (_running, port) = forwarded(&cluster, target, port, &[]);
        assert!(!cluster.host.http_soon(&format!("http://127.0.0.1:{port}/")).is_empty());
    }
}

#[test]
fn files_are_copied_both_ways_needs_root() {
    let cluster = cluster_with(WEB, "web");
    let (there, back) = (cluster.host.dir.join("there"), cluster.host.dir.join("back"));
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number * number >> 8) as u8).collect();
    std::fs::write(&there, &content).expect("a file");
    cluster.kubectl(&["cp", there.to_str().expect("a path"), "web:/tmp/copy"]);
    cluster.kubectl(&["cp", "web:/tmp/copy", back.to_str().expect("a path")]);
    assert!(std::fs::read(&back).expect("a copy") == content);
}

#[test]
fn exec_tells_what_went_wrong_needs_root() {
    let cluster = cluster_with(WEB, "web");
    let errors = |args: &[&str]| {
        let output = cluster.try_kubectl(args);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = errors(&["exec", "web", "--", "sh", "-c", "exit 42"]);
    assert_eq!((code, text.as_str()), (Some(42), "command terminated with exit code 42\n"));
    let (_, text) = errors(&["exec", "web", "--", "no-such-program"]);
    assert!(text.contains("exec: \"no-such-program\": executable file not found in $PATH"), "{text}");
    let (_, text) = errors(&["exec", "web", "-c", "other", "--", "true"]);
    assert_eq!(text, "Error from server (BadRequest): container other is not valid for pod web\n");
}

#[test]
fn attach_joins_a_running_container_needs_root() {
    let manifest = r#"
apiVersion: v1
kind: Pod
metadata: {name: echo}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers:
  - name: main
    image: busybox:latest
    imagePullPolicy: Never
    stdin: true
    stdinOnce: true
    command: [sh, -c, "echo early; while read line; do echo got $line; done; exit 3"]
"#;
    let cluster = cluster_with(manifest, "echo");
    let mut running = cluster.start_kubectl(&["attach", "-i", "echo", "-q"]);
    let input = running.child.stdin.as_mut().expect("a pipe");
    input.write_all(b"one\n").expect("kubectl reads");
    assert_eq!(running.line(), "got one", "what was printed before is not repeated");
    // The end of the input reaches the container, whose end ends kubectl.
    let (_, output, errors) = running.rest();
    assert_eq!(output, "", "{errors}");
    cluster.kubectl(&["wait", "--for=jsonpath={.status.phase}=Failed", "pod/echo", "--timeout=60s"]);
    assert_eq!(cluster.kubectl(&["logs", "echo"]), "early\ngot one\n");
}

/// kubectl on a terminal, which `script` makes.
fn on_a_terminal(cluster: &Cluster, command: &str) -> Running {
    let line = format!("KUBECONFIG={} kubectl {command}", cluster.kubeconfig().display());
    let mut script = cluster.host.command("script");
    script.args(["-q", "-e", "-c", &line, "/dev/null"]);
    Running::start(script)
}

#[test]
fn a_terminal_works_and_run_removes_its_pod_needs_root() {
    let cluster = Cluster::start();
    cluster.import_busybox();
    let run = "run shell -it --rm --restart=Never --image=busybox:latest --image-pull-policy=Never -q -- sh";
    let mut running = on_a_terminal(&cluster, run);
    let input = running.child.stdin.as_mut().expect("a pipe");
    input.write_all(b"test -t 0 && echo on a t''ty; exit\n").expect("a shell");
    let mut seen = String::new();
    while !seen.contains("on a tty") {
        assert_ne!(running.output.read_line(&mut seen).expect("a terminal"), 0, "{seen}");
    }
    running.output.read_to_string(&mut seen).expect("a terminal");
    assert_eq!(running.child.wait().expect("an end").code(), Some(0), "{seen}");
    cluster.kubectl(&["wait", "--for=delete", "pod/shell", "--timeout=60s"]);
}

#[test]
fn a_log_is_read_as_asked_for_needs_root() {
    let manifest = r#"
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: OnFailure
  containers:
  - name: main
    image: busybox:latest
    imagePullPolicy: Never
    command: [sh, -c, "if [ ! -e /shared/again ]; then touch /shared/again; echo first run; exit 1; fi; echo one; echo two; echo three; sleep 3600"]
    volumeMounts: [{name: shared, mountPath: /shared}]
  volumes: [{name: shared, emptyDir: {}}]
"#;
    let cluster = Cluster::start();
    cluster.import_busybox();
    cluster.apply(manifest);
    cluster.kubectl(&["wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/talker", "--timeout=60s"]);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/talker", "--timeout=60s"]);
    assert_eq!(cluster.kubectl(&["logs", "talker"]), "one\ntwo\nthree\n");
    assert_eq!(cluster.kubectl(&["logs", "talker", "--previous"]), "first run\n");
    assert_eq!(cluster.kubectl(&["logs", "talker", "--tail=2"]), "two\nthree\n");
    assert_eq!(cluster.kubectl(&["logs", "talker", "--limit-bytes=5"]), "one\nt");
    assert_eq!(cluster.kubectl(&["logs", "talker", "--since-time=2099-01-01T00:00:00Z"]), "");
    let stamped = cluster.kubectl(&["logs", "talker", "--timestamps", "--tail=1"]);
    assert!(stamped.starts_with("20") && stamped.ends_with("Z three\n"), "{stamped}");
    let raw = |query: &str| cluster.try_kubectl(&["get", "--raw", &format!("/api/v1/namespaces/default/pods/talker/log?{query}")]);
    assert_eq!(String::from_utf8_lossy(&raw("stream=Stdout&tailLines=1").stdout), "");
    assert_eq!(String::from_utf8_lossy(&raw("stream=Stderr").stdout), "");
    assert_eq!(String::from_utf8_lossy(&raw("stream=Stdout").stdout), "one\ntwo\nthree\n");
    for (query, why) in [
        ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
        ("stream=Both", "stream: Unsupported value: \"Both\": supported values: \"All\", \"Stderr\", \"Stdout\""),
    ] {
        let said = told(&raw(query));
        assert!(said.contains(why), "{said}");
    }
}
