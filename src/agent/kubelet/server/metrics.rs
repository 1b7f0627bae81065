//! `/metrics`, `/metrics/resource`, `/metrics/probes` and `/metrics/cadvisor`: what nodes, pods and containers use, in
//! Prometheus' text format under upstream's names. Written when asked for; nothing is counted in between. Upstream's
//! `kubelet_pleg_*` are not there: nobody lists containers again and again here.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Server;
use super::answer::{self, Answer, Failure};
use super::stats::{Sample, sample};
use crate::agent::kubelet::probes::Results;
use crate::agent::runtime::{ContainerInfo, ContainerStats};

/// Families of metrics, each written once with its samples.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str, samples: impl IntoIterator<Item = (String, f64)>) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    fn answer(self) -> Answer {
        answer::text(&self.0)
    }
}

/// `{a="x",b="y"}`; names of the API need no escape, but images may hold anything.
fn labels(pairs: &[(&str, &str)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

type One = (ContainerInfo, ContainerStats);

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn started(info: &ContainerInfo) -> f64 {
    info.started_at.map_or(0.0, |at| at.as_millisecond() as f64 / 1e3)
}

/// What the kubelet itself says.
pub async fn kubelet(server: &Server) -> Result<Answer, Failure> {
    let sample = sample(server).await?;
    let pods: std::collections::BTreeSet<_> = sample.containers.iter().map(|(info, _)| &info.pod_uid).collect();
    let node = labels(&[("node", &server.host.settings.node_name)]);
    let mut page = Page::default();
    page.family("kubelet_node_name", "gauge", "The node's name.", [(node, 1.0)]);
    page.family(
        "kubelet_running_pods",
        "gauge",
        "Pods with a running container.",
        [(String::new(), pods.len() as f64)],
    );
    let running = (labels(&[("container_state", "running")]), sample.containers.len() as f64);
    page.family("kubelet_running_containers", "gauge", "Containers by their state.", [running]);
    page.0.push_str(&server.host.pod_starts.render());
    page.0.push_str(&server.host.certificates.render(jiff::Timestamp::now()));
    page.0.push_str(&server.host.requests.render());
    page.0.push_str(&server.host.dns_metrics.render());
    Ok(page.answer())
}

/// How the probes of running containers went.
pub fn probes(server: &Server) -> Answer {
    probes_page(&server.host.probe_results).answer()
}

fn probes_page(results: &Results) -> Page {
    let mut samples = Vec::new();
    for tally in results.running() {
        for (result, count) in tally.results() {
            let pairs = [
                ("container", tally.container.as_str()),
                ("namespace", &tally.namespace),
                ("pod", &tally.pod),
                ("pod_uid", &tally.uid),
                ("probe_type", tally.kind),
                ("result", result),
            ];
            samples.push((labels(&pairs), count as f64));
        }
    }
    let help = "Cumulative number of a liveness, readiness or startup probe for a container by result.";
    let mut page = Page::default();
    page.family("prober_probe_total", "counter", help, samples);
    page
}

/// What autoscalers read: CPU and working sets.
pub async fn resource(server: &Server) -> Result<Answer, Failure> {
    Ok(resource_page(&sample(server).await?).answer())
}

fn resource_page(sample: &Sample) -> Page {
    let mut page = Page::default();
    let of_container = |info: &ContainerInfo| {
        labels(&[("container", &info.name), ("namespace", &info.namespace), ("pod", &info.pod_name)])
    };
    let containers =
        |value: fn(&One) -> f64| sample.containers.iter().map(move |one| (of_container(&one.0), value(one)));
    let mut pods: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for (info, stats) in &sample.containers {
        let pod = pods.entry(labels(&[("namespace", &info.namespace), ("pod", &info.pod_name)])).or_default();
        pod.0 += seconds(stats.cpu_nanoseconds);
        pod.1 += stats.memory_working_set as f64;
    }
    let cpu = |one: &One| seconds(one.1.cpu_nanoseconds);
    let memory = |one: &One| one.1.memory_working_set as f64;
    let begun = |one: &One| started(&one.0);
    page.family("container_cpu_usage_seconds_total", "counter", "CPU time a container used.", containers(cpu));
    page.family("container_memory_working_set_bytes", "gauge", "A container's working set.", containers(memory));
    page.family("container_start_time_seconds", "gauge", "When a container started.", containers(begun));
    let node = |value: f64| [(String::new(), value)];
    page.family("node_cpu_usage_seconds_total", "counter", "CPU time the node used.", node(seconds(sample.node_cpu)));
    page.family("node_memory_working_set_bytes", "gauge", "The node's working set.", node(sample.node_memory as f64));
    let of_pods = |value: fn(&(f64, f64)) -> f64| pods.iter().map(move |(labels, pod)| (labels.clone(), value(pod)));
    page.family("pod_cpu_usage_seconds_total", "counter", "CPU time a pod used.", of_pods(|pod| pod.0));
    page.family("pod_memory_working_set_bytes", "gauge", "A pod's working set.", of_pods(|pod| pod.1));
    page.family("resource_scrape_error", "gauge", "1 where something could not be read.", node(0.0));
    page
}

/// cAdvisor's names, for dashboards that know only those.
pub async fn cadvisor(server: &Server) -> Result<Answer, Failure> {
    let sample = sample(server).await?;
    let capacity = server.host.capacity;
    let mut page = Page::default();
    let of = |info: &ContainerInfo| {
        let id = format!("/{}", info.id);
        labels(&[
            ("container", &info.name),
            ("id", &id),
            ("image", &info.image),
            ("name", &info.id),
            ("namespace", &info.namespace),
            ("pod", &info.pod_name),
        ])
    };
    let each = |value: fn(&One) -> f64| sample.containers.iter().map(move |one| (of(&one.0), value(one)));
    let cpu = |one: &One| seconds(one.1.cpu_nanoseconds);
    page.family("container_cpu_usage_seconds_total", "counter", "CPU time a container used.", each(cpu));
    let usage = |one: &One| one.1.memory_usage as f64;
    page.family("container_memory_usage_bytes", "gauge", "A container's memory with caches.", each(usage));
    let working = |one: &One| one.1.memory_working_set as f64;
    page.family("container_memory_working_set_bytes", "gauge", "A container's working set.", each(working));
    page.family(
        "container_memory_rss",
        "gauge",
        "A container's anonymous memory.",
        each(|one| one.1.memory_rss as f64),
    );
    page.family("container_processes", "gauge", "Processes of a container.", each(|one| one.1.processes as f64));
    page.family("container_start_time_seconds", "gauge", "When a container started.", each(|one| started(&one.0)));
    let node = |value: f64| [(String::new(), value)];
    page.family("machine_cpu_cores", "gauge", "Cores of the node.", node(capacity.cpu_milli as f64 / 1e3));
    page.family("machine_memory_bytes", "gauge", "Memory of the node.", node(capacity.memory as f64));
    Ok(page.answer())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(labels(&[]), "");
        assert_eq!(labels(&[("a", "x"), ("b", "\"y\\")]), r#"{a="x",b="\"y\\"}"#);
    }

    #[test]
    fn an_empty_family_is_not_written() {
        let page = resource_page(&Sample { node_cpu: 1_500_000_000, node_memory: 42, ..Sample::default() });
        assert!(
            page.0.contains("\nnode_cpu_usage_seconds_total 1.5\n") && !page.0.contains("container_"),
            "{}",
            page.0
        );
    }
}
