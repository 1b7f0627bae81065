//! DeviceClass: a named selection of devices.

use k8s_openapi::api::resource::v1::DeviceClass;

use super::{claim, short_enough};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::strategy::{Meta, Strategy};

pub struct DeviceClasses;

impl Strategy for DeviceClasses {
    type Kind = DeviceClass;

    fn meta(&self) -> Meta {
        Meta { generation: true, ..Meta::cluster::<DeviceClass>("deviceclasses") }
    }

    crate::server::kinds::spec_only!();

    fn validate(&self, new: &DeviceClass, _old: Option<&DeviceClass>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let selectors = new.spec.selectors.as_deref().unwrap_or_default();
        claim::selectors(&mut errors, &path.child("selectors"), selectors);
        let (here, configuration) = (path.child("config"), new.spec.config.as_deref().unwrap_or_default());
        if short_enough(&mut errors, &here, configuration.len(), CONFIG_MAX) {
            for (at, one) in configuration.iter().enumerate() {
                claim::opaque(&mut errors, &here.index(at).child("opaque"), one.opaque.as_ref());
            }
        }
        if let Some(name) = new.spec.extended_resource_name.as_deref().filter(|name| !is_extended(name)) {
            let detail = "must be a valid extended resource name";
            errors.push(Error::invalid(&path.child("extendedResourceName"), name, detail));
        }
        errors
    }
}

const CONFIG_MAX: usize = 32;

/// A resource that is not Kubernetes' own, as pods may ask for it.
fn is_extended(name: &str) -> bool {
    let native = !name.contains('/') || name.split('/').next().is_some_and(|domain| domain.ends_with("kubernetes.io"));
    !native && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}
