//! FlowSchema: sorts requests into priority levels.

use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use serde_json::Value;

use super::{mandatory, rules};
use crate::api::field::Errors;
use crate::server::kinds::cell;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

pub struct FlowSchemas;

impl Strategy for FlowSchemas {
    type Kind = FlowSchema;

    fn meta(&self) -> Meta {
        Meta {
            subresources: const { &[Subresource::status("FlowSchema")] },
            status_only: true,
            generation: true,
            unconditional_update: false,
            ..Meta::cluster::<FlowSchema>("flowschemas")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut FlowSchema) {
        let Some(spec) = &mut object.spec else { return };
        defaults::number(&mut spec.matching_precedence, 1000);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "PriorityLevel",
                "`name` is the name of the priority level configuration being referenced Required.",
            ),
            Column::string(
                "MatchingPrecedence",
                "`matchingPrecedence` is used to choose among the FlowSchemas that match a given request. The chosen FlowSchema is among those with the numerically lowest (which we take to be logically highest) MatchingPrecedence.  Each MatchingPrecedence value must be ranged in \\[1,10000\\]. Note that if the precedence is not specified, it will be set to 1000 as default.",
            ),
            Column::string(
                "DistinguisherMethod",
                "`distinguisherMethod` defines how to compute the flow distinguisher for requests that match this schema. `nil` specifies that the distinguisher is disabled and thus will always be the empty string.",
            ),
            Column::AGE,
            Column::string("MissingPL", "references a broken or non-existent PriorityLevelConfiguration"),
        ];
        COLUMNS
    }

    fn cells(&self, object: &FlowSchema, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let mut conditions = object.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let dangling = conditions.find(|condition| condition.type_.as_deref() == Some("Dangling"));
        let missing = dangling.and_then(|condition| condition.status.as_deref()).unwrap_or("?");
        let method = spec.distinguisher_method.map(|method| method.type_);
        Some(vec![
            cell::name(&object.metadata),
            spec.priority_level_configuration.name.into(),
            spec.matching_precedence.unwrap_or(0).into(),
            cell::or(method.as_deref(), cell::NONE).into(),
            cell::age(&object.metadata, now),
            missing.into(),
        ])
    }

    fn validate(&self, new: &FlowSchema, _old: Option<&FlowSchema>) -> Errors {
        let spec = new.spec.clone().unwrap_or_default();
        let name = new.metadata.name.as_deref().unwrap_or_default();
        let mut errors = rules::flow_schema(name, &spec);
        mandatory::check(&mut errors, "FlowSchema", name, &spec, None);
        errors
    }

    fn validate_status(&self, new: &FlowSchema, _old: &FlowSchema) -> Errors {
        let conditions = new.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let kinds: Vec<_> = conditions.map(|condition| condition.type_.as_deref().unwrap_or_default()).collect();
        super::conditions(&kinds)
    }
}
