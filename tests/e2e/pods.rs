//! What a pod's fields do on a real node: the order of its containers, how they end, probes, hooks, volumes, identity,
//! network, and that nothing is left of it. The pods are in `pods/*.yaml`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::support::{Cluster, PATIENCE, test_image, within};

/// A cluster with a busybox and the pods of a manifest.
fn cluster_with(manifest: &str) -> Cluster {
    let cluster = Cluster::start();
    cluster.import_busybox();
    cluster.apply(&manifest.replace("@DIR@", &shared(&cluster).display().to_string()));
    cluster
}

/// A folder of the node that pods mount.
fn shared(cluster: &Cluster) -> PathBuf {
    let dir = cluster.host.dir.join("shared");
    std::fs::create_dir_all(&dir).expect("a folder");
    dir
}

/// One field of a pod, as JSONPath.
fn field(cluster: &Cluster, pod: &str, path: &str) -> String {
    cluster.kubectl(&["get", "pod", pod, "-o", &format!("jsonpath={{{path}}}")])
}

/// Waits until a field of a pod has a value.
fn becomes(cluster: &Cluster, pod: &str, path: &str, value: &str) {
    let condition = format!("--for=jsonpath={{{path}}}={value}");
    cluster.kubectl(&["wait", &condition, &format!("pod/{pod}"), "--timeout=60s"]);
}

fn ready(cluster: &Cluster, pod: &str) {
    cluster.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=60s"]);
}

fn sh(cluster: &Cluster, pod: &str, script: &str) -> String {
    cluster.kubectl(&["exec", pod, "--", "sh", "-c", script])
}

/// The STATUS column.
fn shown(cluster: &Cluster, pod: &str) -> String {
    let row = cluster.kubectl(&["get", "pod", pod, "--no-headers"]);
    row.split_whitespace().nth(2).unwrap_or_default().to_owned()
}

/// What the events about a pod say.
fn events(cluster: &Cluster, pod: &str) -> String {
    let selector = format!("involvedObject.name={pod}");
    let format = "jsonpath={range .items[*]}{.reason}: {.message}{\"\\n\"}{end}";
    cluster.kubectl(&["get", "events", "--field-selector", &selector, "-o", format])
}

const END: &str = ".status.containerStatuses[0].state.terminated";
const WAITING: &str = ".status.containerStatuses[0].state.waiting";
const RESTARTS: &str = ".status.containerStatuses[0].restartCount";

#[test]
fn init_containers_and_sidecars_keep_their_order_needs_root() {
    let cluster = cluster_with(include_str!("pods/lifecycle.yaml"));
    ready(&cluster, "ordered");
    assert_eq!(sh(&cluster, "ordered", "cat /shared/order"), "one\nsidecar\ntwo\nmain\n");
    assert!(cluster.kubectl(&["get", "pod", "ordered"]).contains("2/2     Running"));

    becomes(&cluster, "init-never", ".status.phase", "Failed");
    assert_eq!(shown(&cluster, "init-never"), "Init:Error");
    assert_eq!(field(&cluster, "init-never", ".status.initContainerStatuses[0].state.terminated.exitCode"), "4");
    assert_eq!(field(&cluster, "init-never", &format!("{WAITING}.reason")), "PodInitializing");

    let waiting = ".status.initContainerStatuses[0].state.waiting";
    becomes(&cluster, "init-again", &format!("{waiting}.reason"), "CrashLoopBackOff");
    assert_eq!(shown(&cluster, "init-again"), "Init:CrashLoopBackOff");
    let message = field(&cluster, "init-again", &format!("{waiting}.message"));
    assert!(message.starts_with("back-off 10s restarting failed container=bad pod=init-again_default("), "{message}");
    assert_eq!(field(&cluster, "init-again", ".status.phase"), "Pending");

    becomes(&cluster, "accompanied", ".status.phase", "Succeeded");
    assert_eq!(shown(&cluster, "accompanied"), "Completed");
    assert_eq!(field(&cluster, "accompanied", ".status.initContainerStatuses[0].state.terminated.exitCode"), "0");
}

#[test]
fn containers_end_as_their_policy_says_needs_root() {
    let cluster = cluster_with(include_str!("pods/endings.yaml"));
    let end = |pod: &str| field(&cluster, pod, &format!("{END}.exitCode}} {{{END}.reason}} {{{END}.message"));
    becomes(&cluster, "good", ".status.phase", "Succeeded");
    assert_eq!(end("good"), "0 Completed ");
    becomes(&cluster, "bad", ".status.phase", "Failed");
    assert_eq!(end("bad"), "3 Error last words\n");
    becomes(&cluster, "logged", ".status.phase", "Failed");
    assert_eq!(end("logged"), "1 Error from the log\n");
    becomes(&cluster, "second-try", ".status.phase", "Succeeded");
    assert_eq!(field(&cluster, "second-try", RESTARTS), "1");
    becomes(&cluster, "greedy", ".status.phase", "Failed");
    assert_eq!(end("greedy"), "137 OOMKilled ");
    becomes(&cluster, "no-program", ".status.phase", "Failed");
    let words = end("no-program");
    assert!(words.starts_with("128 StartError failed to create containerd task"), "{words}");
    assert!(words.contains("\"/nonexistent\": stat /nonexistent: no such file or directory"), "{words}");
    becomes(&cluster, "too-long", ".status.phase", "Failed");
    assert_eq!(field(&cluster, "too-long", ".status.reason"), "DeadlineExceeded");

    becomes(&cluster, "crash", &format!("{WAITING}.reason"), "CrashLoopBackOff");
    let message = field(&cluster, "crash", &format!("{WAITING}.message"));
    let uid = field(&cluster, "crash", ".metadata.uid");
    assert_eq!(message, format!("back-off 10s restarting failed container=main pod=crash_default({uid})"));
    assert_eq!(field(&cluster, "crash", ".status.containerStatuses[0].lastState.terminated.exitCode"), "5");
    becomes(&cluster, "crash", RESTARTS, "2");

    // One container's end starts all of them again, also what had ended well; hooks are left out.
    for container in
        ["initContainerStatuses[0]", "containerStatuses[0]", "containerStatuses[1]", "containerStatuses[2]"]
    {
        becomes(&cluster, "whole", &format!(".status.{container}.restartCount"), "1");
    }
    becomes(&cluster, "whole", &format!("{END}.exitCode"), "0");
    let order = cluster.kubectl(&["exec", "whole", "-c", "main", "--", "sort", "/kept/order"]);
    assert_eq!(order, "done\ndone\nfirst\nfirst\nmain\nmain\n");
    let restarting = ".status.conditions[?(@.type==\"AllContainersRestarting\")].status";
    assert_eq!(field(&cluster, "whole", restarting), "False");
}

#[test]
fn probes_decide_about_containers_needs_root() {
    let cluster = cluster_with(include_str!("pods/probes.yaml"));
    for (pod, kill, why) in [
        ("by-exec", "rm /alive", "Liveness probe failed: cat: can't open '/alive': No such file or directory"),
        ("by-http", "rm /www/alive", "Liveness probe failed: HTTP probe failed with statuscode: 404"),
    ] {
        ready(&cluster, pod);
        assert_eq!(field(&cluster, pod, RESTARTS), "0");
        sh(&cluster, pod, kill);
        becomes(&cluster, pod, RESTARTS, "1");
        ready(&cluster, pod);
        let events = events(&cluster, pod);
        assert!(events.contains(&format!("Unhealthy: {why}")), "{events}");
        assert!(events.contains("Killing: Container main failed liveness probe, will be restarted"), "{events}");
    }

    // The other two took seconds; a liveness probe of this one would have failed meanwhile.
    becomes(&cluster, "slow", ".status.containerStatuses[0].started", "false");
    assert_eq!(field(&cluster, "slow", RESTARTS), "0");
    sh(&cluster, "slow", "touch /started");
    becomes(&cluster, "slow", ".status.containerStatuses[0].started", "true");
    assert_eq!(field(&cluster, "slow", ".status.conditions[?(@.type==\"Ready\")].reason"), "ContainersNotReady");
    sh(&cluster, "slow", "touch /ready");
    ready(&cluster, "slow");
    sh(&cluster, "slow", "rm /ready");
    cluster.kubectl(&["wait", "--for=condition=Ready=false", "pod/slow", "--timeout=60s"]);
    assert_eq!(field(&cluster, "slow", RESTARTS), "0");
}

#[test]
fn hooks_run_and_grace_is_honoured_needs_root() {
    let cluster = cluster_with(include_str!("pods/hooks.yaml"));
    let order = |pod: &str| std::fs::read_to_string(shared(&cluster).join(pod).join("order")).expect("an order");
    ready(&cluster, "polite");
    assert_eq!(order("polite"), "started\n");
    let since = Instant::now();
    cluster.kubectl(&["delete", "pod", "polite"]);
    within(since, PATIENCE / 4, "a pod that obeys SIGTERM");
    assert_eq!(order("polite"), "started\nstopping\nstopped\nterm\n");

    ready(&cluster, "stubborn");
    let since = Instant::now();
    cluster.kubectl(&["delete", "pod", "stubborn"]);
    let took = since.elapsed().as_secs_f32();
    assert!((3.0..20.0).contains(&took), "grace is 3 s; it took {took} s");
    assert_eq!(order("stubborn"), "heard\n");

    becomes(&cluster, "bad-hook", ".status.phase", "Failed");
    let events = events(&cluster, "bad-hook");
    assert!(events.contains("FailedPostStartHook: "), "{events}");
}

#[test]
fn volumes_and_identity_are_as_specified_needs_root() {
    let manifest = include_str!("pods/store.yaml");
    let cluster = cluster_with(manifest);
    std::fs::write(shared(&cluster).join("note"), "from the host").expect("a file");
    ready(&cluster, "store");
    let a = |script: &str| cluster.kubectl(&["exec", "store", "-c", "a", "--", "sh", "-c", script]);
    let b = |script: &str| cluster.kubectl(&["exec", "store", "-c", "b", "--", "sh", "-c", script]);

    assert_eq!(a("id -u; id -g; id -G"), "1234\n1235\n1235 2000 3000\n");
    assert_eq!(a("touch /x 2>&1 || true"), "touch: /x: Read-only file system\n");
    assert_eq!(a("grep -E 'CapEff|NoNewPrivs' /proc/self/status"), "CapEff:\t0000000000000000\nNoNewPrivs:\t1\n");

    a("echo disk >/disk/x; echo fast >/fast/x; echo part >/part/x");
    assert_eq!(b("cat /disk/x /fast/x /disk/deep/part/x /host/note"), "disk\nfast\npart\nfrom the host");
    assert_eq!(b("stat -c %g /disk/x /fast/x"), "2000\n2000\n");
    assert!(b("grep ' /fast ' /proc/mounts").contains("tmpfs"));
    assert!(b("dd if=/dev/zero of=/fast/big bs=1M count=2 2>&1 || true").contains("No space left on device"));
    assert!(b("touch /host/x 2>&1 || true").contains("Read-only file system"));
    assert_eq!(
        b("cat /all/sub/color /all/password /all/name /all/cpu; head -c 3 /all/token"),
        "greenswordfishstore200eyJ"
    );
    cluster.kubectl(&["patch", "configmap", "settings", "-p", r#"{"data":{"color":"blue"}}"#]);
    b("until grep -q blue /all/sub/color; do sleep 0.1; done");
    cluster.kubectl(&["label", "pod", "store", "new=label"]);
    b("until grep -q 'new=\"label\"' /all/labels; do sleep 0.1; done");
    assert_eq!(b("stat -Lc '%a %u %g' /all/token"), "640 1234 2000\n");

    let pid = cluster.process_of("store");
    assert_eq!(limit(pid, "memory", "memory.limit_in_bytes", "memory.max"), (48 << 20).to_string());
    assert!(["20000", "20000 100000"].contains(&limit(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").as_str()));

    for (pod, why) in
        [("needy", "secret \"absent\" not found"), ("keyless", "couldn't find key shape in ConfigMap default/settings")]
    {
        becomes(&cluster, pod, &format!("{WAITING}.reason"), "CreateContainerConfigError");
        assert_eq!(field(&cluster, pod, &format!("{WAITING}.message")), why);
    }
    cluster.kubectl(&["create", "secret", "generic", "absent", "--from-literal=x=found"]);
    ready(&cluster, "needy");
    assert_eq!(sh(&cluster, "needy", "echo $X"), "found\n");
}

/// A limit in the cgroup of a process, by its file's name in either hierarchy of the kernel.
fn limit(pid: u32, controller: &str, split: &str, unified: &str) -> String {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a cgroup");
    let mount = Path::new("/sys/fs/cgroup");
    let of = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        let file = match controllers {
            "" => mount.join(path).join(unified),
            _ if controllers.split(',').any(|one| one == controller) => mount.join(controller).join(path).join(split),
            _ => return None,
        };
        std::fs::read_to_string(file).ok()
    };
    groups.lines().find_map(of).unwrap_or_else(|| panic!("no {controller} limit: {groups}")).trim().to_owned()
}

#[test]
fn host_network_and_ports_work_and_nothing_is_left_needs_root() {
    let cluster = cluster_with(include_str!("pods/net.yaml"));
    ready(&cluster, "on-host");
    ready(&cluster, "on-port");
    assert_eq!(field(&cluster, "on-host", ".status.podIP"), cluster.host.ip);
    cluster.host.http_soon(&format!("http://{}:18080/name", cluster.host.ip));
    let exposed = format!("http://{}:18081/name", cluster.host.ip);
    assert_eq!(cluster.host.http_soon(&exposed), "on-port\n");
    assert_eq!(cluster.host.http_soon("http://127.0.0.1:18081/name"), "on-port\n");

    let uids = ["on-host", "on-port"].map(|pod| field(&cluster, pod, ".metadata.uid"));
    assert!(!traces(&cluster, &uids).is_empty());
    cluster.kubectl(&["delete", "pod", "on-host", "on-port"]);
    // The object of a pod goes last.
    assert_eq!(traces(&cluster, &uids), Vec::<String>::new());
    cluster.host.refused_soon(&exposed);
}

/// Mounts, pinned namespaces, cgroups and links of pods.
fn traces(cluster: &Cluster, uids: &[String]) -> Vec<String> {
    let ours = |text: &str| uids.iter().any(|uid| text.contains(uid.as_str()));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let mut found: Vec<String> = mounts.lines().filter(|line| ours(line)).map(str::to_owned).collect();
    let script = format!("find /sys/fs/cgroup -type d -path '*/{}/*' -name 'pod*'", cluster.host.name);
    let groups = crate::support::run(std::process::Command::new("sh").args(["-c", &script]));
    found.extend(groups.lines().filter(|line| ours(line)).map(str::to_owned));
    let links = crate::support::run(cluster.host.command("ip").args(["-o", "link", "show", "type", "veth"]));
    found.extend(links.lines().filter(|line| line.contains(": orch")).map(str::to_owned));
    found
}

#[test]
fn archives_in_the_images_folder_are_there_at_the_start_needs_root() {
    let mut cluster = Cluster::start();
    cluster.stop();
    let dir = cluster.host.dir.join("data/agent/images");
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::copy(test_image("busybox-docker.tar"), dir.join("busybox.tar")).expect("a copy");
    std::fs::write(dir.join("nonsense.tar"), "nonsense").expect("a file");
    let pod = |name: &str, image: &str| {
        let container = format!("{{name: main, image: \"{image}\", imagePullPolicy: Never, command: [\"true\"]}}");
        let spec = format!("{{restartPolicy: Never, containers: [{container}]}}");
        manifest(name, &spec)
    };
    cluster.run_server();
    cluster.apply(&pod("first", "busybox:latest"));
    becomes(&cluster, "first", ".status.phase", "Succeeded");
    assert!(!events(&cluster, "first").contains("ErrImageNeverPull"), "{}", events(&cluster, "first"));

    cluster.stop();
    cluster.run_server();
    cluster.apply(&pod("second", "busybox:latest"));
    cluster.apply(&pod("absent", "nobody/has:this"));
    becomes(&cluster, "second", ".status.phase", "Succeeded");
    becomes(&cluster, "absent", &format!("{WAITING}.reason"), "ErrImageNeverPull");
    let log = cluster.log_text();
    assert_eq!(log.matches("imported an archive").count(), 1, "an unchanged archive is not read again: {log}");
    assert_eq!(log.matches("image archive not imported").count(), 2, "a bad archive is told about: {log}");
}

fn manifest(name: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

#[test]
fn a_running_container_is_resized_needs_root() {
    let resources = "{requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}";
    let policy = "[{resourceName: memory, restartPolicy: RestartContainer}]";
    let container = format!(
        "{{name: main, image: \"busybox:latest\", imagePullPolicy: Never, command: [sleep, \"3600\"], \
         env: [{{name: POD_NAME, value: elastic}}], resources: {resources}, resizePolicy: {policy}}}"
    );
    let spec = format!("{{terminationGracePeriodSeconds: 0, containers: [{container}]}}");
    let cluster = cluster_with(&manifest("elastic", &spec));
    ready(&cluster, "elastic");
    let resize = |resources: &str| {
        let patch = format!(r#"{{"spec":{{"containers":[{{"name":"main","resources":{resources}}}]}}}}"#);
        cluster.kubectl(&["patch", "pod", "elastic", "--subresource=resize", "-p", &patch]);
    };
    let given = |path: &str| format!(".status.containerStatuses[0].resources.{path}");

    resize(r#"{"limits":{"cpu":"400m"}}"#);
    becomes(&cluster, "elastic", &given("limits.cpu"), "400m");
    let pid = cluster.process_of("elastic");
    assert!(["40000", "40000 100000"].contains(&limit(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").as_str()));
    assert_eq!(field(&cluster, "elastic", RESTARTS), "0");

    resize(r#"{"limits":{"memory":"96Mi"}}"#);
    becomes(&cluster, "elastic", &given("limits.memory"), "96Mi");
    assert_eq!(field(&cluster, "elastic", RESTARTS), "1", "its policy wants a restart for memory");
    ready(&cluster, "elastic");
    let pid = cluster.process_of("elastic");
    assert_eq!(limit(pid, "memory", "memory.limit_in_bytes", "memory.max"), (96 << 20).to_string());

    // What no node like this could ever hold is refused; what others have at the moment is waited for.
    let more =
        r#"{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"900"},"limits":{"cpu":"900"}}}]}}"#;
    let refused = cluster.try_kubectl(&["patch", "pod", "elastic", "--subresource=resize", "-p", more]);
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    let why = "pods \"elastic\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 900000, ";
    assert!(refused.starts_with(&format!("Error from server (Forbidden): {why}")), "{refused}");
    let other = "{name: main, image: \"busybox:latest\", imagePullPolicy: Never, command: [sleep, \"3600\"], \
         resources: {requests: {cpu: 100m}}}";
    cluster.apply(&manifest("other", &format!("{{terminationGracePeriodSeconds: 0, containers: [{other}]}}")));
    ready(&cluster, "other");
    let all = cluster.field("node/node-1", "{.status.allocatable.cpu}");
    resize(&format!(r#"{{"requests":{{"cpu":"{all}"}},"limits":{{"cpu":"{all}"}}}}"#));
    let pending = ".status.conditions[?(@.type==\"PodResizePending\")]";
    becomes(&cluster, "elastic", &format!("{pending}.reason"), "Deferred");
    let message = field(&cluster, "elastic", &format!("{pending}.message"));
    assert!(message.starts_with("Node didn't have enough resource: cpu, requested: "), "{message}");
    assert_eq!(field(&cluster, "elastic", &given("limits.cpu")), "400m");
    cluster.kubectl(&["delete", "pod", "other"]);
    becomes(&cluster, "elastic", &given("limits.cpu"), &all);
    assert_eq!(field(&cluster, "elastic", pending), "");
}
