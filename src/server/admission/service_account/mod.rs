//! ServiceAccount: every pod runs as one, finds its token where clients look for it, and names no Secret that its
//! account may not mount. Mirror pods name neither account nor Secret.

mod secrets;

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector, Pod, PodSpec,
    ProjectedVolumeSource, ServiceAccount as Account, ServiceAccountTokenProjection, Volume, VolumeMount,
    VolumeProjection,
};

use super::{Attributes, Plugin};
use crate::api::object::Object;
use crate::api::references::MIRROR;
use crate::api::status::{Failure, Result};
use crate::server::pipeline::random;

pub struct ServiceAccount;

const DEFAULT: &str = "default";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// How long a pod waits for the `default` account of a new namespace.
const PATIENCE: Duration = Duration::from_millis(1500);

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        if !attributes.creates("", "pods") {
            return Ok(());
        }
        let Some(pod) = object.downcast_mut::<Pod>() else { return Ok(()) };
        if is_mirror(pod) {
            return secrets::none_in_mirror(pod).map_err(|why| attributes.forbidden(Some(pod), why));
        }
        let spec = pod.spec.get_or_insert_default();
        let named = spec.service_account_name.clone().filter(|name| !name.is_empty());
        let name = named.or_else(|| spec.service_account.clone().filter(|name| !name.is_empty()));
        let name = name.unwrap_or_else(|| DEFAULT.to_owned());
        spec.service_account_name = Some(name.clone());
        spec.service_account = Some(name.clone());
        let account = find(attributes, pod, &name).await?;
        let spec = pod.spec.get_or_insert_default();
        let automount = spec.automount_service_account_token.or(account.automount_service_account_token);
        if automount.unwrap_or(true) {
            mount_token(spec);
        }
        if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
            spec.image_pull_secrets = account.image_pull_secrets.clone().filter(|secrets| !secrets.is_empty());
        }
        secrets::allowed(&account, spec).map_err(|why| attributes.forbidden(Some(pod), &why))
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        let ephemeral = attributes.concerns("", "pods") && attributes.context.subresource == "ephemeralcontainers";
        let concerned = attributes.creates("", "pods") || ephemeral;
        let pod = object.filter(|_| concerned).and_then(|object| object.downcast_ref::<Pod>());
        let Some(pod) = pod else { return Ok(()) };
        if !ephemeral && is_mirror(pod) {
            return secrets::none_in_mirror(pod).map_err(|why| attributes.forbidden(object, why));
        }
        let spec = pod.spec.clone().unwrap_or_default();
        let name = spec.service_account_name.as_deref().unwrap_or_default();
        if name.is_empty() {
            let namespace = &attributes.context.namespace;
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let why = format!("no service account specified for pod {namespace}/{name}");
            return Err(attributes.forbidden(object, &why));
        }
        let account = find(attributes, pod, name).await?;
        if ephemeral {
            // Upstream makes no Status of this one.
            return secrets::allowed_later(&account, &spec).map_err(|why| Failure::new(500, "", why));
        }
        secrets::allowed(&account, &spec).map_err(|why| attributes.forbidden(object, &why))
    }
}

fn is_mirror(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR))
}

/// The account; the `default` one is awaited for a moment, because a controller makes it just after
/// its namespace.
async fn find(attributes: &Attributes<'_>, pod: &Pod, name: &str) -> Result<Account> {
    let namespace = &attributes.context.namespace;
    let found = match name {
        DEFAULT => attributes.reader.awaited::<Account, Account>(namespace, name, PATIENCE).await?,
        _ => attributes.reader.get(namespace, name)?,
    };
    found.ok_or_else(|| {
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found");
        attributes.forbidden(Some(pod), &why)
    })
}

fn mount_token(spec: &mut PodSpec) {
    let volumes = spec.volumes.get_or_insert_default();
    let existing = volumes.iter().find(|volume| volume.name.starts_with(VOLUME_PREFIX)).map(|volume| &volume.name);
    let name = existing.cloned().unwrap_or_else(|| {
        loop {
            let name = format!("{VOLUME_PREFIX}{}", random::suffix());
            if volumes.iter().all(|volume| volume.name != name) {
                break name;
            }
        }
    });
    let exists = existing.is_some();
    let mut used = false;
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        let mounts = container.volume_mounts.get_or_insert_default();
        if mounts.iter().any(|mount| mount.mount_path == MOUNT_PATH) {
            continue;
        }
        used = true;
        mounts.push(VolumeMount {
            name: name.clone(),
            read_only: Some(true),
            mount_path: MOUNT_PATH.to_owned(),
            ..Default::default()
        });
    }
    let volumes = spec.volumes.get_or_insert_default();
    if used && !exists {
        volumes.push(volume(name));
    }
    if volumes.is_empty() {
        spec.volumes = None;
    }
}

fn volume(name: String) -> Volume {
    let token = VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            path: "token".to_owned(),
            expiration_seconds: Some(3607),
            audience: None,
        }),
        ..Default::default()
    };
    let ca = VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: "kube-root-ca.crt".to_owned(),
            items: Some(vec![KeyToPath { key: "ca.crt".to_owned(), path: "ca.crt".to_owned(), mode: None }]),
            optional: None,
        }),
        ..Default::default()
    };
    let field = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: "metadata.namespace".to_owned() };
    let namespace = VolumeProjection {
        downward_api: Some(DownwardAPIProjection {
            items: Some(vec![DownwardAPIVolumeFile {
                path: "namespace".to_owned(),
                field_ref: Some(field),
                ..Default::default()
            }]),
        }),
        ..Default::default()
    };
    Volume {
        name,
        projected: Some(ProjectedVolumeSource { default_mode: Some(0o644), sources: Some(vec![token, ca, namespace]) }),
        ..Default::default()
    }
}
