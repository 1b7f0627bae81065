//! RuntimeClass: which container runtime a pod wants.

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;
use crate::server::validation::pod::Kept;
use crate::server::validation::warnings::old_node_label;

pub struct RuntimeClasses;

impl Strategy for RuntimeClasses {
    type Kind = RuntimeClass;

    fn meta(&self) -> Meta {
        Meta { create_on_update: true, unconditional_update: false, ..Meta::cluster::<RuntimeClass>("runtimeclasses") }
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
            tolerations(&mut errors, &path.child("tolerations"), scheduling.tolerations.as_deref().unwrap_or_default());
        }
        if let Some(fixed) = new.overhead.as_ref().and_then(|overhead| overhead.pod_fixed.as_ref()) {
            validation::pod::overhead(&mut errors, &Path::new("overhead"), fixed);
        }
        if let Some(old) = old {
            validation::immutable(&mut errors, &Path::new("handler"), &new.handler, &old.handler);
        }
        errors
    }
}

fn tolerations(errors: &mut Errors, path: &Path, tolerations: &[Toleration]) {
    validation::pod::tolerations(errors, path, tolerations, Kept::default());
    let key = |one: &Toleration| Toleration { toleration_seconds: None, ..one.clone() };
    for (at, one) in tolerations.iter().enumerate() {
        if tolerations[..at].iter().any(|other| key(other) == key(one)) {
            let fields = [
                ("Key", validation::text(&one.key).into()),
                ("Operator", validation::text(&one.operator).into()),
                ("Value", validation::text(&one.value).into()),
                ("Effect", validation::text(&one.effect).into()),
                ("TolerationSeconds", one.toleration_seconds.into()),
            ];
            errors.push(Error::duplicate_shown(&path.index(at), &validation::record(&fields)));
        }
    }
}
