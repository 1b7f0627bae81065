//! Fields that Go writes also where nothing is set: those without `omitempty`, and structs, to which it means nothing.
//! Where upstream's defaults set a field anyway, or nothing is valid without it, it is not listed.

use serde::{Serialize, Serializer};

/// What stands for nothing.
#[derive(Clone, Copy)]
pub enum Nothing {
    Null,
    Struct,
    Text,
    Zero,
}

impl Serialize for Nothing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Struct => serializer.collect_map(std::iter::empty::<((), ())>()),
            Self::Text => serializer.serialize_str(""),
            Self::Zero => serializer.serialize_i32(0),
        }
    }
}

pub type Fields = &'static [(&'static str, Nothing)];

/// Those of a struct, by its name.
pub fn fields(name: &str) -> Fields {
    use Nothing::{Null, Struct, Text, Zero};
    match name {
        "DaemonSetCondition"
        | "HorizontalPodAutoscalerCondition"
        | "FlowSchemaCondition"
        | "NamespaceCondition"
        | "PriorityLevelConfigurationCondition"
        | "ReplicaSetCondition"
        | "ReplicationControllerCondition"
        | "StatefulSetCondition"
        | "APIServiceCondition"
        | "CustomResourceDefinitionCondition" => &[("lastTransitionTime", Null)],
        "JobCondition" | "PersistentVolumeClaimCondition" | "PodCondition" => {
            &[("lastProbeTime", Null), ("lastTransitionTime", Null)]
        }
        "CertificateSigningRequestCondition" | "DeploymentCondition" => {
            &[("lastTransitionTime", Null), ("lastUpdateTime", Null)]
        }
        "NodeCondition" => &[("lastHeartbeatTime", Null), ("lastTransitionTime", Null)],
        "Event" => EVENT,
        "EventSeries" => &[("lastObservedTime", Null)],
        "AllocatedDeviceStatus" => &[("conditions", Null)],
        "AllocationResult" => &[("devices", Struct)],
        "AzureFilePersistentVolumeSource" => &[("secretNamespace", Null)],
        "ClusterRole" | "Role" => &[("rules", Null)],
        "ContainerImage" => &[("names", Null)],
        "ContainerStateRunning" => &[("startedAt", Null)],
        "ContainerStateTerminated" => &[("finishedAt", Null), ("startedAt", Null)],
        "ContainerStatus" => &[("lastState", Struct), ("state", Struct)],
        "ControllerRevision" => &[("data", Null)],
        "CSINodeDriver" => &[("topologyKeys", Null)],
        "Endpoint" => &[("conditions", Struct)],
        "EndpointSlice" => &[("endpoints", Null), ("ports", Null)],
        "EphemeralContainer" => &[("resources", Struct)],
        "IngressServiceBackend" => &[("port", Struct)],
        "NodeRuntimeHandler" => &[("name", Text)],
        "PersistentVolumeClaimSpec" => &[("resources", Struct)],
        "PersistentVolumeClaimTemplate" | "PodTemplateSpec" => &[("metadata", Struct)],
        "PodDisruptionBudgetStatus" => {
            &[("currentHealthy", Zero), ("desiredHealthy", Zero), ("disruptionsAllowed", Zero), ("expectedPods", Zero)]
        }
        "PriorityClass" => &[("value", Zero)],
        "ProjectedVolumeSource" => &[("sources", Null)],
        "ResourcePolicyRule" => &[("namespaces", Null)],
        "IngressStatus" | "ServiceStatus" => &[("loadBalancer", Struct)],
        "StatefulSetOrdinals" => &[("start", Zero)],
        "StatefulSetSpec" => &[("serviceName", Text)],
        "StatefulSetStatus" => &[("availableReplicas", Zero)],
        "TypedLocalObjectReference" | "TypedObjectReference" => &[("apiGroup", Null)],
        "VolumeError" => &[("time", Null)],
        _ => &[],
    }
}

/// Of `events.k8s.io`.
const EVENT: Fields = {
    use Nothing::{Null, Struct};
    &[
        ("deprecatedFirstTimestamp", Null),
        ("deprecatedLastTimestamp", Null),
        ("deprecatedSource", Struct),
        ("eventTime", Null),
        ("regarding", Struct),
    ]
};

/// Of the core group, whose struct has the same name: it is told by a field that it always has.
pub const CORE_EVENT: Fields = {
    use Nothing::{Null, Struct, Text};
    &[
        ("eventTime", Null),
        ("firstTimestamp", Null),
        ("lastTimestamp", Null),
        ("reportingComponent", Text),
        ("reportingInstance", Text),
        ("source", Struct),
    ]
};
pub const CORE_ONLY: (&str, &str) = ("Event", "involvedObject");
