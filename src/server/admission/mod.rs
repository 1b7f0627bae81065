//! Admission: what is filled in and what is refused beyond the rules of a kind. One plugin, one file.
//!
//! The chain runs every plugin's [`Plugin::admit`] before defaults are applied again, and every
//! plugin's [`Plugin::validate`] after validation, in the same order. Called only by the pipeline.

use async_trait::async_trait;

use crate::api::object::Object;
use crate::api::status::Result;
use crate::server::pipeline::{Context, Reader};

mod certificates;
mod default_toleration_seconds;
mod namespace_lifecycle;
mod priority;
mod service_account;

/// What is being done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    /// exec, attach, port-forward, proxy.
    Connect,
}

/// Everything about a request that a plugin may look at.
pub struct Attributes<'a> {
    pub context: &'a Context,
    pub operation: Operation,
    /// The state before an update or a deletion.
    pub old: Option<&'a dyn Object>,
    pub dry_run: bool,
    pub reader: Reader<'a>,
}

impl Attributes<'_> {
    /// Whether the request is for this resource, and for the object itself.
    pub fn is(&self, group: &str, resource: &str) -> bool {
        let meta = self.context.kind.meta();
        meta.group == group && meta.plural == resource && self.context.subresource.is_empty()
    }
}

#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// May change the object of a creation or an update, or refuse it.
    async fn admit(&self, _attributes: &Attributes<'_>, _object: &mut dyn Object) -> Result<()> {
        Ok(())
    }

    /// May refuse; sees the final object (none at a deletion).
    async fn validate(&self, _attributes: &Attributes<'_>, _object: Option<&dyn Object>) -> Result<()> {
        Ok(())
    }
}

/// The plugins in their order.
pub struct Chain(Vec<Box<dyn Plugin>>);

impl Chain {
    pub fn new(plugins: Vec<Box<dyn Plugin>>) -> Self {
        Self(plugins)
    }

    /// The plugins that are on by default, in upstream's order.
    pub fn standard() -> Self {
        Self::new(vec![
            Box::new(namespace_lifecycle::NamespaceLifecycle),
            Box::new(service_account::ServiceAccount),
            Box::new(default_toleration_seconds::DefaultTolerationSeconds),
            Box::new(priority::Priority),
            Box::new(certificates::CertificateApproval),
            Box::new(certificates::CertificateSigning),
            Box::new(certificates::CertificateSubjectRestriction),
        ])
    }

    pub async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        for plugin in &self.0 {
            plugin.admit(attributes, object).await?;
        }
        Ok(())
    }

    pub async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        for plugin in &self.0 {
            plugin.validate(attributes, object).await?;
        }
        Ok(())
    }
}
