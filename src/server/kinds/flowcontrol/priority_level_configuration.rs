//! PriorityLevelConfiguration: how many requests of a level run at once.

use k8s_openapi::api::flowcontrol::v1::{
    LimitedPriorityLevelConfiguration, PriorityLevelConfiguration, QueuingConfiguration,
};
use serde_json::Value;

use super::mandatory;
use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::defaults::{absent, number};
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

pub struct PriorityLevelConfigurations;

impl Strategy for PriorityLevelConfigurations {
    type Kind = PriorityLevelConfiguration;

    fn meta(&self) -> Meta {
        Meta {
            subresources: const { &[Subresource::status("PriorityLevelConfiguration")] },
            status_only: true,
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
            Column::string(
                "Type",
                "`type` indicates whether this priority level is subject to limitation on request execution.  A value of `\"Exempt\"` means that requests of this priority level are not subject to a limit (and thus are never queued) and do not detract from the capacity made available to other priority levels.  A value of `\"Limited\"` means that (a) requests of this priority level _are_ subject to limits and (b) some of the server's limited capacity is made available exclusively to this priority level. Required.",
            ),
            Column::string(
                "NominalConcurrencyShares",
                "`nominalConcurrencyShares` (NCS) contributes to the computation of the NominalConcurrencyLimit (NominalCL) of this level. This is the number of execution seats available at this priority level. This is used both for requests dispatched from this priority level as well as requests dispatched from other priority levels borrowing seats from this level. The server's concurrency limit (ServerCL) is divided among the Limited priority levels in proportion to their NCS values:\n\nNominalCL(i)  = ceil( ServerCL * NCS(i) / sum_ncs ) sum_ncs = sum\\[priority level k\\] NCS(k)\n\nBigger numbers mean a larger nominal concurrency limit, at the expense of every other priority level.\n\nIf not specified, this field defaults to a value of 30.\n\nSetting this field to zero supports the construction of a \"jail\" for this priority level that is used to hold some request(s)",
            ),
            Column::string(
                "Queues",
                "`queues` is the number of queues for this priority level. The queues exist independently at each apiserver. The value must be positive.  Setting it to 1 effectively precludes shufflesharding and thus makes the distinguisher method of associated flow schemas irrelevant.  This field has a default value of 64.",
            ),
            Column::string(
                "HandSize",
                "`handSize` is a small positive number that configures the shuffle sharding of requests into queues.  When enqueuing a request at this priority level the request's flow identifier (a string pair) is hashed and the hash value is used to shuffle the list of queues and deal a hand of the size specified here.  The request is put into one of the shortest queues in that hand. `handSize` must be no larger than `queues`, and should be significantly smaller (so that a few heavy flows do not saturate most of the queues).  See the user-facing documentation for more extensive guidance on setting this field.  This field has a default value of 8.",
            ),
            Column::string(
                "QueueLengthLimit",
                "`queueLengthLimit` is the maximum number of requests allowed to be waiting in a given queue of this priority level at a time; excess requests are rejected.  This value must be positive.  If not specified, it will be defaulted to 50.",
            ),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &PriorityLevelConfiguration, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let limited = spec.limited.unwrap_or_default();
        let exempt = spec.exempt.and_then(|exempt| exempt.nominal_concurrency_shares);
        let queuing = limited.limit_response.and_then(|response| response.queuing).unwrap_or_default();
        let number = |number: Option<i32>| number.map_or_else(|| Value::from(cell::NONE), Value::from);
        Some(vec![
            cell::name(&object.metadata),
            spec.type_.into(),
            number(limited.nominal_concurrency_shares.or(exempt)),
            number(queuing.queues),
            number(queuing.hand_size),
            number(queuing.queue_length_limit),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(&self, new: &PriorityLevelConfiguration, _old: Option<&PriorityLevelConfiguration>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let spec = new.spec.clone().unwrap_or_default();
        let is_exempt = new.metadata.name.as_deref() == Some("exempt");
        if is_exempt != (spec.type_ == "Exempt") {
            let detail = "type must be 'Exempt' if and only if name is 'exempt'";
            errors.push(Error::invalid(&path.child("type"), spec.type_.as_str(), detail));
        }
        match (spec.type_.as_str(), &spec.limited) {
            ("Exempt", limited) => {
                if limited.is_some() {
                    errors.push(Error::forbidden(&path.child("limited"), "must be nil if the type is not Limited"));
                }
                let exempt = spec.exempt.clone().unwrap_or_default();
                let here = path.child("exempt");
                shares(&mut errors, &here, exempt.nominal_concurrency_shares, exempt.lendable_percent);
            }
            ("Limited", limited) => {
                if spec.exempt.is_some() {
                    errors.push(Error::forbidden(&path.child("exempt"), "must be nil if the type is Limited"));
                }
                match limited {
                    None => {
                        let detail = "must not be empty when type is Limited";
                        errors.push(Error::required(&path.child("limited"), detail));
                    }
                    Some(limited) => self::limited(&mut errors, &path.child("limited"), limited),
                }
            }
            (kind, _) => errors.push(Error::not_supported(&path.child("type"), kind, &["Exempt", "Limited"])),
        }
        let name = new.metadata.name.as_deref().unwrap_or_default();
        let free = (name == "exempt").then_some("exempt");
        mandatory::check(&mut errors, "PriorityLevelConfiguration", name, &spec, free);
        errors
    }

    fn validate_status(&self, new: &PriorityLevelConfiguration, _old: &PriorityLevelConfiguration) -> Errors {
        let conditions = new.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let kinds: Vec<_> = conditions.map(|condition| condition.type_.as_deref().unwrap_or_default()).collect();
        super::conditions(&kinds)
    }
}

fn shares(errors: &mut Errors, path: &Path, shares: Option<i32>, lendable: Option<i32>) {
    if let Some(shares) = shares.filter(|shares| *shares < 0) {
        let detail = "must be a non-negative integer";
        errors.push(Error::invalid(&path.child("nominalConcurrencyShares"), shares, detail));
    }
    if let Some(percent) = lendable.filter(|percent| !(0..=100).contains(percent)) {
        let detail = "must be between 0 and 100, inclusive";
        errors.push(Error::invalid(&path.child("lendablePercent"), percent, detail));
    }
}

fn limited(errors: &mut Errors, path: &Path, limited: &LimitedPriorityLevelConfiguration) {
    shares(errors, path, limited.nominal_concurrency_shares, limited.lendable_percent);
    if let Some(percent) = limited.borrowing_limit_percent.filter(|percent| *percent < 0) {
        let detail = "if specified, must be a non-negative integer";
        errors.push(Error::invalid(&path.child("borrowingLimitPercent"), percent, detail));
    }
    let path = path.child("limitResponse");
    let response = limited.limit_response.clone().unwrap_or_default();
    let here = path.child("queuing");
    match (response.type_.as_str(), &response.queuing) {
        ("Reject", Some(_)) => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            errors.push(Error::forbidden(&here, detail));
        }
        ("Queue", None) => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(Error::required(&here, detail));
        }
        ("Queue", Some(queuing)) => self::queuing(errors, &here, queuing),
        ("Reject", None) => {}
        (kind, _) => errors.push(Error::not_supported(&path.child("type"), kind, &["Queue", "Reject"])),
    }
}

const MAX_QUEUES: i32 = 10_000_000;
/// Bits of the hash by which a flow is dealt its queues.
const MAX_HASH_BITS: f64 = 60.0;

fn queuing(errors: &mut Errors, path: &Path, queuing: &QueuingConfiguration) {
    let number = |number: Option<i32>| number.unwrap_or(0);
    let (queues, hand) = (number(queuing.queues), number(queuing.hand_size));
    let counts = [("queueLengthLimit", number(queuing.queue_length_limit)), ("queues", queues), ("handSize", hand)];
    for (field, count) in counts {
        if count <= 0 {
            errors.push(Error::invalid(&path.child(field), count, "must be positive"));
        }
    }
    if queues > MAX_QUEUES {
        let detail = format!("must not be greater than {MAX_QUEUES}");
        errors.push(Error::invalid(&path.child("queues"), queues, detail));
    }
    let bits = f64::from(queues.max(1)).log2() * f64::from(hand);
    if hand > queues.max(0) {
        let detail = format!("should not be greater than queues ({queues})");
        errors.push(Error::invalid(&path.child("handSize"), hand, detail));
    } else if hand > 0 && bits.ceil() > MAX_HASH_BITS {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MAX_HASH_BITS}"
        );
        errors.push(Error::invalid(&path.child("handSize"), hand, detail));
    }
}
