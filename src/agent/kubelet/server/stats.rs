//! `/stats/summary`: what node, pods and containers use now, read from the kernel when it is asked for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Server;
use super::answer::{self, Answer, Failure};
use crate::agent::kubelet::pid_namespace;
use crate::agent::runtime::{ContainerInfo, ContainerState, ContainerStats};

/// What everything uses now.
#[derive(Default)]
pub struct Sample {
    pub containers: Vec<(ContainerInfo, ContainerStats)>,
    /// CPU time in nanoseconds; memory in bytes, the working set first.
    pub node_cpu: u64,
    pub node_memory: u64,
    pub memory_available: u64,
    pub memory_usage: u64,
}

pub async fn sample(server: &Server) -> Result<Sample, Failure> {
    let runtime = &server.host.runtime;
    let containers = runtime.containers().await.map_err(|error| Failure::internal(error.rpc()))?;
    let running: Vec<_> = containers.into_iter().filter(is_counted).collect();
    let stats = futures::future::join_all(running.iter().map(|info| runtime.stats(&info.id))).await;
    // A container that ended meanwhile has no numbers; it is left out.
    let containers = running.into_iter().zip(stats).filter_map(|(info, stats)| Some((info, stats.ok()?))).collect();
    Ok(Sample { containers, ..node_sample() })
}

pub async fn summary(server: &Server) -> Result<Answer, Failure> {
    let sample = sample(server).await?;
    let mut pods: BTreeMap<&str, (&ContainerInfo, Vec<Value>, u64, u64)> = BTreeMap::new();
    for (info, stats) in &sample.containers {
        let pod = pods.entry(&info.pod_uid).or_insert((info, Vec::new(), 0, 0));
        pod.2 += stats.cpu_nanoseconds;
        pod.3 += stats.memory_working_set;
        pod.1.push(container(info, stats));
    }
    let now = Timestamp::now();
    let pods: Vec<_> = pods
        .into_values()
        .map(|(info, containers, cpu, memory)| {
            json!({
                "podRef": {"name": info.pod_name, "namespace": info.namespace, "uid": info.pod_uid},
                "startTime": info.started_at,
                "containers": containers,
                "cpu": {"time": now, "usageCoreNanoSeconds": cpu},
                "memory": {"time": now, "workingSetBytes": memory},
            })
        })
        .collect();
    answer::json(&json!({"node": node(server, &sample, now), "pods": pods}))
}

fn is_counted(info: &ContainerInfo) -> bool {
    info.state == ContainerState::Running && !pid_namespace::is_pause(info)
}

fn container(info: &ContainerInfo, stats: &ContainerStats) -> Value {
    json!({
        "name": info.name,
        "startTime": info.started_at,
        "cpu": {"time": stats.at, "usageCoreNanoSeconds": stats.cpu_nanoseconds},
        "memory": {
            "time": stats.at,
            "usageBytes": stats.memory_usage,
            "workingSetBytes": stats.memory_working_set,
            "rssBytes": stats.memory_rss,
            "pageFaults": stats.page_faults,
            "majorPageFaults": stats.major_page_faults,
        },
    })
}

fn node(server: &Server, sample: &Sample, now: Timestamp) -> Value {
    json!({
        "nodeName": server.host.settings.node_name,
        "cpu": {"time": now, "usageCoreNanoSeconds": sample.node_cpu},
        "memory": {
            "time": now,
            "availableBytes": sample.memory_available,
            "usageBytes": sample.memory_usage,
            "workingSetBytes": sample.node_memory,
        },
    })
}

fn node_sample() -> Sample {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = text("/proc/meminfo");
    let bytes = |key: &str| -> u64 {
        let line = memory.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    // user nice system idle iowait irq softirq steal, in hundredths of a second
    let stat = text("/proc/stat");
    let ticks: Vec<u64> =
        stat.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|t| t.parse().ok()).collect();
    let busy: u64 = ticks.iter().enumerate().filter(|(at, _)| !matches!(at, 3 | 4) && *at < 8).map(|(_, t)| t).sum();
    let (total, available) = (bytes("MemTotal:"), bytes("MemAvailable:"));
    Sample {
        containers: Vec::new(),
        node_cpu: busy * 10_000_000,
        node_memory: total.saturating_sub(available),
        memory_available: available,
        memory_usage: total.saturating_sub(bytes("MemFree:")),
    }
}
