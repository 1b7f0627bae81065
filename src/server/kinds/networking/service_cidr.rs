//! ServiceCIDR: a range that Service addresses come from.

use ipnet::IpNet;
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
            status_only: true,
            ..Meta::cluster::<ServiceCIDR>("servicecidrs")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "CIDRs",
                "CIDRs defines the IP blocks in CIDR notation (e.g. \"192.168.0.0/24\" or \"2001:db8::/64\") from which to assign service cluster IPs. Max of two CIDRs is allowed, one of each IP family. This field is immutable.",
            ),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &ServiceCIDR, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let cidrs = object.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default();
        Some(vec![cell::name(&object.metadata), cidrs.join(",").into(), cell::age(&object.metadata, now)])
    }

    fn validate(&self, new: &ServiceCIDR, old: Option<&ServiceCIDR>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec").child("cidrs");
        let ranges = cidrs(new);
        match old.map(cidrs) {
            None => self::ranges(&mut errors, &path, ranges),
            Some(before) if before.len() == ranges.len() || (before.len(), ranges.len()) == (1, 2) => {
                for (at, range) in ranges.iter().enumerate().take(before.len()) {
                    validation::immutable(&mut errors, &path.index(at), range, &before[at]);
                }
                // A range of the other family may come later.
                if before.len() != ranges.len() {
                    self::ranges(&mut errors, &path, ranges);
                }
            }
            Some(_) => errors.push(Error::invalid(&path, validation::json(&ranges), validation::IMMUTABLE)),
        }
        errors
    }
}

fn cidrs(object: &ServiceCIDR) -> &[String] {
    object.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default()
}

fn ranges(errors: &mut Errors, path: &Path, ranges: &[String]) {
    if ranges.is_empty() {
        errors.push(Error::required(path, "at least one CIDR required"));
    }
    if ranges.len() > 2 {
        let shown = serde_json::json!({"CIDRs": ranges});
        errors.push(Error::invalid(path, shown, "may only hold up to 2 values"));
        return;
    }
    for (at, range) in ranges.iter().enumerate() {
        validation::network::strict_cidr(errors, &path.index(at), range);
    }
    let is_ipv4 = |range: &String| range.parse().ok().map(|range: IpNet| range.addr().is_ipv4());
    if let [Some(one), Some(other)] = ranges.iter().map(is_ipv4).collect::<Vec<_>>()[..]
        && one == other
    {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(Error::invalid(path, validation::json(&ranges), detail));
    }
}
