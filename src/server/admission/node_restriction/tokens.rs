//! Tokens: a node asks for one only for a pod that it runs, and only for audiences that the pod asks for.

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::api::storage::v1::CSIDriver;

use super::Asked;
use crate::api::status::Result;
use crate::server::admission::Operation;
use crate::server::authorization::{Decision, RequestInfo, aggregate};

pub async fn check(asked: &Asked<'_>) -> Result<()> {
    if asked.operation() != Operation::Create {
        return Ok(());
    }
    let Some(request) = asked.written::<TokenRequest>() else { return Ok(()) };
    let refuse = |why: &str| Err(asked.forbidden(why));
    let spec = request.spec.as_ref();
    let Some(bound) = spec.and_then(|spec| spec.bound_object_ref.as_ref()).filter(|bound| is_pod(bound)) else {
        return refuse("node requested token not bound to a pod");
    };
    let uid = bound.uid.as_deref().unwrap_or_default();
    if uid.is_empty() {
        return refuse("node requested token with a pod binding without a uid");
    }
    let pod = asked.stored_pod(bound.name.as_deref().unwrap_or_default())?;
    if pod.metadata.uid.as_deref() != Some(uid) {
        return refuse(&format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        ));
    }
    if pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) != Some(asked.node) {
        return refuse("node requested token bound to a pod scheduled on a different node");
    }
    match spec.and_then(|spec| spec.audiences.as_deref()).unwrap_or_default() {
        [] => audience(asked, &pod, "").await,
        [one] => audience(asked, &pod, one).await,
        _ => refuse("node may only request 0 or 1 audiences"),
    }
}

fn is_pod(bound: &BoundObjectReference) -> bool {
    let is = |field: &Option<String>, wanted: &str| field.as_deref() == Some(wanted);
    is(&bound.api_version, "v1") && is(&bound.kind, "Pod") && bound.name.as_ref().is_some_and(|name| !name.is_empty())
}

/// The pod has a volume with a token for the audience, or the node is allowed to ask for it by itself. A volume that leads
/// nowhere is no answer, unless another one gives it.
async fn audience(asked: &Asked<'_>, pod: &Pod, audience: &str) -> Result<()> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut missing = Vec::new();
    for volume in volumes {
        match driver_wants(asked, pod, volume, audience)? {
            Found::Object(wants) if wants || projects(volume, audience) => return Ok(()),
            Found::Object(_) => {}
            Found::Missing(what) => missing.push(what),
        }
    }
    if !missing.is_empty() {
        let why = format!("error validating audience {audience:?}: {}", aggregate(&missing));
        return Err(asked.forbidden(&why));
    }
    let context = asked.attributes.context;
    let request = RequestInfo {
        is_resource: true,
        verb: "request-serviceaccounts-token-audience".to_owned(),
        resource: audience.to_owned(),
        namespace: context.namespace.clone(),
        name: context.name.clone(),
        ..RequestInfo::default()
    };
    match context.decide(&request).await {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(_) => {
            let why = format!(
                "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
                context.user.name
            );
            Err(asked.forbidden(&why))
        }
    }
}

fn projects(volume: &Volume, audience: &str) -> bool {
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let mut tokens = sources.filter_map(|source| source.service_account_token.as_ref());
    tokens.any(|token| token.audience.as_deref().unwrap_or_default() == audience)
}

/// What a reference leads to, or which object it needs that is not there.
enum Found<T> {
    Object(T),
    Missing(String),
}

/// The CSI driver that serves a source of the trees before CSI, in a pod's volume as in a PersistentVolume.
macro_rules! migrated {
    ($source:expr) => {{
        let source = $source;
        let drivers = [
            (source.aws_elastic_block_store.is_some(), "ebs.csi.aws.com"),
            (source.azure_disk.is_some(), "disk.csi.azure.com"),
            (source.azure_file.is_some(), "file.csi.azure.com"),
            (source.cinder.is_some(), "cinder.csi.openstack.org"),
            (source.gce_persistent_disk.is_some(), "pd.csi.storage.gke.io"),
            (source.portworx_volume.is_some(), "pxd.portworx.com"),
            (source.vsphere_volume.is_some(), "csi.vsphere.vmware.com"),
        ];
        drivers.into_iter().find(|(used, _)| *used).map(|(_, driver)| driver.to_owned())
    }};
}

/// Whether the volume's CSI driver is given tokens for the audience.
fn driver_wants(asked: &Asked<'_>, pod: &Pod, volume: &Volume, audience: &str) -> Result<Found<bool>> {
    let driver = match (&volume.csi, claim_of(pod, volume)) {
        (Some(csi), _) => Some(csi.driver.clone()),
        (None, Some(claim)) => match driver_of(asked, &claim)? {
            Found::Object(driver) => driver,
            Found::Missing(what) => return Ok(Found::Missing(what)),
        },
        (None, None) => migrated!(volume),
    };
    let Some(driver) = driver else { return Ok(Found::Object(false)) };
    let Some(found) = asked.attributes.reader.get::<CSIDriver>("", &driver)? else {
        return Ok(Found::Missing(format!("csidriver.storage.k8s.io {driver:?} not found")));
    };
    let requests = found.spec.token_requests.unwrap_or_default();
    Ok(Found::Object(requests.iter().any(|request| request.audience == audience)))
}

/// The driver of the volume that a claim is bound to.
fn driver_of(asked: &Asked<'_>, claim: &str) -> Result<Found<Option<String>>> {
    let reader = asked.attributes.reader;
    let Some(found) = reader.get::<PersistentVolumeClaim>(&asked.attributes.context.namespace, claim)? else {
        return Ok(Found::Missing(format!("persistentvolumeclaim {claim:?} not found")));
    };
    let volume = found.spec.and_then(|spec| spec.volume_name).unwrap_or_default();
    let Some(found) = reader.get::<PersistentVolume>("", &volume)? else {
        return Ok(Found::Missing(format!("persistentvolume {volume:?} not found")));
    };
    let spec = found.spec.unwrap_or_default();
    let driver = match &spec.csi {
        Some(csi) => Some(csi.driver.clone()),
        None => migrated!(&spec),
    };
    Ok(Found::Object(driver))
}

fn claim_of(pod: &Pod, volume: &Volume) -> Option<String> {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name)),
        (None, None) => None,
    }
}
