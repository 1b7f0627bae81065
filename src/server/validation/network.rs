//! Addresses and ranges.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::api::field::{Error, Errors, Path};

/// Reads an address; one that is none is an error, and so is one that some programs read otherwise (KEP-4858).
pub fn ip(errors: &mut Errors, path: &Path, text: &str) -> Option<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(six)) if six.to_ipv4_mapped().is_some() => {
            errors.push(Error::invalid(path, text, "must not be an IPv4-mapped IPv6 address"));
            None
        }
        Ok(address) => Some(address),
        Err(_) if has_leading_zeros(text) => {
            errors.push(Error::invalid(path, text, "must not have leading 0s"));
            None
        }
        Err(_) => {
            errors.push(Error::invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
            None
        }
    }
}

/// Four numbers up to 255, but written with zeros in front.
fn has_leading_zeros(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').map(str::parse::<u8>).collect();
    parts.len() == 4 && parts.iter().all(Result::is_ok)
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

/// An address that something in the cluster can be reached at; whether it could be read.
pub fn endpoint_ip(errors: &mut Errors, path: &Path, text: &str) -> bool {
    let read = ip(errors, path, text).is_some();
    if read {
        not_special(errors, path, text);
    }
    read
}

/// Neither unspecified, nor of this machine or link alone.
pub fn not_special(errors: &mut Errors, path: &Path, text: &str) {
    let Ok(address) = text.parse::<IpAddr>() else { return };
    let address = address.to_canonical();
    let (link, multicast) = match address {
        IpAddr::V4(four) => (four.is_link_local(), four.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(six) => (six.is_unicast_link_local(), six.segments()[0] & 0xff0f == 0xff02),
    };
    let problems = [
        (address.is_unspecified(), format!("may not be unspecified ({text})")),
        (address.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (link, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()),
    ];
    let found = problems.into_iter().filter(|(found, _)| *found);
    errors.extend(found.map(|(_, problem)| Error::invalid(path, text, problem)));
}
