//! The NodeStatus that follows from the machine's facts. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::facts::{Machine, Pressure};
use super::{Capacity, Identity};
use crate::agent::runtime::ImageInfo;
use crate::api::pod::RESTARTS_ALL;

/// The release whose behaviour we keep, and ours.
pub const VERSION: &str = "v1.36.0+orch";
/// Upstream's nodeStatusMaxImages.
const IMAGES: usize = 50;

pub struct Inputs {
    pub identity: Identity,
    pub machine: Machine,
    pub capacity: Capacity,
    /// `containerd://1.6.20`, or why the runtime does not answer.
    pub runtime: Result<String, String>,
    pub images: Vec<ImageInfo>,
    pub pressure: Pressure,
}

/// Transition times are kept from `old` where a condition did not change.
pub fn generate(inputs: &Inputs, old: Option<&NodeStatus>, now: Timestamp) -> NodeStatus {
    let machine = &inputs.machine;
    let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
    NodeStatus {
        declared_features: Some(FEATURES.map(str::to_owned).into()),
        addresses: Some(vec![
            address("InternalIP", inputs.identity.address.get().to_string()),
            address("Hostname", inputs.identity.name.clone()),
        ]),
        capacity: Some(resources(inputs.capacity, 0)),
        // The eviction threshold for memory is not for pods to have.
        allocatable: Some(resources(inputs.capacity, RESERVED_MEMORY)),
        conditions: Some(conditions(inputs, old, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(inputs.identity.kubelet_port) }),
        }),
        images: Some(images(&inputs.images)),
        node_info: Some(NodeSystemInfo {
            architecture: machine.architecture.clone(),
            boot_id: machine.boot_id.clone(),
            container_runtime_version: inputs.runtime.clone().unwrap_or_default(),
            kernel_version: machine.kernel.clone(),
            kubelet_version: VERSION.to_owned(),
            machine_id: machine.machine_id.clone(),
            operating_system: "linux".to_owned(),
            os_image: machine.os_image.clone(),
            system_uuid: machine.system_uuid.clone(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

/// What not every node of this version can do, by upstream's names.
const FEATURES: [&str; 2] = ["GuaranteedQoSPodCPUResize", RESTARTS_ALL];

/// Upstream's default threshold of eviction.
const RESERVED_MEMORY: i64 = 100 << 20;

/// The memory that pods may ask for together, in bytes.
pub fn allocatable_memory(capacity: Capacity) -> i64 {
    (capacity.memory - RESERVED_MEMORY).max(0)
}

fn resources(capacity: Capacity, reserved_memory: i64) -> BTreeMap<String, Quantity> {
    let memory = (capacity.memory - reserved_memory).max(0);
    // Upstream's default threshold keeps a tenth of the disk free; capacity shows all of it.
    let storage = if reserved_memory > 0 { capacity.storage / 10 * 9 } else { capacity.storage };
    let storage = if reserved_memory > 0 { storage.to_string() } else { format!("{}Ki", storage / 1024) };
    let pairs = [
        ("cpu", (capacity.cpu_milli / 1000).to_string()),
        ("memory", format!("{}Ki", memory / 1024)),
        ("ephemeral-storage", storage),
        ("pods", capacity.pods.to_string()),
        ("hugepages-1Gi", "0".to_owned()),
        ("hugepages-2Mi", "0".to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), Quantity(value))).collect()
}

fn conditions(inputs: &Inputs, old: Option<&NodeStatus>, now: Timestamp) -> Vec<NodeCondition> {
    let pressure = inputs.pressure;
    let pick = |bad: bool, yes: (&'static str, &'static str), no: (&'static str, &'static str)| {
        let (reason, message) = if bad { yes } else { no };
        (bad, reason, message.to_owned())
    };
    let memory = pick(
        pressure.memory,
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    );
    let disk = pick(
        pressure.disk,
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    );
    let pids = pick(
        pressure.pids,
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    );
    let ready = match &inputs.runtime {
        Ok(_) => (true, "KubeletReady", "kubelet is posting ready status".to_owned()),
        Err(why) => (false, "KubeletNotReady", format!("container runtime is down, {why}")),
    };
    let all = [("MemoryPressure", memory), ("DiskPressure", disk), ("PIDPressure", pids), ("Ready", ready)];
    let old = old.and_then(|old| old.conditions.as_ref());
    all.into_iter()
        .map(|(kind, (holds, reason, message))| {
            let status = if holds { "True" } else { "False" };
            let before = old.into_iter().flatten().find(|before| before.type_ == kind && before.status == status);
            let since = before.and_then(|before| before.last_transition_time.clone()).unwrap_or(Time(now));
            NodeCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_heartbeat_time: Some(Time(now)),
                last_transition_time: Some(since),
            }
        })
        .collect()
}

/// The largest images, each with its digests first, as upstream lists them.
fn images(all: &[ImageInfo]) -> Vec<ContainerImage> {
    let mut all: Vec<_> = all.iter().collect();
    all.sort_by_key(|image| std::cmp::Reverse(image.size));
    let shown = all.into_iter().take(IMAGES).map(|image| ContainerImage {
        names: Some(image.digests.iter().chain(&image.tags).take(5).cloned().collect()),
        size_bytes: i64::try_from(image.size).ok(),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::node_address::NodeAddress;

    #[test]
    fn conditions_keep_their_transition_times() {
        let mut inputs = Inputs {
            identity: Identity {
                name: "n".into(),
                address: NodeAddress::fixed("10.0.0.1".parse().unwrap()),
                labels: vec![],
                taints: vec![],
                kubelet_port: 10250,
            },
            machine: Machine::default(),
            capacity: Capacity { cpu_milli: 2000, memory: 1 << 30, storage: 1 << 40, pods: 110 },
            runtime: Ok("containerd://1.6.20".into()),
            images: vec![],
            pressure: Pressure::default(),
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = generate(&inputs, None, at(10));
        inputs.runtime = Err("gone".into());
        let second = generate(&inputs, Some(&first), at(20));
        let shown = |status: &NodeStatus, kind: &str| {
            let found = status.conditions.iter().flatten().find(|condition| condition.type_ == kind).unwrap().clone();
            (found.status, found.last_transition_time.unwrap().0.as_second())
        };
        assert_eq!(shown(&first, "Ready"), ("True".into(), 10));
        assert_eq!(shown(&second, "Ready"), ("False".into(), 20));
        assert_eq!(shown(&second, "DiskPressure"), ("False".into(), 10));
        assert_eq!(first.capacity.unwrap()["memory"].0, "1048576Ki");
        assert_eq!(first.allocatable.unwrap()["memory"].0, "946176Ki");
    }
}
