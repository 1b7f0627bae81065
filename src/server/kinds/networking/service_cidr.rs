//! ServiceCIDR: a range that Service addresses come from.

use k8s_openapi::api::networking::v1::ServiceCIDR;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};
use crate::server::validation;

pub struct ServiceCidrs;

impl Strategy for ServiceCidrs {
    type Kind = ServiceCIDR;

    fn meta(&self) -> Meta {
        Meta {
            subresources: const { &[Subresource::status("ServiceCIDR")] },
            ..Meta::cluster::<ServiceCIDR>("servicecidrs")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] =
            &[Column::NAME, Column::string("CIDRs", "The ranges that Service addresses come from."), Column::AGE];
        COLUMNS
    }

    fn cells(&self, object: &ServiceCIDR, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let cidrs = object.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default();
        Some(vec![cell::name(&object.metadata), cidrs.join(",").into(), cell::age(&object.metadata, now)])
    }

    fn validate(&self, new: &ServiceCIDR, _old: Option<&ServiceCIDR>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec").child("cidrs");
        let cidrs = new.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default();
        if cidrs.is_empty() {
            errors.push(Error::required(&path, "at least one CIDR required"));
        }
        if cidrs.len() > 2 {
            let detail = "may only hold up to 2 values";
            errors.push(Error::invalid(&path, validation::json(&cidrs), detail));
        }
        for (at, cidr) in cidrs.iter().enumerate() {
            validation::network::cidr(&mut errors, &path.index(at), cidr);
        }
        errors
    }
}
