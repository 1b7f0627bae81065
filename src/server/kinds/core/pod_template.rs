//! PodTemplate: a pod template kept by itself.

use k8s_openapi::api::core::v1::PodTemplate;
use serde_json::Value;

use crate::api::field::{Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::closed;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

pub struct PodTemplates;

impl Strategy for PodTemplates {
    type Kind = PodTemplate;

    fn meta(&self) -> Meta {
        Meta { generation: true, ..Meta::namespaced::<PodTemplate>("podtemplates") }
    }

    fn drop_closed(&self, new: &mut PodTemplate, old: Option<&PodTemplate>) {
        closed::template(new.template.as_mut(), old.and_then(|old| old.template.as_ref()));
    }

    fn same_spec(&self, new: &PodTemplate, old: &PodTemplate) -> bool {
        new.template == old.template
    }

    fn default(&self, object: &mut PodTemplate) {
        defaults::pod::template(object.template.get_or_insert_default());
    }

    fn warnings(&self, new: &PodTemplate, _old: Option<&PodTemplate>) -> Vec<String> {
        let template = new.template.as_ref();
        let annotations = template.and_then(|template| template.metadata.as_ref()?.annotations.as_ref());
        let spec = template.and_then(|template| template.spec.as_ref());
        spec.map(|spec| validation::pod::warnings(&Path::new("template"), spec, annotations)).unwrap_or_default()
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Containers", "Names of each container in the template."),
            Column::string("Images", "Images referenced by each container in the template."),
            Column::string("Pod Labels", "The labels for the pod template."),
        ];
        COLUMNS
    }

    fn cells(&self, object: &PodTemplate, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let _ = now;
        let [names, images] = cell::template(object.template.as_ref());
        let labels = object.template.as_ref().and_then(|template| template.metadata.as_ref()?.labels.as_ref());
        Some(vec![cell::name(&object.metadata), names, images, cell::labels(labels).into()])
    }

    fn validate(&self, new: &PodTemplate, old: Option<&PodTemplate>) -> Errors {
        let mut errors = Errors::new();
        if let Some(template) = &new.template {
            let old = old.and_then(|old| old.template.as_ref());
            validation::pod::template(&mut errors, &Path::new("template"), template, old);
        }
        errors
    }
}
