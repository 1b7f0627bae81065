//! DefaultIngressClass: an Ingress that names no class gets the default one.

use async_trait::async_trait;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

use super::{Attributes, Plugin, newest};
use crate::api::object::Object;
use crate::api::status::Result;

pub struct DefaultIngressClass;

/// The class of an Ingress from before `spec.ingressClassName`.
const OLD_CLASS: &str = "kubernetes.io/ingress.class";
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        if !attributes.creates("networking.k8s.io", "ingresses") {
            return Ok(());
        }
        let Some(ingress) = object.downcast_mut::<Ingress>() else { return Ok(()) };
        let spec = ingress.spec.get_or_insert_default();
        let annotated = ingress.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(OLD_CLASS));
        if annotated || spec.ingress_class_name.is_some() {
            return Ok(());
        }
        let classes = attributes.reader.list::<IngressClass>("").await?;
        let defaults = classes.iter().map(|class| &class.metadata).filter(|meta| {
            let says = meta.annotations.as_ref().and_then(|all| all.get(DEFAULT));
            says.is_some_and(|value| value == "true")
        });
        spec.ingress_class_name = newest(defaults);
        Ok(())
    }
}
