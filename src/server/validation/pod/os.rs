//! What a pod may ask of the operating system that it names.

use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec, SecurityContext};

use super::visit;
use crate::api::field::{Error, Errors, Path};

const LINUX: &str = "windows options cannot be set for a linux pod";
const WINDOWS: &str = "cannot be set for a windows pod";

pub fn check(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    let Some(os) = &spec.os else { return };
    match os.name.as_str() {
        "" => errors.push(Error::required(&path.child("os").child("name"), "cannot be empty")),
        "linux" => linux(errors, path, spec),
        "windows" => windows(errors, path, spec),
        other => errors.push(Error::not_supported(&path.child("os"), other, &["linux", "windows"])),
    }
}

fn linux(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    if spec.security_context.as_ref().is_some_and(|context| context.windows_options.is_some()) {
        errors.push(Error::forbidden(&path.child("securityContext").child("windowsOptions"), LINUX));
    }
    for (container, path) in visit::containers(spec, path) {
        if container.security_context.as_ref().is_some_and(|context| context.windows_options.is_some()) {
            errors.push(Error::forbidden(&path.child("securityContext").child("windowsOptions"), LINUX));
        }
    }
}

fn windows(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    let empty = PodSecurityContext::default();
    let context = spec.security_context.as_ref().unwrap_or(&empty);
    let in_context = path.child("securityContext");
    let present = [
        (&in_context, "appArmorProfile", context.app_armor_profile.is_some()),
        (&in_context, "seLinuxOptions", context.se_linux_options.is_some()),
        (path, "hostUsers", spec.host_users.is_some()),
        (path, "hostPID", spec.host_pid == Some(true)),
        (path, "hostIPC", spec.host_ipc == Some(true)),
        (&in_context, "seccompProfile", context.seccomp_profile.is_some()),
        (&in_context, "fsGroup", context.fs_group.is_some()),
        (&in_context, "fsGroupChangePolicy", context.fs_group_change_policy.is_some()),
        (&in_context, "sysctls", context.sysctls.as_ref().is_some_and(|sysctls| !sysctls.is_empty())),
        (path, "shareProcessNamespace", spec.share_process_namespace.is_some()),
        (&in_context, "runAsUser", context.run_as_user.is_some()),
        (&in_context, "runAsGroup", context.run_as_group.is_some()),
        (&in_context, "supplementalGroups", context.supplemental_groups.is_some()),
        (&in_context, "supplementalGroupsPolicy", context.supplemental_groups_policy.is_some()),
        (&in_context, "seLinuxChangePolicy", context.se_linux_change_policy.is_some()),
    ];
    for (path, field, _) in present.iter().filter(|(.., present)| *present) {
        errors.push(Error::forbidden(&path.child(field), WINDOWS));
    }
    for (container, path) in visit::containers(spec, path) {
        if let Some(context) = &container.security_context {
            windows_container(errors, &path.child("securityContext"), context);
        }
    }
}

fn windows_container(errors: &mut Errors, path: &Path, context: &SecurityContext) {
    let present = [
        ("appArmorProfile", context.app_armor_profile.is_some()),
        ("seLinuxOptions", context.se_linux_options.is_some()),
        ("seccompProfile", context.seccomp_profile.is_some()),
        ("capabilities", context.capabilities.is_some()),
        ("readOnlyRootFilesystem", context.read_only_root_filesystem.is_some()),
        ("privileged", context.privileged.is_some()),
        ("allowPrivilegeEscalation", context.allow_privilege_escalation.is_some()),
        ("procMount", context.proc_mount.is_some()),
        ("runAsUser", context.run_as_user.is_some()),
        ("runAsGroup", context.run_as_group.is_some()),
    ];
    for (field, _) in present.iter().filter(|(_, present)| *present) {
        errors.push(Error::forbidden(&path.child(field), WINDOWS));
    }
}
