//! NamespaceLifecycle: nothing is created in a namespace that is missing or going away, and the
//! namespaces the cluster lives in are not deleted.

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Attributes, Operation, Plugin};
use crate::api::gvk::GroupResource;
use crate::api::object::Object;
use crate::api::status::{Failure, Result};

pub struct NamespaceLifecycle;

/// What counts of a Namespace here; every creation reads it.
#[derive(Deserialize)]
struct Life {
    metadata: Ending,
    #[serde(default)]
    status: Phase,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ending {
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Phase {
    phase: Option<String>,
}

impl Life {
    fn is_ending(&self) -> bool {
        self.metadata.deletion_timestamp.is_some() || self.status.phase.as_deref() == Some("Terminating")
    }
}

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];
/// Made by a controller when a cluster is new; who comes earlier waits a moment.
const SYSTEM: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
const PATIENCE: Duration = Duration::from_secs(3);
const NAMESPACES: GroupResource<'static> = GroupResource { group: "", resource: "namespaces" };

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Delete)
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        let context = attributes.context;
        let meta = context.kind.meta();
        if attributes.operation != Operation::Create || !meta.namespaced || is_access_review(meta.group, meta.plural) {
            return Ok(());
        }
        let name = &context.namespace;
        let found = match SYSTEM.contains(&name.as_str()) {
            true => attributes.reader.awaited::<Namespace, Life>("", name, PATIENCE).await?,
            false => attributes.reader.part_of::<Namespace, Life>("", name)?,
        };
        let Some(namespace) = found else {
            return Err(Failure::not_found(NAMESPACES, name));
        };
        if !namespace.is_ending() {
            return Ok(());
        }
        let why = format!("unable to create new content in namespace {name} because it is being terminated");
        let cause = StatusCause {
            reason: Some("NamespaceTerminating".to_owned()),
            message: Some(format!("namespace {name} is being terminated")),
            field: Some("metadata.namespace".to_owned()),
        };
        Err(attributes.forbidden(Some(object), &why).with_causes(vec![cause]))
    }

    async fn validate(&self, attributes: &Attributes<'_>, _: Option<&dyn Object>) -> Result<()> {
        let name = attributes.context.name.as_str();
        let immortal = attributes.operation == Operation::Delete && IMMORTAL.contains(&name);
        if immortal && attributes.is("", "namespaces") {
            return Err(Failure::forbidden(NAMESPACES, name, "this namespace may not be deleted"));
        }
        Ok(())
    }
}

/// Reviews ask about a namespace; it need not exist.
fn is_access_review(group: &str, resource: &str) -> bool {
    group == "authorization.k8s.io" && resource == "localsubjectaccessreviews"
}
