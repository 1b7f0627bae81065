//! ValidatingAdmissionPolicy: admission rules written in CEL.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

pub struct ValidatingAdmissionPolicies;

impl Strategy for ValidatingAdmissionPolicies {
    type Kind = ValidatingAdmissionPolicy;

    fn meta(&self) -> Meta {
        Meta {
            categories: &["api-extensions"],
            subresources: const { &[Subresource::status("ValidatingAdmissionPolicy")] },
            generation: true,
            unconditional_update: false,
            ..Meta::cluster::<ValidatingAdmissionPolicy>("validatingadmissionpolicies")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut ValidatingAdmissionPolicy) {
        let Some(spec) = &mut object.spec else { return };
        crate::server::kinds::defaults::text(&mut spec.failure_policy, "Fail");
        spec.match_constraints.iter_mut().for_each(super::match_resources);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::integer("Validations", "How many validations the policy has."),
            Column::string("ParamKind", "The kind of the parameters of the policy."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &ValidatingAdmissionPolicy, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let parameters = spec.param_kind.map(|kind| super::param_kind(&kind));
        Some(vec![
            cell::name(&object.metadata),
            spec.validations.map_or(0, |found| found.len()).into(),
            cell::or(parameters.as_deref(), cell::UNSET).into(),
            cell::age(&object.metadata, now),
        ])
    }
}
