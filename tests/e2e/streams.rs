//! What flows between kubectl and a container: port-forward, exec, attach, cp, logs.

use std::io::{BufRead as _, Read as _, Write as _};
use std::process::Stdio;

use crate::support::{Cluster, Running, eventually, told};

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
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number.wrapping_mul(number) >> 8) as u8).collect();
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
fn exec_speaks_spdy_with_older_clients_needs_root() {
    let cluster = cluster_with(WEB, "web");
    let spdy = [("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false")];
    let mut running =
        cluster.start_kubectl_with(&["exec", "-i", "web", "--", "sh", "-c", "cat; echo err >&2; exit 5"], &spdy);
    running.child.stdin.as_mut().expect("a pipe").write_all(b"through and back\n").expect("kubectl reads");
    let (code, output, errors) = running.rest();
    assert_eq!((code, output.as_str()), (Some(5), "through and back\n"));
    assert_eq!(errors, "err\ncommand terminated with exit code 5\n");
    let (_, _, errors) = cluster.start_kubectl_with(&["exec", "web", "--", "no-such-program"], &spdy).rest();
    assert!(errors.contains("exec: \"no-such-program\": executable file not found in $PATH"), "{errors}");
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
    cluster.kubectl(&[
        "wait",
        "--for=jsonpath={.status.containerStatuses[0].restartCount}=1",
        "pod/talker",
        "--timeout=60s",
    ]);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/talker", "--timeout=60s"]);
    assert_eq!(cluster.kubectl(&["logs", "talker"]), "one\ntwo\nthree\n");
    assert_eq!(cluster.kubectl(&["logs", "talker", "--previous"]), "first run\n");
    assert_eq!(cluster.kubectl(&["logs", "talker", "--tail=2"]), "two\nthree\n");
    assert_eq!(cluster.kubectl(&["logs", "talker", "--limit-bytes=5"]), "one\nt");
    assert_eq!(cluster.kubectl(&["logs", "talker", "--since-time=2099-01-01T00:00:00Z"]), "");
    let stamped = cluster.kubectl(&["logs", "talker", "--timestamps", "--tail=1"]);
    assert!(stamped.starts_with("20") && stamped.ends_with("Z three\n"), "{stamped}");
    let raw = |query: &str| {
        cluster.try_kubectl(&["get", "--raw", &format!("/api/v1/namespaces/default/pods/talker/log?{query}")])
    };
    assert_eq!(String::from_utf8_lossy(&raw("stream=Stderr").stdout), "");
    assert_eq!(String::from_utf8_lossy(&raw("stream=Stdout").stdout), "one\ntwo\nthree\n");
    for (query, why) in [
        ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
        ("stream=Stdout&tailLines=1", "Forbidden: `tailLines` and specific `stream` are mutually exclusive for now"),
        ("stream=Both", "stream: Unsupported value: \"Both\": supported values: \"All\", \"Stderr\", \"Stdout\""),
    ] {
        let said = told(&raw(query));
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn pods_services_and_nodes_are_proxied_needs_root() {
    let service = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: www, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
---
"#;
    let cluster = cluster_with(&format!("{service}{WEB}"), "web");
    cluster.kubectl(&["wait", "--for=jsonpath={.subsets[0].addresses}", "endpoints/web", "--timeout=60s"]);
    let page = "<a href=\"/index.html\">home</a> <a href=\"other\">other</a>";
    cluster.kubectl(&["exec", "web", "--", "sh", "-c", &format!("echo '{page}' >/www/page.html; mkdir /www/dir")]);
    let root = "/api/v1/namespaces/default";
    for path in ["pods/web", "pods/web:8080", "pods/http:web:http", "services/web:80", "services/web:www"] {
        let proxy = format!("{root}/{path}/proxy");
        assert_eq!(cluster.kubectl(&["get", "--raw", &format!("{proxy}/index.html?a=b")]), "hello\n", "{path}");
        let links = format!("<a href=\"{proxy}/index.html\">home</a> <a href=\"other\">other</a>\n");
        assert_eq!(cluster.kubectl(&["get", "--raw", &format!("{proxy}/page.html")]), links);
    }
    let refused = |path: &str| told(&cluster.try_kubectl(&["get", "--raw", path]));
    let said = refused(&format!("{root}/services/nobody:80/proxy/"));
    assert!(said.contains("no endpoints available for service \"nobody\""), "{said}");
    let said = refused(&format!("{root}/pods/web:9/proxy/"));
    assert!(said.contains("error trying to reach service: dial tcp 10.42.0.") && said.contains("refused"), "{said}");
    let pods = cluster.kubectl(&["get", "--raw", "/api/v1/nodes/node-1/proxy/pods"]);
    assert!(pods.contains("\"name\":\"web\""), "{pods}");
    let node = |path: &str| cluster.kubectl(&["get", "--raw", &format!("/api/v1/nodes/node-1:10250/proxy/{path}")]);
    assert_eq!(node("healthz"), "ok");
    let used = "\ncontainer_memory_working_set_bytes{container=\"main\",namespace=\"default\",pod=\"web\"} ";
    assert!(node("metrics/resource").contains(used));
    assert!(node("metrics/cadvisor").contains("\nmachine_cpu_cores "));
    assert!(node("stats/summary").contains("\"nodeName\":\"node-1\""));
    assert!(node("configz").contains("KubeletConfiguration"));

    // kubectl proxy, which sends the browser's own requests on.
    let mut running = cluster.start_kubectl(&["proxy", "--port=0", "--address=127.0.0.1"]);
    let line = running.line();
    let local = format!("http://{}{root}/services/web:www/proxy", line.rsplit(' ').next().unwrap_or_default());
    let curl = |args: &[&str]| crate::support::run(cluster.host.command("curl").args(["-s"]).args(args));
    assert_eq!(curl(&["-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", &local]), format!("301 {local}/"));
    let moved = curl(&["-o", "/dev/null", "-w", "%{redirect_url}", &format!("{local}/dir")]);
    assert_eq!(moved, format!("{local}/dir/"), "a redirect of the pod's own leads through the proxy");
    assert_eq!(curl(&["-I", "-o", "/dev/null", "-w", "%{http_code}", &format!("{local}/big")]), "200");
}

/// What answers in TLS and leaves HTTP behind is the server itself, as a pod, a Service and a node.
#[test]
fn proxies_speak_tls_and_leave_http_behind_needs_root() {
    let manifest = r#"
apiVersion: v1
kind: Service
metadata: {name: self}
spec: {selector: {app: self}, ports: [{port: 443, targetPort: 6443}]}
---
apiVersion: v1
kind: Pod
metadata: {name: self, labels: {app: self}}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: "busybox:latest", imagePullPolicy: Never, command: [sleep, "3600"]}
"#;
    let cluster = cluster_with(manifest, "self");
    cluster.kubectl(&["wait", "--for=jsonpath={.subsets[0].addresses}", "endpoints/self", "--timeout=60s"]);
    // Behind the proxy nobody is known any more.
    cluster.kubectl(&["create", "clusterrole", "watcher", "--verb=watch", "--resource=configmaps"]);
    cluster.kubectl(&["create", "clusterrolebinding", "watcher", "--clusterrole=watcher", "--user=system:anonymous"]);
    let token = std::fs::read_to_string(cluster.data_dir().join("server/token")).expect("the administrator's token");
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let socket = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ];
    let here = "/api/v1/namespaces/default";
    let places = [
        format!("{here}/pods/https:self:6443"),
        format!("{here}/services/https:self:443"),
        "/api/v1/nodes/https:node-1:6443".to_owned(),
    ];
    for place in places {
        let version = cluster.kubectl(&["get", "--raw", &format!("{place}/proxy/version")]);
        assert!(version.contains("\"gitVersion\""), "{place}: {version}");
        let watch =
            format!("{}{place}/proxy{here}/configmaps?watch=1&resourceVersion=0&timeoutSeconds=1", cluster.url());
        let mut curl = cluster.host.command("curl");
        curl.args(["-sk", "-i", "-N", "--http1.1", "--max-time", "20", "-H", &bearer]);
        curl.args(socket.iter().flat_map(|header| ["-H", header])).arg(&watch);
        let said = String::from_utf8_lossy(&curl.output().expect("curl runs").stdout).into_owned();
        assert!(said.starts_with("HTTP/1.1 101 Switching Protocols"), "{place}: {said}");
        assert!(said.contains("\"type\":\"ADDED\"") && said.contains("kube-root-ca.crt"), "{place}: {said}");
    }
}

#[test]
fn an_ephemeral_container_sees_its_targets_processes_needs_root() {
    let cluster = cluster_with(WEB, "web");
    let debug =
        ["debug", "web", "--image=busybox:latest", "--image-pull-policy=Never", "--target=main", "-c", "probe", "-q"];
    let look = ["--", "sh", "-c", "ps; exec sleep 3600"];
    cluster.kubectl(&[&debug[..], &look[..]].concat());
    let running = "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.running}";
    cluster.kubectl(&["wait", running, "pod/web", "--timeout=60s"]);
    let seen = cluster.kubectl(&["exec", "web", "-c", "probe", "--", "ps"]);
    assert!(seen.contains("httpd -f -p 8080"), "{seen}");
    assert_eq!(cluster.kubectl(&["get", "pod", "web", "-o", "jsonpath={.status.phase}"]), "Running");
}

#[test]
fn containers_share_their_pods_processes_needs_root() {
    let manifest = r#"
apiVersion: v1
kind: Pod
metadata: {name: shared}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 0
  containers:
  - {name: a, image: "busybox:latest", imagePullPolicy: Never, command: [sleep, "1001"]}
  - {name: b, image: "busybox:latest", imagePullPolicy: Never, command: [sleep, "1002"]}
"#;
    let cluster = cluster_with(manifest, "shared");
    let ps = |container: &str| cluster.kubectl(&["exec", "shared", "-c", container, "--", "ps", "-o", "pid,args"]);
    for container in ["a", "b"] {
        // What was started a moment ago may still be runc.
        eventually("all processes are seen", || {
            let seen = ps(container);
            ["sleep 1001", "sleep 1002", "1 /orch pause"].into_iter().all(|line| seen.contains(line))
        });
    }
    // A container that ends leaves the namespace to the other.
    let pid = "ps -o pid,args | grep '[s]leep 1002' | sed 's/^ *//; s/ .*//'";
    cluster.kubectl(&["exec", "shared", "-c", "a", "--", "sh", "-c", &format!("kill $({pid})")]);
    let again = "--for=jsonpath={.status.containerStatuses[?(@.name==\"b\")].restartCount}=1";
    cluster.kubectl(&["wait", again, "pod/shared", "--timeout=60s"]);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/shared", "--timeout=60s"]);
    assert!(ps("a").contains("sleep 1002"));
    cluster.kubectl(&["delete", "pod", "shared"]);
}

#[test]
fn a_pod_in_a_user_namespace_is_refused_by_an_event_needs_root() {
    let cluster = Cluster::start();
    cluster.import_busybox();
    cluster.apply(&WEB.replace("spec:\n", "spec:\n  hostUsers: false\n"));
    let selector = "--field-selector=involvedObject.name=web,reason=FailedCreatePodSandBox";
    let format = "-o=jsonpath={.message}{\"\\n\"}";
    let mut events = cluster.start_kubectl(&["get", "events", selector, "--watch", format]);
    let message = events.line();
    assert!(message.ends_with("RuntimeClass handler \"\" does not support user namespaces"), "{message}");
}
