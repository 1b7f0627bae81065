//! PriorityClass: a named pod priority.

use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

pub struct PriorityClasses;

impl Strategy for PriorityClasses {
    type Kind = PriorityClass;

    fn meta(&self) -> Meta {
        Meta { short_names: &["pc"], generation: true, ..Meta::cluster::<PriorityClass>("priorityclasses") }
    }

    fn default(&self, object: &mut PriorityClass) {
        defaults::text(&mut object.preemption_policy, "PreemptLowerPriority");
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::integer("Value", "The priority of pods of this class."),
            Column {
                kind: "boolean",
                ..Column::string("Global-Default", "Whether pods without a class are of this one.")
            },
            Column::AGE,
            Column::string("PreemptionPolicy", "Whether pods of this class push others out."),
        ];
        COLUMNS
    }

    fn cells(&self, object: &PriorityClass, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(vec![
            cell::name(&object.metadata),
            object.value.into(),
            object.global_default.unwrap_or(false).into(),
            cell::age(&object.metadata, now),
            cell::text(&object.preemption_policy),
        ])
    }

    fn validate(&self, new: &PriorityClass, old: Option<&PriorityClass>) -> Errors {
        const HIGHEST_USER: i32 = 1_000_000_000;
        let mut errors = Errors::new();
        let name = new.metadata.name.as_deref().unwrap_or_default();
        let system = matches!(name, "system-node-critical" | "system-cluster-critical");
        if name.starts_with("system-") && !system {
            let path = Path::new("metadata").child("name");
            let detail = "priority class names with 'system-' prefix are reserved for system use only";
            errors.push(Error::forbidden(&path, detail));
        } else if !system && new.value.unwrap_or(0) > HIGHEST_USER {
            let detail = format!("maximum allowed value of a user defined priority is {HIGHEST_USER}");
            errors.push(Error::forbidden(&Path::new("value"), detail));
        }
        let policies = ["Never", "PreemptLowerPriority"];
        let path = Path::new("preemptionPolicy");
        validation::optional_one_of(&mut errors, &path, &new.preemption_policy, &policies);
        if let Some(old) = old {
            if new.value != old.value {
                let detail = "may not be changed in an update.";
                errors.push(Error::forbidden(&Path::new("value"), detail));
            }
            validation::immutable(&mut errors, &path, &new.preemption_policy, &old.preemption_policy);
        }
        errors
    }
}
