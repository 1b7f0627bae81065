//! What is read when somebody asks: this process by its `/proc` files, the objects in the store, and the build.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue};
use prometheus_client::metrics::MetricType;

use super::super::non_resource::version;
use crate::server::catalog::catalog;
use crate::server::strategy::{Meta, Verb};
use crate::store::Store;

/// The unit of times in `/proc`: part of Linux' interface, the same on every architecture we run on.
const TICKS: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let build = version();
        let field = |name: &str| build[name].as_str().unwrap_or_default().to_owned();
        let labels: Vec<(&str, String)> = vec![
            ("build_date", field("buildDate")),
            ("compiler", field("compiler")),
            ("git_commit", field("gitCommit")),
            ("git_tree_state", field("gitTreeState")),
            ("git_version", field("gitVersion")),
            ("go_version", field("goVersion")),
            ("major", field("major")),
            ("minor", field("minor")),
            ("platform", field("platform")),
        ];
        let help = "The version of Kubernetes that is spoken";
        let mut build = encoder.encode_descriptor("kubernetes_build_info", help, None, MetricType::Gauge)?;
        build.encode_family(&labels)?.encode_gauge(&1i64)?;
        let Some(read) = Reading::now() else { return Ok(()) };
        let help = "Processor time used, in seconds";
        let mut cpu = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
        cpu.encode_counter::<[(&str, &str); 0], f64, f64>(&read.cpu, None)?;
        gauge(&mut encoder, "process_start_time_seconds", "When the process began, in Unix time", read.started)?;
        gauge(&mut encoder, "process_resident_memory_bytes", "Memory in use", read.resident)?;
        gauge(&mut encoder, "process_virtual_memory_bytes", "Address space in use", read.virtual_size)?;
        match std::fs::read_dir("/proc/self/fd") {
            Ok(open) => gauge(&mut encoder, "process_open_fds", "Open file descriptors", open.count() as i64),
            Err(_) => Ok(()),
        }
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

/// One look at `/proc`.
struct Reading {
    cpu: f64,
    started: f64,
    resident: i64,
    virtual_size: i64,
}

impl Reading {
    fn now() -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/stat").ok()?;
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let system = std::fs::read_to_string("/proc/stat").ok()?;
        Self::parse(&own, &status, &system)
    }

    fn parse(own: &str, status: &str, system: &str) -> Option<Self> {
        // The name may hold anything but ends with the last bracket; after it comes field 3.
        let fields: Vec<&str> = own.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        let bytes = |name: &str| -> Option<i64> {
            let kib = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(kib.split_whitespace().next()?.parse::<i64>().ok()? * 1024)
        };
        Some(Self {
            cpu: (field(14)? + field(15)?) / TICKS,
            started: boot + field(22)? / TICKS,
            resident: bytes("VmRSS:")?,
            virtual_size: bytes("VmSize:")?,
        })
    }
}

/// How many objects of each kind there are, and how much room they take.
pub(super) struct Objects(pub Arc<dyn Store>);

impl fmt::Debug for Objects {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Objects")
    }
}

impl Collector for Objects {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Counting walks over the objects: once for both names.
        let count = |meta: &Meta| i64::try_from(self.0.count(&meta.prefix())).unwrap_or(i64::MAX);
        let counted: Vec<_> = stored().map(|meta| (meta, count(meta))).collect();
        let help = "Objects in the store, by resource and group";
        let mut family = encoder.encode_descriptor("apiserver_resource_objects", help, None, MetricType::Gauge)?;
        for (meta, count) in &counted {
            let labels = [("group", meta.group), ("resource", meta.plural)];
            family.encode_family(&labels)?.encode_gauge(count)?;
        }
        let help = "The same by its name until v1.34";
        let mut family = encoder.encode_descriptor("apiserver_storage_objects", help, None, MetricType::Gauge)?;
        for (meta, count) in &counted {
            let labels = [("resource", meta.resource().to_string())];
            family.encode_family(&labels)?.encode_gauge(count)?;
        }
        let Some(size) = self.0.size() else { return Ok(()) };
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let help = "What the store takes on the disk";
        let mut family = encoder.encode_descriptor("apiserver_storage_size_bytes", help, None, MetricType::Gauge)?;
        family.encode_family(&[("storage_cluster_id", "etcd-0")])?.encode_gauge(&size)
    }
}

/// The kinds that are kept: not the virtual ones, nor other versions of stored ones.
fn stored() -> impl Iterator<Item = &'static Meta> {
    let kinds = catalog().kinds().map(|kind| kind.meta());
    kinds.filter(|meta| meta.stored_as.is_none() && meta.verbs.contains(&Verb::Update))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let own = "7 (a ) b) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 9 0 1000 1 1 1";
        let read = Reading::parse(own, "VmSize:\t  200 kB\nVmRSS:\t 100 kB\n", "cpu 1\nbtime 1700000000\n").unwrap();
        assert_eq!((read.cpu, read.started), (2.0, 1_700_000_010.0));
        assert_eq!((read.resident, read.virtual_size), (102_400, 204_800));
        assert!(Reading::now().is_some_and(|read| read.resident > 0));
    }
}
