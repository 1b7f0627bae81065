//! What only those pods and templates may have that had it before: v1.36 has the feature off that it belongs to, or asks
//! more of what is new. Upstream's `PodValidationOptions`.

use k8s_openapi::api::core::v1::PodSpec;

use super::{restart, tolerations, visit};
use crate::api::field::Path;

#[derive(Clone, Copy, Debug, Default)]
pub struct Kept {
    /// `TaintTolerationComparisonOperators`.
    pub comparisons: bool,
    /// `SELinuxMount`: another policy than `Recursive`.
    pub mount_option: bool,
    /// `UserNamespacesHostNetworkSupport`.
    pub users_on_host_network: bool,
    /// Block devices of pods with users of their own, which never worked.
    pub users_with_devices: bool,
    /// Containers that run once and would be restarted to be resized.
    pub resized_init: bool,
}

impl Kept {
    /// By what was there before; nothing by what is new.
    pub fn by(old: Option<&PodSpec>) -> Self {
        let Some(old) = old else { return Self::default() };
        let own_users = old.host_users == Some(false);
        let has_devices = |list: &Option<Vec<_>>| list.as_ref().is_some_and(|devices| !devices.is_empty());
        Self {
            comparisons: old.tolerations.iter().flatten().any(tolerations::compares),
            mount_option: old.security_context.as_ref().is_some_and(|context| context.se_linux_change_policy.is_some()),
            users_on_host_network: own_users && old.host_network == Some(true),
            users_with_devices: own_users
                && visit::containers(old, &Path::root()).iter().any(|(one, _)| has_devices(&one.volume_devices)),
            resized_init: restart::has_resized_init(old),
        }
    }
}
