//! The roles and bindings that every cluster has from its first second, and that come back when
//! they lose something: `manifests/rbac/`, compiled in and reconciled at each start as upstream's
//! `rbac/bootstrap-roles` hook does. Called once by the composition root.

mod manifest;
mod reconcile;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use k8s_openapi::api::rbac::v1::PolicyRule;

pub use self::manifest::{parse, rule};
use self::reconcile::{Preset, Step};
use crate::api::status::{Failure, Result};
use crate::server::catalog::catalog;
use crate::server::pipeline::options::{DeleteOptions, WriteOptions};
use crate::server::pipeline::update::Part;
use crate::server::pipeline::user::User;
use crate::server::pipeline::{Context, KindRef, Media, Payload, Pipeline};

/// Objects written at once: they share transactions, so that a first start takes a few of them.
const AT_ONCE: usize = 64;

/// Makes the default roles and bindings what they must be. Gives how many were written: none, where
/// nothing was missing.
///
/// # Errors
/// The first failed write.
pub async fn ensure(pipeline: &Pipeline) -> Result<usize> {
    let user = Arc::new(User::admin());
    let wanted = parse().map_err(Failure::internal)?;
    let written = stream::iter(wanted).map(|wanted| ensure_one(pipeline, user.clone(), wanted));
    written.buffer_unordered(AT_ONCE).try_fold(0, |sum, written| async move { Ok(sum + usize::from(written)) }).await
}

async fn ensure_one(pipeline: &Pipeline, user: Arc<User>, wanted: Preset) -> Result<bool> {
    let kind = catalog().find_kind(manifest::GROUP, manifest::VERSION, wanted.kind());
    let kind = kind.ok_or_else(|| Failure::internal(format!("{} is not in the catalog", wanted.kind())))?;
    let (namespace, name) = (wanted.namespace(), wanted.name());
    let mut context = Context::new(user, KindRef::BuiltIn(kind), namespace, name);
    context.agent = "kube-apiserver".to_owned();
    let existing = pipeline.store().get(&context.key());
    let step = wanted.reconcile(existing.as_ref().map(|item| &item.value)).map_err(Failure::internal)?;
    let options = WriteOptions::default();
    let payload = |object| Payload { bytes: object, media: Media::Json };
    match step {
        Step::Nothing => return Ok(false),
        Step::Create(object) => settled(pipeline.create(&context, &payload(object), &options).await)?,
        Step::Update(object) => drop(pipeline.update(&context, &payload(object), &options, Part::Main).await?),
        Step::Recreate(object) => {
            pipeline.delete(&context, &DeleteOptions::default()).await?;
            settled(pipeline.create(&context, &payload(object), &options).await)?;
        }
    }
    Ok(true)
}

/// Somebody else created it first.
fn settled<T>(outcome: Result<T>) -> Result<()> {
    match outcome {
        Err(failure) if failure.reason() != "AlreadyExists" => Err(failure),
        _ => Ok(()),
    }
}

/// The rules of `system:node`, which the node authorizer holds by itself.
pub fn node_rules() -> Vec<PolicyRule> {
    let all = parse().unwrap_or_default();
    let of_node = all.into_iter().find_map(|preset| match preset {
        Preset::Role(role) if role.metadata.name.as_deref() == Some("system:node") => role.rules,
        _ => None,
    });
    of_node.unwrap_or_default()
}
