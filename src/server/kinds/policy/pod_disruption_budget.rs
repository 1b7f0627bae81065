//! PodDisruptionBudget: how many pods an eviction may take at once.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, NameRule, Strategy, Subresource};
use crate::server::validation;

pub struct PodDisruptionBudgets;

impl Strategy for PodDisruptionBudgets {
    type Kind = PodDisruptionBudget;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["pdb"],
            subresources: const { &[Subresource::status("PodDisruptionBudget")] },
            generation: true,
            unconditional_update: false,
            names: NameRule::PathSegment,
            ..Meta::namespaced::<PodDisruptionBudget>("poddisruptionbudgets")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Min Available", "The minimum number of pods that must be available."),
            Column::string("Max Unavailable", "The maximum number of pods that may be unavailable."),
            Column::integer("Allowed Disruptions", "Calculated number of pods that may be disrupted at this time."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &PodDisruptionBudget, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let allowed = object.status.as_ref().and_then(|status| status.disruptions_allowed);
        Some(vec![
            cell::name(&object.metadata),
            cell::int_or_string(spec.min_available.as_ref(), "N/A").into(),
            cell::int_or_string(spec.max_unavailable.as_ref(), "N/A").into(),
            allowed.unwrap_or(0).into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(&self, new: &PodDisruptionBudget, _old: Option<&PodDisruptionBudget>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let Some(spec) = &new.spec else { return errors };
        if spec.min_available.is_some() && spec.max_unavailable.is_some() {
            let detail = "minAvailable and maxUnavailable cannot be both set";
            let fields = [
                ("MinAvailable", validation::json(&spec.min_available)),
                ("Selector", validation::json(&spec.selector)),
                ("MaxUnavailable", validation::json(&spec.max_unavailable)),
                ("UnhealthyPodEvictionPolicy", validation::json(&spec.unhealthy_pod_eviction_policy)),
            ];
            errors.push(Error::invalid_shown(&path, &validation::record(&fields), detail));
        }
        let bounds = [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)];
        for (field, bound) in bounds {
            validation::int_or_percent(&mut errors, &path.child(field), bound.as_ref());
            validation::at_most_100_percent(&mut errors, &path.child(field), bound.as_ref());
        }
        validation::labels::selector(&mut errors, &path.child("selector"), spec.selector.as_ref());
        let policies = ["AlwaysAllow", "IfHealthyBudget"];
        let here = path.child("unhealthyPodEvictionPolicy");
        validation::optional_one_of(&mut errors, &here, &spec.unhealthy_pod_eviction_policy, &policies);
        errors
    }

    fn validate_status(&self, new: &PodDisruptionBudget, _old: &PodDisruptionBudget) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("status");
        let status = new.status.clone().unwrap_or_default();
        validation::conditions::conditions(&mut errors, &path.child("conditions"), status.conditions.as_ref());
        let counts = [
            ("disruptionsAllowed", status.disruptions_allowed),
            ("currentHealthy", status.current_healthy),
            ("desiredHealthy", status.desired_healthy),
            ("expectedPods", status.expected_pods),
        ];
        for (field, count) in counts {
            validation::optional_not_negative(&mut errors, &path.child(field), count);
        }
        errors
    }
}
