//! PodTemplate: a pod template kept by itself.

use k8s_openapi::api::core::v1::PodTemplate;

use crate::server::kinds::defaults;
use crate::server::strategy::{Meta, Strategy};

pub struct PodTemplates;

impl Strategy for PodTemplates {
    type Kind = PodTemplate;

    fn meta(&self) -> Meta {
        Meta { generation: true, ..Meta::namespaced::<PodTemplate>("podtemplates") }
    }

    fn same_spec(&self, new: &PodTemplate, old: &PodTemplate) -> bool {
        new.template == old.template
    }

    fn default(&self, object: &mut PodTemplate) {
        object.template.iter_mut().for_each(defaults::pod::template);
    }
}
