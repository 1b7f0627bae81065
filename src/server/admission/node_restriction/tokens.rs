//! Tokens: a node asks for one only for a pod that it runs, and only for audiences that the pod asks for.

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::api::storage::v1::CSIDriver;

use super::Asked;
use crate::api::status::Result;
use crate::server::admission::Operation;
use crate::server::authorization::{Decision, RequestInfo};

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

/// The pod has a volume with a token for the audience, or the node is allowed to ask for it by itself.
async fn audience(asked: &Asked<'_>, pod: &Pod, audience: &str) -> Result<()> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    for volume in volumes {
        if projects(volume, audience) || driver_wants(asked, pod, volume, audience)? {
            return Ok(());
        }
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

/// Whether the volume's CSI driver is given tokens for the audience.
fn driver_wants(asked: &Asked<'_>, pod: &Pod, volume: &Volume, audience: &str) -> Result<bool> {
    let reader = asked.attributes.reader;
    let driver = match (&volume.csi, claim_of(pod, volume)) {
        (Some(csi), _) => Some(csi.driver.clone()),
        (None, Some(claim)) => {
            let claim = reader.get::<PersistentVolumeClaim>(&asked.attributes.context.namespace, &claim)?;
            let name = claim.and_then(|claim| claim.spec).and_then(|spec| spec.volume_name).unwrap_or_default();
            let bound = reader.get::<PersistentVolume>("", &name)?;
            bound.and_then(|bound| bound.spec).and_then(|spec| spec.csi).map(|csi| csi.driver)
        }
        (None, None) => None,
    };
    let Some(driver) = driver else { return Ok(false) };
    let found = reader.get::<CSIDriver>("", &driver)?;
    let requests = found.and_then(|driver| driver.spec.token_requests).unwrap_or_default();
    Ok(requests.iter().any(|request| request.audience == audience))
}

fn claim_of(pod: &Pod, volume: &Volume) -> Option<String> {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name)),
        (None, None) => None,
    }
}
