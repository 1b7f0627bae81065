//! PriorityClass: a named pod priority.

use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Meta, Strategy};

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
}
