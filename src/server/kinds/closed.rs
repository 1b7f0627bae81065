//! Fields of features that v1.36 has off by default (its `kube_features.go`), in one table for each kind of object that
//! has some. An object that does not use such a field cannot begin to: it is taken away before anybody judges it, as
//! upstream's `dropDisabledFields` do. One that has it already keeps it. Called by the strategies' `drop_closed`.

use k8s_openapi::api::apps::v1::{RollingUpdateStatefulSetStrategy, StatefulSet};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    Lifecycle, Node, PersistentVolumeClaim, Pod, PodSpec, PodStatus, PodTemplateSpec, VolumeMountStatus,
    VolumeProjection,
};
use k8s_openapi::api::resource::v1::{Device, DeviceAttribute, ResourceSlice};
use k8s_openapi::api::storage::v1::CSIDriver;

/// What is behind a gate of a `K`.
pub struct Closed<K> {
    /// Upstream's name of the gate.
    pub gate: &'static str,
    pub uses: fn(&K) -> bool,
    pub drop: fn(&mut K),
}

/// Takes away what `old` does not use; a new object has no `old`.
pub fn drop<K>(table: &[Closed<K>], new: &mut K, old: Option<&K>) {
    for closed in table.iter().filter(|closed| !old.is_some_and(closed.uses)) {
        (closed.drop)(new);
    }
}

pub fn pod(new: &mut Pod, old: Option<&Pod>) {
    if let Some(spec) = &mut new.spec {
        drop(POD_SPEC, spec, old.and_then(|old| old.spec.as_ref()));
    }
    if let Some(status) = &mut new.status {
        drop(POD_STATUS, status, old.and_then(|old| old.status.as_ref()));
    }
}

pub fn template(new: Option<&mut PodTemplateSpec>, old: Option<&PodTemplateSpec>) {
    if let Some(spec) = new.and_then(|new| new.spec.as_mut()) {
        drop(POD_SPEC, spec, old.and_then(|old| old.spec.as_ref()));
    }
}

/// Of pods, and of templates of pods.
const POD_SPEC: &[Closed<PodSpec>] = &[
    Closed {
        gate: "ClusterTrustBundleProjection",
        uses: |spec| sources(spec).any(|source| source.cluster_trust_bundle.is_some()),
        drop: |spec| sources_mut(spec).for_each(|source| source.cluster_trust_bundle = None),
    },
    Closed {
        gate: "ContainerStopSignals",
        uses: |spec| lifecycles(spec).any(|lifecycle| lifecycle.stop_signal.is_some()),
        drop: |spec| lifecycles_mut(spec).for_each(drop_stop_signal),
    },
    Closed {
        gate: "GenericWorkload",
        uses: |spec| spec.scheduling_group.is_some(),
        drop: |spec| spec.scheduling_group = None,
    },
    Closed {
        gate: "PodCertificateRequest",
        uses: |spec| sources(spec).any(|source| source.pod_certificate.is_some()),
        drop: |spec| sources_mut(spec).for_each(|source| source.pod_certificate = None),
    },
];

const POD_STATUS: &[Closed<PodStatus>] = &[
    Closed {
        gate: "DRANodeAllocatableResources",
        uses: |status| status.node_allocatable_resource_claim_statuses.is_some(),
        drop: |status| status.node_allocatable_resource_claim_statuses = None,
    },
    Closed {
        gate: "ImageVolumeWithDigest",
        uses: |status| mounts(status).any(|mount| mount.volume_status.is_some()),
        drop: |status| mounts_mut(status).for_each(|mount| mount.volume_status = None),
    },
];

pub const STATEFUL_SET: &[Closed<StatefulSet>] = &[Closed {
    gate: "MaxUnavailableStatefulSet",
    uses: |set| {
        let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.max_unavailable.as_ref()).is_some()
    },
    drop: |set| {
        let strategy = set.spec.as_mut().and_then(|spec| spec.update_strategy.as_mut());
        if let Some(RollingUpdateStatefulSetStrategy { max_unavailable, .. }) =
            strategy.and_then(|strategy| strategy.rolling_update.as_mut())
        {
            *max_unavailable = None;
        }
    },
}];

pub const CLAIM: &[Closed<PersistentVolumeClaim>] = &[Closed {
    gate: "CrossNamespaceVolumeDataSource",
    uses: |claim| claim.spec.as_ref().is_some_and(|spec| spec.data_source_ref.is_some()),
    drop: |claim| {
        if let Some(spec) = &mut claim.spec {
            let elsewhere = |namespace: &String| !namespace.is_empty();
            spec.data_source_ref.take_if(|source| source.namespace.as_ref().is_some_and(elsewhere));
        }
    },
}];

/// Upstream took the gate out with the feature; its fields stay in the API.
pub const NODE: &[Closed<Node>] = &[
    Closed {
        gate: "DynamicKubeletConfig",
        uses: |node| node.spec.as_ref().is_some_and(|spec| spec.config_source.is_some()),
        drop: |node| {
            if let Some(spec) = &mut node.spec {
                spec.config_source = None;
            }
        },
    },
    Closed {
        gate: "DynamicKubeletConfig",
        uses: |node| node.status.as_ref().is_some_and(|status| status.config.is_some()),
        drop: |node| {
            if let Some(status) = &mut node.status {
                status.config = None;
            }
        },
    },
];

pub const CSI_DRIVER: &[Closed<CSIDriver>] = &[Closed {
    gate: "VolumeLimitScaling",
    uses: |driver| driver.spec.prevent_pod_scheduling_if_missing.is_some(),
    drop: |driver| driver.spec.prevent_pod_scheduling_if_missing = None,
}];

pub const LEASE: &[Closed<Lease>] = &[
    Closed {
        gate: "CoordinatedLeaderElection",
        uses: |lease| lease.spec.as_ref().is_some_and(|spec| spec.strategy.is_some()),
        drop: |lease| of_lease(lease, |spec| spec.strategy = None),
    },
    Closed {
        gate: "CoordinatedLeaderElection",
        uses: |lease| lease.spec.as_ref().is_some_and(|spec| spec.preferred_holder.is_some()),
        drop: |lease| of_lease(lease, |spec| spec.preferred_holder = None),
    },
];

pub const RESOURCE_SLICE: &[Closed<ResourceSlice>] = &[
    Closed {
        gate: "DRAListTypeAttributes",
        uses: |slice| {
            devices(slice).flat_map(|device| device.attributes.iter()).flat_map(|all| all.values()).any(is_list)
        },
        drop: |slice| {
            let attributes = devices_mut(slice).flat_map(|device| device.attributes.iter_mut());
            attributes.flat_map(|all| all.values_mut()).for_each(|attribute| {
                (attribute.bools, attribute.ints) = (None, None);
                (attribute.strings, attribute.versions) = (None, None);
            });
        },
    },
    Closed {
        gate: "DRANodeAllocatableResources",
        uses: |slice| devices(slice).any(|device| device.node_allocatable_resource_mappings.is_some()),
        drop: |slice| devices_mut(slice).for_each(|device| device.node_allocatable_resource_mappings = None),
    },
];

fn sources(spec: &PodSpec) -> impl Iterator<Item = &VolumeProjection> {
    let volumes = spec.volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref());
    volumes.flat_map(|projected| projected.sources.iter().flatten())
}

fn sources_mut(spec: &mut PodSpec) -> impl Iterator<Item = &mut VolumeProjection> {
    let volumes = spec.volumes.iter_mut().flatten().filter_map(|volume| volume.projected.as_mut());
    volumes.flat_map(|projected| projected.sources.iter_mut().flatten())
}

fn lifecycles(spec: &PodSpec) -> impl Iterator<Item = &Lifecycle> {
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let ephemeral = spec.ephemeral_containers.iter().flatten().filter_map(|container| container.lifecycle.as_ref());
    containers.filter_map(|container| container.lifecycle.as_ref()).chain(ephemeral)
}

fn lifecycles_mut(spec: &mut PodSpec) -> impl Iterator<Item = &mut Option<Lifecycle>> {
    let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    let ephemeral = spec.ephemeral_containers.iter_mut().flatten().map(|container| &mut container.lifecycle);
    containers.map(|container| &mut container.lifecycle).chain(ephemeral)
}

/// A lifecycle that said nothing else goes with its signal.
fn drop_stop_signal(lifecycle: &mut Option<Lifecycle>) {
    let dropped = lifecycle.as_mut().and_then(|lifecycle| lifecycle.stop_signal.take()).is_some();
    lifecycle.take_if(|lifecycle| dropped && *lifecycle == Lifecycle::default());
}

fn mounts(status: &PodStatus) -> impl Iterator<Item = &VolumeMountStatus> {
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().flat_map(|status| status.volume_mounts.iter().flatten())
}

fn mounts_mut(status: &mut PodStatus) -> impl Iterator<Item = &mut VolumeMountStatus> {
    let lists =
        [&mut status.container_statuses, &mut status.init_container_statuses, &mut status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().flat_map(|status| status.volume_mounts.iter_mut().flatten())
}

fn of_lease(lease: &mut Lease, change: fn(&mut LeaseSpec)) {
    lease.spec.iter_mut().for_each(change);
}

fn devices(slice: &ResourceSlice) -> impl Iterator<Item = &Device> {
    slice.spec.devices.iter().flatten()
}

fn devices_mut(slice: &mut ResourceSlice) -> impl Iterator<Item = &mut Device> {
    slice.spec.devices.iter_mut().flatten()
}

fn is_list(attribute: &DeviceAttribute) -> bool {
    let lists = (&attribute.bools, &attribute.ints, &attribute.strings, &attribute.versions);
    lists.0.is_some() || lists.1.is_some() || lists.2.is_some() || lists.3.is_some()
}
