//! What the runtime specification must say for the containers the kubelet asks for.

use super::*;
use crate::agent::runtime::{Namespaces, Resources};

fn container() -> ContainerSpec {
    ContainerSpec {
        id: "c".into(),
        pod_uid: "uid".into(),
        env: vec![("A".into(), "pod".into()), ("B".into(), "$x".into())],
        ..ContainerSpec::default()
    }
}

fn image() -> ImageConfig {
    ImageConfig {
        entrypoint: vec!["/entry".into()],
        cmd: vec!["default".into()],
        env: vec!["A=image".into(), "PATH=/bin".into()],
        working_dir: "/work".into(),
        ..ImageConfig::default()
    }
}

fn spec_of(container: &ContainerSpec) -> Value {
    let host = Host { all_capabilities: vec!["CAP_SYS_ADMIN".into(), "CAP_CHOWN".into()], ..Host::default() };
    runtime_spec(container, &image(), &Identity::default(), &host, "/orch/pod/c", &[]).unwrap()
}

#[test]
fn command_and_args_follow_kubernetes() {
    let args = |command: &[&str], args: &[&str]| {
        let mut wanted = container();
        wanted.command = command.iter().map(ToString::to_string).collect();
        wanted.args = args.iter().map(ToString::to_string).collect();
        spec_of(&wanted)["process"]["args"].clone()
    };
    assert_eq!(args(&[], &[]), json!(["/entry", "default"]));
    assert_eq!(args(&[], &["mine"]), json!(["/entry", "mine"]));
    assert_eq!(args(&["/cmd"], &[]), json!(["/cmd"]));
    assert_eq!(args(&["/cmd"], &["mine"]), json!(["/cmd", "mine"]));
    let nothing = runtime_spec(&container(), &ImageConfig::default(), &Identity::default(), &Host::default(), "", &[]);
    assert!(nothing.unwrap_err().to_string().ends_with("no command specified"));
}

#[test]
fn environment_of_the_pod_wins() {
    assert_eq!(spec_of(&container())["process"]["env"], json!(["PATH=/bin", "A=pod", "B=$x"]));
}

#[test]
fn namespaces_are_joined_shared_or_new() {
    let mut wanted = container();
    wanted.namespaces = Namespaces { net: Some("/run/netns/net".into()), host_pid: true, ..Namespaces::default() };
    let namespaces = spec_of(&wanted)["linux"]["namespaces"].clone();
    assert_eq!(
        namespaces,
        json!([{"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network", "path": "/run/netns/net"}])
    );
}

#[test]
fn mounts_of_the_pod_replace_defaults_and_nest() {
    let mut wanted = container();
    let bind = |destination: &str| Mount {
        destination: destination.into(),
        source: MountSource::Bind("/host".into()),
        read_only: true,
        propagation: Propagation::Private,
    };
    wanted.mounts = vec![bind("/a/b"), bind("/a"), bind("/dev/shm")];
    let mounts = spec_of(&wanted)["mounts"].clone();
    let at: Vec<&str> = mounts.as_array().unwrap().iter().map(|mount| mount["destination"].as_str().unwrap()).collect();
    assert_eq!(at.iter().filter(|path| **path == "/dev/shm").count(), 1);
    let position = |path| at.iter().position(|other| *other == path).unwrap();
    assert!(position("/a") < position("/a/b"));
    assert_eq!(mounts[position("/a")]["options"], json!(["rbind", "rprivate", "ro"]));
}

#[test]
fn privileged_lifts_the_fences() {
    let mut wanted = container();
    wanted.privileged = true;
    wanted.seccomp = Seccomp::RuntimeDefault;
    let spec = spec_of(&wanted);
    assert_eq!(spec["linux"]["maskedPaths"], json!([]));
    assert_eq!(spec["linux"]["resources"]["devices"][0]["allow"], true);
    assert!(spec["linux"].get("seccomp").is_none());
    assert_eq!(spec["process"]["capabilities"]["bounding"], json!(["CAP_CHOWN", "CAP_SYS_ADMIN"]));
    assert_eq!(spec_of(&container())["linux"]["readonlyPaths"][0], "/proc/bus");
}

#[test]
fn a_score_below_what_we_may_give_is_raised() {
    let score = |asked: i32, lowest: Option<i32>| {
        let host = Host { lowest_oom_score_adj: lowest, ..Host::default() };
        let wanted = ContainerSpec { oom_score_adj: asked, ..container() };
        runtime_spec(&wanted, &image(), &Identity::default(), &host, "", &[]).unwrap()["process"]["oomScoreAdj"].clone()
    };
    assert_eq!([score(-997, None), score(-997, Some(0)), score(1000, Some(0))], [-997, 0, 1000]);
}

#[test]
fn limits_arrive() {
    let mut wanted = container();
    wanted.resources = Resources {
        cpu_shares: Some(102),
        cpu_quota: Some(10_000),
        memory_limit: Some(64 << 20),
        pids_limit: Some(100),
        cpu_period: None,
    };
    let resources = spec_of(&wanted)["linux"]["resources"].clone();
    assert_eq!(resources["cpu"], json!({"shares": 102, "quota": 10_000, "period": 100_000}));
    assert_eq!(resources["memory"], json!({"limit": 64 << 20}));
    assert_eq!(resources["pids"]["limit"], 100);
}
