//! How long pods take to start, under upstream's names: from their creation until all their containers run, with and
//! without the time in which images were pulled and init containers ran.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::Mutex;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::api::exposition;

const BUCKETS: [f64; 25] = [
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0,
    600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0,
];

/// So many are remembered of a pod.
const PULLS: usize = 64;

type Span = (Timestamp, Timestamp);

pub struct Starts {
    registry: Registry,
    own: Histogram,
    whole: Histogram,
    /// When images were pulled for pods that are being started, by uid.
    pulls: Mutex<HashMap<String, Vec<Span>>>,
}

impl Default for Starts {
    fn default() -> Self {
        let (own, whole) = (Histogram::new(BUCKETS), Histogram::new(BUCKETS));
        let mut registry = Registry::default();
        let help = "Duration in seconds to start a pod, excluding time to pull images and run init containers";
        registry.register("kubelet_pod_start_sli_duration_seconds", help, own.clone());
        let help = "Duration in seconds to start a pod since creation, including time to pull images and run init \
                    containers";
        registry.register("kubelet_pod_start_total_duration_seconds", help, whole.clone());
        Self { registry, own, whole, pulls: Mutex::default() }
    }
}

impl Starts {
    pub fn render(&self) -> String {
        let mut open = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut open, &self.registry);
        exposition::plain(&open)
    }

    /// From now on it is seen what the pod waits for.
    pub fn begin(&self, uid: &str) {
        self.pulls.lock().insert(uid.to_owned(), Vec::new());
    }

    /// An image was pulled for a pod.
    pub fn pulled(&self, uid: &str, span: Span) {
        if let Some(pulls) = self.pulls.lock().get_mut(uid).filter(|pulls| pulls.len() < PULLS) {
            pulls.push(span);
        }
    }

    /// The pod has started, or will not.
    pub fn forget(&self, uid: &str) {
        self.pulls.lock().remove(uid);
    }

    /// Counts the pod where it has just started; says whether it has.
    pub fn observe(&self, pod: &Pod, status: &PodStatus, now: Timestamp) -> bool {
        let running = status.container_statuses.as_deref().unwrap_or_default();
        let wanted = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
        let run = |state: &Option<_>| {
            matches!(state, Some(k8s_openapi::api::core::v1::ContainerState { running: Some(_), .. }))
        };
        if running.len() < wanted || !running.iter().all(|container| run(&container.state)) {
            return false;
        }
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let mut apart = self.pulls.lock().remove(uid).unwrap_or_default();
        apart.extend(status.init_container_statuses.iter().flatten().filter_map(|container| {
            let ended = container.state.as_ref()?.terminated.as_ref()?;
            Some((ended.started_at.as_ref()?.0, ended.finished_at.as_ref()?.0))
        }));
        if let Some(created) = &pod.metadata.creation_timestamp {
            let whole = now.duration_since(created.0).as_secs_f64();
            self.whole.observe(whole);
            self.own.observe((whole - together(apart)).max(0.0));
        }
        true
    }
}

/// How many seconds lie within any of these.
fn together(mut spans: Vec<Span>) -> f64 {
    spans.sort_unstable();
    let (mut sum, mut until) = (0.0, Timestamp::MIN);
    for (from, to) in spans {
        let from = from.max(until);
        if to > from {
            sum += to.duration_since(from).as_secs_f64();
            until = to;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_overlaps_is_counted_once() {
        let spans = vec![(at(5), at(8)), (at(0), at(4)), (at(2), at(6)), (at(20), at(21))];
        assert_eq!(together(spans), 9.0);
    }

    #[test]
    fn a_pod_has_started_when_all_its_containers_run() {
        let starts = Starts::default();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"uid": "u", "creationTimestamp": "1970-01-01T00:00:10Z"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
        }))
        .unwrap();
        let status = |both: bool| -> PodStatus {
            let run = json!({"running": {"startedAt": "1970-01-01T00:00:20Z"}});
            let other = if both { run.clone() } else { json!({"waiting": {}}) };
            let of = |name: &str, state| json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
            let init = json!({"terminated": {"exitCode": 0, "startedAt": "1970-01-01T00:00:14Z", "finishedAt": "1970-01-01T00:00:16Z"}});
            serde_json::from_value(json!({
                "containerStatuses": [of("a", run), of("b", other)], "initContainerStatuses": [of("i", init)],
            }))
            .unwrap()
        };
        starts.pulled("u", (at(1), at(15)));
        starts.begin("u");
        starts.pulled("u", (at(11), at(15)));
        assert!(!starts.observe(&pod, &status(false), at(18)));
        assert!(starts.observe(&pod, &status(true), at(20)));
        let told = starts.render();
        for line in [
            "kubelet_pod_start_total_duration_seconds_sum 10.0",
            "kubelet_pod_start_sli_duration_seconds_sum 5.0",
            "kubelet_pod_start_sli_duration_seconds_bucket{le=\"4\"} 0",
            "kubelet_pod_start_sli_duration_seconds_bucket{le=\"5\"} 1",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\n{told}");
        }
        assert!(starts.pulls.lock().is_empty());
    }
}
