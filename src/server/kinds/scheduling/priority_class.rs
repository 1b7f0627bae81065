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
        defaults::absent_text(&mut object.preemption_policy, "PreemptLowerPriority");
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::integer(
                "Value",
                "value represents the integer value of this priority class. This is the actual priority that pods receive when they have the name of this class in their pod spec.",
            ),
            Column {
                kind: "boolean",
                ..Column::string(
                    "Global-Default",
                    "globalDefault specifies whether this PriorityClass should be considered as the default priority for pods that do not have any priority class. Only one PriorityClass can be marked as `globalDefault`. However, if more than one PriorityClasses exists with their `globalDefault` field set to true, the smallest value of such global default PriorityClasses will be used as the default priority.",
                )
            },
            Column::AGE,
            Column::string(
                "PreemptionPolicy",
                "preemptionPolicy is the Policy for preempting pods with lower priority. One of Never, PreemptLowerPriority. Defaults to PreemptLowerPriority if unset.",
            ),
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
        let mut errors = Errors::new();
        let path = Path::new("preemptionPolicy");
        if let Some(old) = old {
            if new.value != old.value {
                let detail = "may not be changed in an update.";
                errors.push(Error::forbidden(&Path::new("value"), detail));
            }
            validation::immutable(&mut errors, &path, &new.preemption_policy, &old.preemption_policy);
            return errors;
        }
        let name = new.metadata.name.as_deref().unwrap_or_default();
        if name.starts_with("system-") {
            if let Err(problem) = known_to_the_system(new, name) {
                let path = Path::new("metadata").child("name");
                let detail = "priority class names with 'system-' prefix are reserved for system use only. error: ";
                errors.push(Error::forbidden(&path, format!("{detail}{problem}")));
            }
        } else if new.value.unwrap_or(0) > HIGHEST_USER {
            let detail = format!("maximum allowed value of a user defined priority is {HIGHEST_USER}");
            errors.push(Error::forbidden(&Path::new("value"), detail));
        }
        let policies = ["PreemptLowerPriority", "Never"];
        validation::one_in_order(&mut errors, &path, validation::text(&new.preemption_policy), &policies);
        errors
    }
}

const HIGHEST_USER: i32 = 1_000_000_000;
const SYSTEM: [(&str, i32); 2] = [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// The classes of the system are what they have always been.
fn known_to_the_system(class: &PriorityClass, name: &str) -> Result<(), String> {
    let Some((_, value)) = SYSTEM.iter().find(|(known, _)| *known == name) else {
        return Err(format!("{name} is not a known system priority class"));
    };
    match (class.value.unwrap_or(0) == *value, class.global_default.unwrap_or(false)) {
        (true, false) => Ok(()),
        (false, _) => Err(format!("value of {name} PriorityClass must be {value}")),
        (_, true) => Err(format!("globalDefault of {name} PriorityClass must be false")),
    }
}
