//! PriorityLevelConfiguration: how many requests of a level run at once.

use k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration;

use crate::server::kinds::defaults::{absent, number};
use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct PriorityLevelConfigurations;

impl Strategy for PriorityLevelConfigurations {
    type Kind = PriorityLevelConfiguration;

    fn meta(&self) -> Meta {
        Meta {
            subresources: const { &[Subresource::status("PriorityLevelConfiguration")] },
            generation: true,
            unconditional_update: false,
            ..Meta::cluster::<PriorityLevelConfiguration>("prioritylevelconfigurations")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut PriorityLevelConfiguration) {
        let Some(spec) = &mut object.spec else { return };
        if spec.type_ == "Exempt" {
            let exempt = spec.exempt.get_or_insert_default();
            absent(&mut exempt.nominal_concurrency_shares, 0);
            absent(&mut exempt.lendable_percent, 0);
        }
        if let Some(limited) = &mut spec.limited {
            absent(&mut limited.nominal_concurrency_shares, 30);
            absent(&mut limited.lendable_percent, 0);
            let queuing = limited.limit_response.as_mut().and_then(|response| response.queuing.as_mut());
            if let Some(queuing) = queuing {
                number(&mut queuing.queues, 64);
                number(&mut queuing.hand_size, 8);
                number(&mut queuing.queue_length_limit, 50);
            }
        }
    }
}
