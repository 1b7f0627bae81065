//! FlowSchema: sorts requests into priority levels.

use k8s_openapi::api::flowcontrol::v1::FlowSchema;

use crate::server::kinds::defaults;
use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct FlowSchemas;

impl Strategy for FlowSchemas {
    type Kind = FlowSchema;

    fn meta(&self) -> Meta {
        Meta {
            subresources: const { &[Subresource::status("FlowSchema")] },
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
}
