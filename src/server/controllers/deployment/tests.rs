//! Whole rollouts against a world of numbers: the plan is carried out, ReplicaSets get their pods, and
//! at every step no more pods exist and no fewer are available than the strategy allows.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DeploymentStrategy, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::plan;
use super::*;

struct Cluster {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    now: Timestamp,
    /// Images whose pods never become available.
    broken: &'static str,
    created: i64,
}

impl Cluster {
    fn new(replicas: i32, strategy: &str) -> Self {
        let mut deployment = Deployment::default();
        deployment.metadata.name = Some("web".to_owned());
        deployment.metadata.uid = Some("d".to_owned());
        deployment.metadata.generation = Some(1);
        let spec = deployment.spec.get_or_insert_default();
        spec.replicas = Some(replicas);
        spec.progress_deadline_seconds = Some(600);
        spec.revision_history_limit = Some(10);
        spec.strategy = Some(DeploymentStrategy { type_: Some(strategy.to_owned()), rolling_update: None });
        let now = Timestamp::from_second(1_000_000).expect("valid");
        let mut cluster = Self { deployment, sets: Vec::new(), now, broken: "", created: 0 };
        cluster.set_image("one");
        cluster
    }

    fn set_image(&mut self, image: &str) {
        let container = Container { image: Some(image.to_owned()), ..Container::default() };
        let spec = self.deployment.spec.get_or_insert_default();
        spec.template.spec = Some(PodSpec { containers: vec![container], ..PodSpec::default() });
        self.changed();
    }

    fn changed(&mut self) {
        self.deployment.metadata.generation = self.deployment.metadata.generation.map(|generation| generation + 1);
    }

    fn plan(&self) -> Plan {
        let sets = self.sets.iter().cloned().map(Arc::new).collect();
        plan(World { deployment: &self.deployment, sets, pods: Vec::new() }, self.now)
    }

    /// Carries out one plan; whether it changed anything.
    fn step(&mut self) -> bool {
        let plan = self.plan();
        let before = (self.sets.clone(), self.deployment.clone());
        for step in plan.steps {
            match step {
                Step::Create(mut set) => {
                    self.created += 1;
                    set.metadata.uid = Some(self.created.to_string());
                    let created = Timestamp::from_second(self.created).expect("valid");
                    set.metadata.creation_timestamp = Some(Time(created));
                    self.sets.push(*set);
                }
                Step::Update { set, .. } => {
                    let at = self.sets.iter().position(|other| other.metadata.name == set.metadata.name);
                    self.sets[at.expect("only sets there are get updated")] = *set;
                }
                Step::Delete(set) => self.sets.retain(|other| other.metadata.name != set.metadata.name),
            }
        }
        if let Some(revision) = plan.revision {
            let annotations = self.deployment.metadata.annotations.get_or_insert_default();
            annotations.insert(revision::REVISION.to_owned(), revision);
        }
        self.deployment.status = Some(plan.status);
        before != (self.sets.clone(), self.deployment.clone())
    }

    /// ReplicaSets have the pods they ask for; one more of each becomes available.
    fn run_pods(&mut self) -> bool {
        let before = self.sets.clone();
        for set in &mut self.sets {
            let size = size::set_replicas(set);
            let image = set.spec.as_ref().and_then(|s| s.template.as_ref()?.spec.as_ref()?.containers[0].image.clone());
            let available = size::available(set);
            let more = i32::from(image.as_deref() != Some(self.broken));
            let available = Some((available + more).min(size));
            set.status = Some(ReplicaSetStatus {
                replicas: size,
                ready_replicas: available,
                available_replicas: available,
                terminating_replicas: Some(0),
                observed_generation: set.metadata.generation,
                ..ReplicaSetStatus::default()
            });
        }
        before != self.sets
    }

    fn total(&self) -> i32 {
        self.sets.iter().map(size::set_replicas).sum()
    }

    fn available(&self) -> i32 {
        self.sets.iter().map(size::available).sum()
    }

    /// Until nothing moves; checks the bounds on the way if `least` pods were available before.
    fn settle(&mut self, least: Option<i32>) {
        for _ in 0..200 {
            let (planned, ran) = (self.step(), self.run_pods());
            assert!(self.total() <= size::maximum(&self.deployment), "{} pods", self.total());
            if let Some(least) = least {
                assert!(self.available() >= least, "only {} available", self.available());
            }
            if !planned && !ran {
                return;
            }
        }
        panic!("the rollout never came to rest");
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(size::set_replicas).collect()
    }

    fn condition(&self, kind: &str) -> (String, String, String) {
        let status = self.deployment.status.as_ref().expect("planned before");
        let found = status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
        let found = found.unwrap_or_else(|| panic!("no condition {kind}")).clone();
        (found.status, found.reason.unwrap_or_default(), found.message.unwrap_or_default())
    }

    fn revisions(&self) -> Vec<i64> {
        self.sets.iter().map(revision::revision).collect()
    }
}

fn words(status: &str, reason: &str, message: &str) -> (String, String, String) {
    (status.to_owned(), reason.to_owned(), message.to_owned())
}

#[test]
fn a_rolling_update_stays_within_its_bounds() {
    for replicas in [1, 3, 4, 10, 37] {
        let mut cluster = Cluster::new(replicas, "RollingUpdate");
        cluster.settle(None);
        assert_eq!(cluster.sizes(), [replicas]);
        cluster.set_image("two");
        let least = replicas - size::max_unavailable(&cluster.deployment);
        cluster.settle(Some(least));
        assert_eq!(cluster.sizes(), [0, replicas]);
        let name = cluster.sets[1].metadata.name.clone().expect("named");
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        assert_eq!(cluster.condition("Progressing"), words("True", "NewReplicaSetAvailable", &message));
        let message = "Deployment has minimum availability.";
        assert_eq!(cluster.condition("Available"), words("True", "MinimumReplicasAvailable", message));
    }
}

#[test]
fn undoing_brings_the_old_set_back_under_a_new_number() {
    let mut cluster = Cluster::new(3, "RollingUpdate");
    cluster.settle(None);
    cluster.set_image("two");
    cluster.settle(None);
    assert_eq!(cluster.revisions(), [1, 2]);
    cluster.set_image("one");
    cluster.settle(None);
    assert_eq!((cluster.sizes(), cluster.revisions()), (vec![3, 0], vec![3, 2]));
    let shown = revision::annotation(&cluster.deployment.metadata, revision::REVISION);
    assert_eq!(shown, Some("3"));
}

#[test]
fn a_broken_rollout_keeps_what_works_and_gives_up_in_time() {
    let mut cluster = Cluster::new(4, "RollingUpdate");
    cluster.settle(None);
    cluster.broken = "two";
    cluster.set_image("two");
    cluster.settle(Some(3));
    assert_eq!(cluster.sizes(), [3, 2]);
    assert_eq!(cluster.condition("Progressing").1, "ReplicaSetUpdated");
    let due = cluster.plan().due.expect("there is a deadline");
    assert_eq!(due.duration_since(cluster.now), SignedDuration::from_secs(600));
    cluster.now = due;
    cluster.settle(Some(3));
    let name = cluster.sets[1].metadata.name.clone().expect("named");
    let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
    assert_eq!(cluster.condition("Progressing"), words("False", "ProgressDeadlineExceeded", &message));
    assert_eq!(cluster.plan().due, None);
}

#[test]
fn recreating_waits_for_the_last_old_pod() {
    let mut cluster = Cluster::new(3, "Recreate");
    cluster.settle(None);
    cluster.set_image("two");
    cluster.step();
    assert_eq!(cluster.sizes(), [0], "the old set is emptied before there is a new one");
    cluster.step();
    assert_eq!(cluster.sizes(), [0], "its pods are still counted");
    let mut pod = Pod::default();
    pod.metadata.owner_references = Some(vec![owners::reference(&cluster.sets[0])]);
    cluster.run_pods();
    let sets: Vec<_> = cluster.sets.iter().cloned().map(Arc::new).collect();
    let waiting = World { deployment: &cluster.deployment, sets, pods: vec![Arc::new(pod)] };
    assert_eq!(plan(waiting, cluster.now).steps, [], "one still ends");
    cluster.settle(None);
    assert_eq!(cluster.sizes(), [0, 3]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut cluster = Cluster::new(3, "RollingUpdate");
    cluster.settle(None);
    let spec = cluster.deployment.spec.get_or_insert_default();
    spec.paused = Some(true);
    spec.replicas = Some(5);
    cluster.set_image("two");
    cluster.settle(None);
    assert_eq!(cluster.sizes(), [5]);
    assert_eq!(cluster.condition("Progressing"), words("Unknown", "DeploymentPaused", "Deployment is paused"));
    cluster.deployment.spec.get_or_insert_default().paused = Some(false);
    cluster.changed();
    cluster.step();
    cluster.settle(None);
    assert_eq!(cluster.sizes(), [0, 5]);
    assert_eq!(cluster.condition("Progressing").1, "NewReplicaSetAvailable");
}

#[test]
fn scaling_amid_a_rollout_is_shared() {
    let mut cluster = Cluster::new(10, "RollingUpdate");
    cluster.settle(None);
    cluster.broken = "two";
    cluster.set_image("two");
    cluster.settle(None);
    assert_eq!(cluster.sizes(), [8, 5]);
    cluster.deployment.spec.get_or_insert_default().replicas = Some(20);
    cluster.changed();
    cluster.step();
    assert_eq!(cluster.total(), 25);
    assert!(cluster.sizes()[0] > 8 && cluster.sizes()[1] > 5, "{:?}", cluster.sizes());
}

#[test]
fn scaling_to_zero_and_back() {
    let mut cluster = Cluster::new(3, "RollingUpdate");
    cluster.settle(None);
    for replicas in [0, 4] {
        cluster.deployment.spec.get_or_insert_default().replicas = Some(replicas);
        cluster.changed();
        cluster.settle(None);
        assert_eq!(cluster.sizes(), [replicas]);
    }
}
