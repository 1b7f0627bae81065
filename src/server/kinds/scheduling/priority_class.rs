//! PriorityClass: a named pod priority.

use k8s_openapi::api::scheduling::v1::PriorityClass;

use crate::server::kinds::defaults;
use crate::server::strategy::{Meta, Strategy};

pub struct PriorityClasses;

impl Strategy for PriorityClasses {
    type Kind = PriorityClass;

    fn meta(&self) -> Meta {
        Meta { short_names: &["pc"], generation: true, ..Meta::cluster::<PriorityClass>("priorityclasses") }
    }

    fn default(&self, object: &mut PriorityClass) {
        defaults::text(&mut object.preemption_policy, "PreemptLowerPriority");
    }
}
