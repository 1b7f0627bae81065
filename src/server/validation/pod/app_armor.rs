//! AppArmor's old annotations: a pod that has one gets the field that came after it, as KEP-24 asks.

use k8s_openapi::api::core::v1::{AppArmorProfile, Container, Pod, PodSpec};

use super::annotations::Annotations;
use crate::api::field::Path;

const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
const LOCAL: &str = "localhost/";
/// Upstream's limit on the name of a profile of the node.
const MAX_PROFILE: usize = 4095;

/// Who uses the old annotations, before [`to_fields`] hides it.
pub fn warnings(pod: &Pod) -> Vec<String> {
    let (Some(spec), Some(annotations)) = (&pod.spec, &pod.metadata.annotations) else { return Vec::new() };
    let (all, common) = (names_and_profiles(spec), pod_profile(spec));
    let asked = all.into_iter().filter(|(_, own)| own.is_none()).filter_map(|(name, _)| {
        let (key, value) = annotations.get_key_value(&format!("{PREFIX}{name}"))?;
        let told = field(value).is_none_or(|profile| Some(&profile) != common.as_ref());
        let path = Path::new("metadata").child("annotations").key(key);
        told.then(|| format!("{path}: deprecated since v1.30; use the \"appArmorProfile\" field instead"))
    });
    if is_windows(spec) { Vec::new() } else { asked.collect() }
}

/// Fills in the profiles that annotations name and fields do not.
pub fn to_fields(pod: &mut Pod) {
    let Pod { metadata, spec: Some(spec), .. } = pod else { return };
    let Some(annotations) = &metadata.annotations else { return };
    if is_windows(spec) {
        return;
    }
    let common = pod_profile(spec);
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        fill(container, annotations, common.as_ref());
    }
}

fn fill(container: &mut Container, annotations: &Annotations, common: Option<&AppArmorProfile>) {
    if container.security_context.as_ref().is_some_and(|context| context.app_armor_profile.is_some()) {
        return;
    }
    let profile = annotations.get(&format!("{PREFIX}{}", container.name)).and_then(|value| field(value));
    if let Some(profile) = profile.filter(|profile| Some(profile) != common) {
        container.security_context.get_or_insert_default().app_armor_profile = Some(profile);
    }
}

fn names_and_profiles(spec: &PodSpec) -> Vec<(&str, Option<&AppArmorProfile>)> {
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    all.map(|container| {
        let context = container.security_context.as_ref();
        (container.name.as_str(), context.and_then(|context| context.app_armor_profile.as_ref()))
    })
    .collect()
}

fn pod_profile(spec: &PodSpec) -> Option<AppArmorProfile> {
    spec.security_context.as_ref()?.app_armor_profile.clone()
}

fn is_windows(spec: &PodSpec) -> bool {
    spec.os.as_ref().is_some_and(|os| os.name == "windows")
}

/// The field that says what the annotation's value says, where that is a profile.
fn field(value: &str) -> Option<AppArmorProfile> {
    let plain = |type_: &str| Some(AppArmorProfile { type_: type_.to_owned(), localhost_profile: None });
    match value {
        "unconfined" => plain("Unconfined"),
        "runtime/default" => plain("RuntimeDefault"),
        _ => {
            let name = value.strip_prefix(LOCAL)?;
            let sound = !name.is_empty() && name.trim() == name && name.len() <= MAX_PROFILE;
            sound.then(|| AppArmorProfile { type_: "Localhost".to_owned(), localhost_profile: Some(name.to_owned()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn annotations_become_fields() {
        let cases = [
            ("unconfined", json!({"type": "Unconfined"}), true),
            ("localhost/strict", json!({"type": "Localhost", "localhostProfile": "strict"}), true),
            ("localhost/ strict", Value::Null, true),
            // What the pod has already.
            ("runtime/default", Value::Null, false),
        ];
        for (value, wanted, warned) in cases {
            let pod = json!({
                "metadata": {"annotations": {format!("{PREFIX}a"): value}},
                "spec": {
                    "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}},
                    "containers": [{"name": "a"}, {"name": "b"}],
                },
            });
            let mut pod: Pod = serde_json::from_value(pod).unwrap();
            let key = format!("metadata.annotations[{PREFIX}a]");
            let warning = format!("{key}: deprecated since v1.30; use the \"appArmorProfile\" field instead");
            assert_eq!(warnings(&pod), if warned { vec![warning] } else { vec![] }, "{value}");
            to_fields(&mut pod);
            assert!(!warned || wanted.is_null() || warnings(&pod).is_empty());
            let spec = serde_json::to_value(pod.spec).unwrap();
            assert_eq!(spec["containers"][0]["securityContext"]["appArmorProfile"], wanted, "{value}");
            assert_eq!(spec["containers"][1].get("securityContext"), None);
        }
    }
}
