//! PriorityLevelConfiguration: how many requests of a level run at once.

use k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::kinds::defaults::{absent, number};
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

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

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Type", "Whether the level is limited."),
            Column::string("NominalConcurrencyShares", "The share of concurrency of the level."),
            Column::string("Queues", "How many queues the level has."),
            Column::string("HandSize", "How many queues a flow is dealt."),
            Column::string("QueueLengthLimit", "How many requests a queue holds."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &PriorityLevelConfiguration, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let limited = spec.limited.unwrap_or_default();
        let exempt = spec.exempt.and_then(|exempt| exempt.nominal_concurrency_shares);
        let queuing = limited.limit_response.and_then(|response| response.queuing).unwrap_or_default();
        let number = |number: Option<i32>| number.map_or_else(|| cell::NONE.to_owned(), |number| number.to_string());
        Some(vec![
            cell::name(&object.metadata),
            spec.type_.into(),
            number(limited.nominal_concurrency_shares.or(exempt)).into(),
            number(queuing.queues).into(),
            number(queuing.hand_size).into(),
            number(queuing.queue_length_limit).into(),
            cell::age(&object.metadata, now),
        ])
    }
}
