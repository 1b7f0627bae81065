//! Addresses and ranges.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::api::field::{Error, Errors, Path};

/// Reads an address; one that is none is an error.
pub fn ip(errors: &mut Errors, path: &Path, text: &str) -> Option<IpAddr> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        errors.push(Error::invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
    }
    parsed
}

/// Reads a range in CIDR notation; one that is none is an error.
pub fn cidr(errors: &mut Errors, path: &Path, text: &str) -> Option<IpNet> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.push(Error::invalid(path, text, detail));
    }
    parsed
}

/// A range in CIDR notation in a field from after the time when anything that could be read was good enough.
pub fn strict_cidr(errors: &mut Errors, path: &Path, text: &str) -> Option<IpNet> {
    let range = cidr(errors, path, text)?;
    let problem = match range {
        IpNet::V6(range) if range.addr().to_ipv4_mapped().is_some() => "must not have an IPv4-mapped IPv6 address",
        range if range.addr() != range.network() => "must not have bits set beyond the prefix length",
        range => return Some(range),
    };
    errors.push(Error::invalid(path, text, problem));
    None
}

/// An address that something in the cluster can be reached at.
pub fn endpoint_ip(errors: &mut Errors, path: &Path, text: &str) {
    let Some(address) = ip(errors, path, text) else { return };
    let problem = match address {
        address if address.is_unspecified() => Some(format!("may not be unspecified ({address})")),
        address if address.is_loopback() => Some("may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        IpAddr::V4(address) if address.is_link_local() => {
            Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned())
        }
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned())
        }
        IpAddr::V4(address) if address.octets()[..3] == [224, 0, 0] => {
            Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned())
        }
        _ => None,
    };
    if let Some(problem) = problem {
        errors.push(Error::invalid(path, text, problem));
    }
}
