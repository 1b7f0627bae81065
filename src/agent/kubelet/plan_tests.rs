//! Tables for `plan` and `status`: what was observed, and what must follow.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Value, json};

use super::model::*;
use super::plan::{Plan, plan};
use super::status::{NodeFacts, generate};

/// A pod's spec and the states of its containers → what is planned, or the phase.
type Case = (Value, &'static [(&'static str, &'static str)], &'static str);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn pod(spec: Value) -> Pod {
    let meta = json!({"name": "p", "namespace": "ns", "uid": "u", "generation": 1});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

fn run(name: &str, attempt: u32, exit: Option<i32>) -> Instance {
    let container = k8s_openapi::api::core::v1::Container { name: name.into(), ..Default::default() };
    Instance {
        id: format!("{name}-{attempt}"),
        attempt,
        epoch: 1,
        hash: spec_hash(&container),
        image: "img".into(),
        image_id: "sha".into(),
        started_at: Some(at(0)),
        finished: exit.map(|exit_code| Finished {
            exit_code,
            reason: if exit_code == 0 { "Completed" } else { "Error" }.into(),
            message: None,
            at: at(5),
        }),
    }
}

/// `up`, `exit:<code>`, `busy`; names may carry `!` for not ready.
fn seen(containers: &[(&str, &str)]) -> Observed {
    let mut out = Observed {
        sandbox: Some(Sandbox { ip: Some([10, 42, 0, 2].into()) }),
        epoch: 1,
        start_time: Some(at(0)),
        ..Observed::default()
    };
    for (name, what) in containers {
        let mut state = ContainerState { started: true, ready: true, ..ContainerState::default() };
        match what.split_once(':') {
            Some(("exit", code)) => state.current = Some(run(name, 0, code.parse().ok())),
            _ if *what == "up" => state.current = Some(run(name, 0, None)),
            _ if *what == "unstarted" => {
                state.current = Some(run(name, 0, None));
                state.started = false;
            }
            _ => state.activity = Activity::Starting,
        }
        out.containers.insert((*name).to_owned(), state);
    }
    out
}

/// A plan in short: `+name#attempt` starts, `-name` stops, `~name` waits, `.` is finished.
fn brief(plan: &Plan) -> String {
    let mut out: Vec<String> = Vec::new();
    out.extend(plan.create_sandbox.then(|| "sandbox".to_owned()));
    out.extend(plan.start.iter().map(|start| format!("+{}#{}", start.name, start.attempt)));
    out.extend(plan.stop.iter().map(|stop| format!("-{}", stop.name)));
    out.extend(plan.waiting.iter().map(|(name, _)| format!("~{name}")));
    out.extend(plan.finished.then(|| ".".to_owned()));
    out.join(" ")
}

fn two_inits(policy: &str) -> Value {
    json!({"restartPolicy": policy,
        "initContainers": [{"name": "i1"}, {"name": "side", "restartPolicy": "Always"}, {"name": "i2"}],
        "containers": [{"name": "a"}, {"name": "b"}]})
}

#[test]
fn containers_start_in_order_and_restart_by_policy() {
    let two = |policy: &str| json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]});
    let init = two_inits;
    let cases: &[Case] = &[
        (two("Always"), &[], "+a#0 +b#0"),
        (two("Always"), &[("a", "busy"), ("b", "up")], ""),
        (two("Always"), &[("a", "exit:0"), ("b", "up")], "+a#1"),
        (two("OnFailure"), &[("a", "exit:0"), ("b", "exit:3")], "+b#1"),
        (two("OnFailure"), &[("a", "exit:0"), ("b", "exit:0")], "."),
        (two("Never"), &[("a", "exit:0"), ("b", "up")], ""),
        (two("Never"), &[("a", "exit:0"), ("b", "exit:3")], "."),
        (init("Always"), &[], "+i1#0"),
        (init("Always"), &[("i1", "up")], ""),
        (init("Always"), &[("i1", "exit:1")], "+i1#1"),
        (init("Never"), &[("i1", "exit:1")], "."),
        (init("Always"), &[("i1", "exit:0")], "+side#0"),
        (init("Always"), &[("i1", "exit:0"), ("side", "unstarted")], ""),
        (init("Always"), &[("i1", "exit:0"), ("side", "up")], "+i2#0"),
        (init("Always"), &[("i1", "exit:0"), ("side", "up"), ("i2", "exit:0")], "+a#0 +b#0"),
        (
            init("Always"),
            &[("i1", "exit:0"), ("side", "exit:0"), ("i2", "exit:0"), ("a", "up"), ("b", "up")],
            "+side#1",
        ),
        (
            init("Never"),
            &[("i1", "exit:0"), ("side", "up"), ("i2", "exit:0"), ("a", "exit:0"), ("b", "exit:0")],
            "-side",
        ),
    ];
    for (spec, state, expected) in cases {
        assert_eq!(brief(&plan(&pod(spec.clone()), &seen(state), at(6))), *expected, "{spec} {state:?}");
    }
}

#[test]
fn a_crash_loop_waits_and_says_so() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let mut seen = seen(&[("a", "exit:1")]);
    seen.containers.get_mut("a").unwrap().crash.restarted(at(0));
    let waits = plan(&pod, &seen, at(6));
    assert_eq!((brief(&waits).as_str(), waits.wake_at), ("~a", Some(at(15))));
    assert_eq!(waits.waiting[0].1.reason, "CrashLoopBackOff");
    assert_eq!(waits.waiting[0].1.message, "back-off 10s restarting failed container=a pod=p_ns(u)");
    assert_eq!(brief(&plan(&pod, &seen, at(15))), "+a#1");
}

#[test]
fn a_new_sandbox_runs_everything_anew_with_counts_continued() {
    let mut before =
        seen(&[("i1", "exit:0"), ("side", "exit:255"), ("i2", "exit:0"), ("a", "exit:255"), ("b", "exit:255")]);
    before.sandbox = None;
    assert_eq!(brief(&plan(&pod(two_inits("Always")), &before, at(6))), "sandbox");
    before.sandbox = Some(Sandbox::default());
    before.epoch = 2;
    assert_eq!(brief(&plan(&pod(two_inits("Always")), &before, at(6))), "+i1#1");
}

#[test]
fn an_end_by_rule_starts_all_containers_again() {
    let rules =
        |action: &str, code: i32| json!([{"action": action, "exitCodes": {"operator": "In", "values": [code]}}]);
    let mut watcher =
        json!({"name": "w", "restartPolicy": "Never", "restartPolicyRules": rules("RestartAllContainers", 42)});
    let spec = |watcher: &Value| {
        json!({"restartPolicy": "Never",
            "initContainers": [{"name": "i"}, {"name": "side", "restartPolicy": "Always"}],
            "containers": [{"name": "a"}, {"name": "b"}, watcher]})
    };
    let whole = pod(spec(&watcher));
    let shown = |seen: &Observed| {
        let status = status(&whole, seen);
        let condition = |kind: &str| {
            let found = status.conditions.as_ref().unwrap().iter().find(|condition| condition.type_ == kind).unwrap();
            (found.status.clone(), found.reason.clone())
        };
        (status.phase.clone().unwrap(), condition("AllContainersRestarting"), condition("Initialized").0)
    };
    let phase = |phase: &str, restarting: &str, reason: Option<&str>| {
        (phase.to_owned(), (restarting.to_owned(), reason.map(str::to_owned)), "True".to_owned())
    };
    let usual = [("i", "exit:0"), ("side", "up"), ("a", "up"), ("b", "exit:0"), ("w", "up")];
    assert_eq!(shown(&seen(&usual)), phase("Running", "False", None));

    // Everything is killed at once, whatever has ended stays so for the moment.
    let mut now = seen(&[("i", "exit:0"), ("side", "up"), ("a", "up"), ("b", "exit:0"), ("w", "exit:42")]);
    let killing = plan(&whole, &now, at(6));
    assert_eq!((brief(&killing).as_str(), killing.begin_anew.as_deref()), ("-side -a", None));
    assert!(killing.stop.iter().all(|stop| stop.grace == 0));
    assert_eq!(shown(&now), phase("Running", "True", Some("RestartAllContainersStarted")));

    // Then all begin anew in the same sandbox, those too that had ended well or may never restart.
    for name in ["side", "a"] {
        now.containers.get_mut(name).unwrap().current = Some(run(name, 0, Some(137)));
    }
    assert_eq!(plan(&whole, &now, at(6)).begin_anew.as_deref(), Some("w"));
    (now.epoch, now.anew) = (2, 2);
    assert_eq!(brief(&plan(&whole, &now, at(6))), "+i#1");
    assert_eq!(shown(&now), phase("Pending", "False", None));
    let again = status(&whole, &now);
    let b = &again.container_statuses.as_ref().unwrap()[1];
    assert_eq!(json!(b.state), json!({"waiting": {"reason": "PodInitializing"}}));
    assert_eq!(json!(b.last_state)["terminated"]["exitCode"], 0);
    let ran = |name: &str, exit: Option<i32>| Some(Instance { epoch: 2, ..run(name, 1, exit) });
    now.containers.get_mut("i").unwrap().current = ran("i", Some(0));
    assert_eq!(brief(&plan(&whole, &now, at(6))), "+side#1");
    now.containers.get_mut("side").unwrap().current = ran("side", None);
    now.containers.get_mut("side").unwrap().started = true;
    assert_eq!(brief(&plan(&whole, &now, at(6))), "+a#1 +b#1 +w#1");

    // One that does so again and again waits as others that crash.
    let mut looping = seen(&[("w", "exit:42")]);
    looping.containers.get_mut("w").unwrap().crash.restarted(at(0));
    let waits = plan(&whole, &looping, at(6));
    assert_eq!((brief(&waits).as_str(), waits.begin_anew, waits.wake_at), ("~w", None, Some(at(15))));

    // The first rule that is about the code counts.
    watcher["restartPolicyRules"] = json!([rules("Restart", 42)[0], rules("RestartAllContainers", 42)[0]]);
    let first = pod(spec(&watcher));
    let now = seen(&[("i", "exit:0"), ("side", "up"), ("a", "up"), ("b", "exit:0"), ("w", "exit:42")]);
    assert_eq!(brief(&plan(&first, &now, at(6))), "+w#1");
}

#[test]
fn illness_and_change_stop_a_container() {
    let healthy = pod(json!({"containers": [{"name": "a"}]}));
    let mut ill = seen(&[("a", "up")]);
    assert_eq!(brief(&plan(&healthy, &ill, at(6))), "");
    let changed = pod(json!({"containers": [{"name": "a", "image": "new"}]}));
    let stop = plan(&changed, &ill, at(6)).stop;
    assert_eq!(stop[0].message, "Container a definition changed, will be restarted");
    let condemned = Condemned { why: "Container a failed liveness probe".into(), grace: Some(3) };
    ill.containers.get_mut("a").unwrap().condemned = Some(condemned);
    let stop = plan(&healthy, &ill, at(6)).stop;
    assert_eq!((stop[0].message.as_str(), stop[0].grace), ("Container a failed liveness probe, will be restarted", 3));
}

#[test]
fn an_ending_stops_sidecars_last_and_starts_nothing() {
    let pod = pod(two_inits("Always"));
    let mut seen = seen(&[("side", "up"), ("a", "up"), ("b", "exit:0")]);
    seen.ending = Some(Ending { grace: 5, failure: None });
    assert_eq!(brief(&plan(&pod, &seen, at(6))), "-a");
    seen.containers.get_mut("a").unwrap().current = Some(run("a", 0, Some(0)));
    assert_eq!(brief(&plan(&pod, &seen, at(6))), "-side");
    seen.containers.get_mut("side").unwrap().activity = Activity::Stopping;
    assert_eq!(brief(&plan(&pod, &seen, at(6))), "");
    let side = seen.containers.get_mut("side").unwrap();
    (side.current, side.activity) = (Some(run("side", 0, Some(143))), Activity::None);
    assert_eq!(brief(&plan(&pod, &seen, at(6))), ".");
}

#[test]
fn the_deadline_ends_the_pod() {
    let pod = pod(json!({"activeDeadlineSeconds": 10, "containers": [{"name": "a"}]}));
    let seen = seen(&[("a", "up")]);
    let early = plan(&pod, &seen, at(9));
    assert_eq!((early.end, early.wake_at), (None, Some(at(10))));
    let failure = plan(&pod, &seen, at(10)).end.unwrap().failure.unwrap();
    assert_eq!(failure.reason, "DeadlineExceeded");
}

fn status(pod: &Pod, seen: &Observed) -> PodStatus {
    generate(pod, &PodStatus::default(), seen, NodeFacts { ip: [192, 168, 0, 1].into() }, at(9))
}

#[test]
fn phases_are_upstreams() {
    let two = |policy: &str| json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]});
    let init = |policy: &str| json!({"restartPolicy": policy, "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    let cases: &[Case] = &[
        (two("Always"), &[], "Pending"),
        (two("Always"), &[("a", "up")], "Pending"),
        (two("Always"), &[("a", "up"), ("b", "up")], "Running"),
        (two("Always"), &[("a", "exit:0"), ("b", "exit:0")], "Running"),
        (two("OnFailure"), &[("a", "exit:1"), ("b", "exit:0")], "Running"),
        (two("Never"), &[("a", "exit:1"), ("b", "up")], "Running"),
        (two("Never"), &[("a", "exit:1"), ("b", "exit:0")], "Failed"),
        (two("Never"), &[("a", "exit:0"), ("b", "exit:0")], "Succeeded"),
        (init("Always"), &[("i", "up")], "Pending"),
        (init("Always"), &[("i", "exit:1")], "Pending"),
        (init("Never"), &[("i", "exit:1")], "Failed"),
        (init("Always"), &[("i", "exit:0"), ("a", "up")], "Running"),
    ];
    for (spec, state, expected) in cases {
        let status = status(&pod(spec.clone()), &seen(state));
        assert_eq!(status.phase.as_deref(), Some(*expected), "{spec} {state:?}");
    }
}

#[test]
fn conditions_say_what_is_missing() {
    let spec = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}],
        "readinessGates": [{"conditionType": "example.com/gate"}]});
    let shown = |state: &[(&str, &str)]| -> Value {
        let status = status(&pod(spec.clone()), &seen(state));
        let text = |condition: &k8s_openapi::api::core::v1::PodCondition| {
            let reason = condition.reason.clone().unwrap_or_default();
            json!([condition.status, reason, condition.message.clone().unwrap_or_default()])
        };
        status.conditions.unwrap().iter().map(|condition| (condition.type_.clone(), text(condition))).collect()
    };
    let starting = shown(&[]);
    assert_eq!(
        starting["Initialized"],
        json!(["False", "ContainersNotInitialized", "containers with incomplete status: [i]"])
    );
    assert_eq!(starting["Ready"], json!(["False", "ContainersNotReady", "containers with unready status: [a b]"]));
    assert_eq!(starting["PodReadyToStartContainers"], json!(["True", "", ""]));
    let gated = shown(&[("i", "exit:0"), ("a", "up"), ("b", "up")]);
    assert_eq!(gated["ContainersReady"], json!(["True", "", ""]));
    assert_eq!(gated["Ready"][1], "ReadinessGatesNotReady");
    assert_eq!(gated["Ready"][2], "corresponding condition of pod readiness gate \"example.com/gate\" does not exist.");
}

#[test]
fn container_states_are_upstreams() {
    let pod = pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a", "image": "x:1"}]}));
    let first = status(&pod, &seen(&[]));
    let main = &first.container_statuses.as_ref().unwrap()[0];
    assert_eq!(json!(main.state), json!({"waiting": {"reason": "PodInitializing"}}));
    assert_eq!((main.image.as_str(), main.restart_count, main.started), ("x:1", 0, Some(false)));

    let mut crashed = seen(&[("i", "exit:0")]);
    let mut state = ContainerState { current: Some(run("a", 2, Some(3))), ..ContainerState::default() };
    state.waiting = Some(Waiting { reason: "CrashLoopBackOff", message: "back-off".into() });
    crashed.containers.insert("a".into(), state);
    let looping = status(&pod, &crashed);
    let main = &looping.container_statuses.as_ref().unwrap()[0];
    assert_eq!(json!(main.state)["waiting"]["reason"], "CrashLoopBackOff");
    let last = &json!(main.last_state)["terminated"];
    assert_eq!((last["exitCode"].clone(), last["reason"].clone()), (json!(3), json!("Error")));
    assert_eq!(last["containerID"], "containerd://a-2");
    assert_eq!((main.restart_count, main.ready), (2, false));
    assert_eq!(looping.phase.as_deref(), Some("Running"));

    let mut again = crashed.clone();
    let state = again.containers.get_mut("a").unwrap();
    state.previous = state.current.replace(run("a", 3, None));
    (state.waiting, state.started, state.ready) = (None, true, true);
    let up = status(&pod, &again);
    let main = &up.container_statuses.as_ref().unwrap()[0];
    assert!(json!(main.state)["running"].is_object() && main.ready && main.started == Some(true));
    assert_eq!(json!(main.last_state)["terminated"]["exitCode"], 3);
    assert_eq!((up.pod_ip.as_deref(), up.host_ip.as_deref()), (Some("10.42.0.2"), Some("192.168.0.1")));
}

#[test]
fn a_deleted_pod_ends_in_a_final_phase() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let mut seen = seen(&[("a", "exit:143")]);
    seen.ending = Some(Ending { grace: 30, failure: None });
    assert_eq!(status(&pod, &seen).phase.as_deref(), Some("Failed"));
    seen.containers.get_mut("a").unwrap().current = Some(run("a", 0, Some(0)));
    assert_eq!(status(&pod, &seen).phase.as_deref(), Some("Succeeded"));
}
