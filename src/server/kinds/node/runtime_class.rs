//! RuntimeClass: which container runtime a pod wants.

use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::Value;

use crate::api::field::{Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;
use crate::server::validation::warnings::old_node_label;

pub struct RuntimeClasses;

impl Strategy for RuntimeClasses {
    type Kind = RuntimeClass;

    fn meta(&self) -> Meta {
        Meta { unconditional_update: false, ..Meta::cluster::<RuntimeClass>("runtimeclasses") }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[Column::NAME, Column::string("Handler", ""), Column::AGE];
        COLUMNS
    }

    fn cells(&self, object: &RuntimeClass, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(vec![cell::name(&object.metadata), object.handler.clone().into(), cell::age(&object.metadata, now)])
    }

    fn warnings(&self, new: &RuntimeClass, _old: Option<&RuntimeClass>) -> Vec<String> {
        let path = Path::new("scheduling").child("nodeSelector");
        let labels = new.scheduling.iter().flat_map(|scheduling| scheduling.node_selector.iter().flatten());
        labels.filter_map(|(key, _)| Some(format!("{path}: {}", old_node_label(key)?))).collect()
    }

    fn validate(&self, new: &RuntimeClass, old: Option<&RuntimeClass>) -> Errors {
        let mut errors = Errors::new();
        let handler = names::dns1123_label(&new.handler);
        validation::named(&mut errors, &Path::new("handler"), &new.handler, handler);
        if let Some(scheduling) = &new.scheduling {
            let path = Path::new("scheduling");
            let selector = path.child("nodeSelector");
            validation::labels::labels(&mut errors, &selector, scheduling.node_selector.as_ref());
            let tolerations = scheduling.tolerations.as_deref().unwrap_or_default();
            validation::pod::tolerations(&mut errors, &path.child("tolerations"), tolerations);
        }
        let fixed = new.overhead.as_ref().and_then(|overhead| overhead.pod_fixed.as_ref());
        validation::quantities(&mut errors, &Path::new("overhead").child("limits"), fixed);
        if let Some(old) = old {
            validation::immutable(&mut errors, &Path::new("handler"), &new.handler, &old.handler);
        }
        errors
    }
}
