//! Addresses and ranges.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::api::field::{Error, Errors, Path};

/// Reads an address; one that is none is an error, and so is one that some programs read otherwise (KEP-4858).
pub fn ip(errors: &mut Errors, path: &Path, text: &str) -> Option<IpAddr> {
    strict_ip(text).map_err(|problem| errors.push(Error::invalid(path, text, problem))).ok()
}

fn strict_ip(text: &str) -> Result<IpAddr, &'static str> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(six)) if six.to_ipv4_mapped().is_some() => Err("must not be an IPv4-mapped IPv6 address"),
        Ok(address) => Ok(address),
        Err(_) if has_leading_zeros(text) => Err("must not have leading 0s"),
        Err(_) => Err("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
    }
}

/// An address written as everybody writes it, or what is wrong with it.
pub fn canonical_ip(text: &str) -> Result<IpAddr, String> {
    let address = strict_ip(text)?;
    let canonical = address.to_string();
    if canonical == text { Ok(address) } else { Err(format!("must be in canonical form ({canonical:?})")) }
}

/// The same for a field that had `old` until now: what was good enough once may stay.
pub fn legacy_ip(errors: &mut Errors, path: &Path, text: &str, old: &[String]) -> Option<IpAddr> {
    if !old.iter().any(|old| old == text) {
        return ip(errors, path, text);
    }
    sloppy_ip(text)
}

/// Reads an address as Go did once, whose octets may have zeros in front.
pub fn sloppy_ip(text: &str) -> Option<IpAddr> {
    let octets = || text.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u8>>>()?.try_into().ok();
    text.parse().ok().or_else(|| octets().map(|octets: [u8; 4]| octets.into()))
}

fn sloppy_cidr(text: &str) -> Option<IpNet> {
    let (address, bits) = text.split_once('/')?;
    let is_number = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    IpNet::new(sloppy_ip(address)?, bits.parse().ok().filter(|_| is_number)?).ok()
}

/// The address of an interface with the length of its network's prefix, in the one form that Go writes.
pub fn interface_address(errors: &mut Errors, path: &Path, text: &str) {
    let canonical = sloppy_cidr(text).map(|it| format!("{}/{}", it.addr().to_canonical(), it.prefix_len()));
    let problem = match canonical {
        None => "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)".to_owned(),
        Some(canonical) if canonical != text => format!("must be in canonical form ({canonical:?})"),
        Some(_) => return,
    };
    errors.push(Error::invalid(path, text, problem));
}

/// Four numbers up to 255, but written with zeros in front.
fn has_leading_zeros(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').map(str::parse::<u8>).collect();
    parts.len() == 4 && parts.iter().all(Result::is_ok)
}

/// Reads a range in CIDR notation in a field from before the rules became strict (KEP-4858). `old` holds what the field
/// had until now, which may stay as it is.
pub fn cidr(errors: &mut Errors, path: &Path, text: &str, old: &[String]) -> Option<IpNet> {
    let range = sloppy_cidr(text);
    if old.iter().any(|old| old.trim() == text) {
        return range;
    }
    let problem = match range {
        None => "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        Some(_) if is_padded(text) => "must not have leading 0s in IP or prefix length",
        Some(IpNet::V6(range)) if range.addr().to_ipv4_mapped().is_some() => {
            "must not have an IPv4-mapped IPv6 address"
        }
        Some(range) if range.addr() != range.network() => "must not have bits set beyond the prefix length",
        Some(range) => return Some(range),
    };
    errors.push(Error::invalid(path, text, problem));
    range
}

/// Whether one of the decimal numbers of a range has zeros in front.
fn is_padded(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let padded = |number: &str| number.len() > 1 && number.starts_with('0');
    padded(bits) || (!address.contains(':') && address.split('.').any(padded))
}

/// A range in CIDR notation in a newer field, which must also be written as everybody writes it.
pub fn strict_cidr(errors: &mut Errors, path: &Path, text: &str) -> Option<IpNet> {
    let before = errors.len();
    let range = cidr(errors, path, text, &[])?;
    let canonical = range.to_string();
    if errors.len() == before && canonical != text {
        errors.push(Error::invalid(path, text, format!("must be in canonical form ({canonical:?})")));
    }
    (errors.len() == before).then_some(range)
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
    if let Ok(address) = text.parse() {
        not_special_ip(errors, path, address, text);
    }
}

/// The same of an address that is written as `text`.
pub fn not_special_ip(errors: &mut Errors, path: &Path, address: IpAddr, text: &str) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_interfaces_have_one_form() {
        let form = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
        let cases = [
            ("10.9.8.0/24", ""),
            ("2001:db8::1/64", ""),
            ("300.9.8.0/24", form),
            ("10.9.8.1", form),
            ("10.9.8.1/33", form),
            ("10.9.8.1/+8", form),
            ("010.009.008.000/24", "must be in canonical form (\"10.9.8.0/24\")"),
            ("10.9.8.0/024", "must be in canonical form (\"10.9.8.0/24\")"),
            ("2001:0db8::1/64", "must be in canonical form (\"2001:db8::1/64\")"),
        ];
        for (text, problem) in cases {
            let mut errors = Errors::new();
            interface_address(&mut errors, &Path::new("ip"), text);
            let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
            let expected = format!("ip: Invalid value: {text:?}: {problem}");
            assert_eq!(found, Vec::from_iter((!problem.is_empty()).then_some(expected)), "{text}");
        }
    }

    #[test]
    fn ranges_are_read_as_one_only_can() {
        let old = ["10.0.0.1/8".to_owned()];
        let cases = [
            ("10.0.0.0/8", ""),
            ("10.0.0.1/8", ""),
            ("10.0.0.2/8", "must not have bits set beyond the prefix length"),
            ("010.0.0.0/8", "must not have leading 0s in IP or prefix length"),
            ("10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
            ("::ffff:10.0.0.0/104", "must not have an IPv4-mapped IPv6 address"),
            ("FE80::/64", ""),
            ("10.0.0.0", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
        ];
        for (text, expected) in cases {
            let mut errors = Errors::new();
            cidr(&mut errors, &Path::new("f"), text, &old);
            let found = errors.first().map_or(String::new(), |error| error.to_string());
            let expected =
                if expected.is_empty() { String::new() } else { format!("f: Invalid value: {text:?}: {expected}") };
            assert_eq!(found, expected);
        }
        let mut errors = Errors::new();
        strict_cidr(&mut errors, &Path::new("f"), "FE80::/64");
        assert_eq!(errors[0].to_string(), "f: Invalid value: \"FE80::/64\": must be in canonical form (\"fe80::/64\")");
    }
}
