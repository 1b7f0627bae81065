//! Names that the administrator gives addresses by hand, in the format of hosts(5), both ways. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};

use super::message::Reply;
use super::zone::data;

/// Seconds, for names that change as people edit them.
const TTL: u32 = 60;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hosts {
    addresses: BTreeMap<LowerName, BTreeSet<IpAddr>>,
    names: BTreeMap<IpAddr, Vec<Name>>,
}

impl Hosts {
    /// `<address> <name>…` on each line; `#` begins a comment. The error is for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut hosts = Self::default();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(address) = words.next() else { continue };
            let wrong = |what: String| format!("line {}: {what}", number + 1);
            let ip: IpAddr = address.parse().map_err(|_| wrong(format!("{address:?} is no IP address")))?;
            let mut any = false;
            for word in words {
                let name = Name::from_ascii(word).map_err(|_| wrong(format!("{word:?} is no name")))?;
                hosts.add(ip, name);
                any = true;
            }
            if !any {
                return Err(wrong(format!("{address} is given no name")));
            }
        }
        Ok(hosts)
    }

    fn add(&mut self, ip: IpAddr, mut name: Name) {
        name.set_fqdn(true);
        self.addresses.entry(LowerName::new(&name)).or_default().insert(ip);
        let names = self.names.entry(ip).or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }

    /// The answer, if the name is one of these.
    pub fn answer(&self, name: &Name, kind: RecordType) -> Option<Reply> {
        if self.addresses.is_empty() {
            return None;
        }
        let all: Vec<RData> = match self.addresses.get(&LowerName::new(name)) {
            Some(addresses) => addresses.iter().map(|ip| data(*ip)).collect(),
            None => {
                let net = name.parse_arpa_name().ok().filter(|net| net.prefix_len() == net.max_prefix_len())?;
                self.names.get(&net.addr())?.iter().map(|name| RData::PTR(PTR(name.clone()))).collect()
            }
        };
        let wanted = all.into_iter().filter(|data| data.record_type() == kind);
        let answers = wanted.map(|data| Record::from_rdata(name.clone(), TTL, data)).collect();
        Some(Reply { authoritative: true, answers, ..Reply::code(ResponseCode::NoError) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_found_both_ways() {
        let hosts =
            Hosts::parse("# ours\n\n192.0.2.1 NAS.lan nas # the big one\n2001:db8::1 nas.lan\n192.0.2.2 nas.lan\n");
        let hosts = hosts.unwrap();
        let ask = |name: &str, kind| {
            let reply = hosts.answer(&Name::from_ascii(name).unwrap(), kind)?;
            Some(reply.answers.iter().map(|record| record.data.to_string()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(ask("nas.LAN.", RecordType::A).unwrap(), "192.0.2.1 192.0.2.2");
        assert_eq!(ask("nas.lan.", RecordType::AAAA).unwrap(), "2001:db8::1");
        assert_eq!(ask("nas.", RecordType::AAAA).unwrap(), "", "the name is there, such an address is not");
        assert_eq!(ask("1.2.0.192.in-addr.arpa.", RecordType::PTR).unwrap(), "NAS.lan. nas.");
        assert_eq!(ask("other.lan.", RecordType::A), None);
        assert_eq!(ask("9.2.0.192.in-addr.arpa.", RecordType::PTR), None);
        assert_eq!(Hosts::default().answer(&Name::root(), RecordType::A), None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, wanted) in [
            ("192.0.2.1 a\nnas 192.0.2.1", "line 2: \"nas\" is no IP address"),
            ("192.0.2.1 a..b", "line 1: \"a..b\" is no name"),
            ("192.0.2.1 # nobody", "line 1: 192.0.2.1 is given no name"),
        ] {
            assert_eq!(Hosts::parse(text).unwrap_err(), wanted);
        }
    }
}
