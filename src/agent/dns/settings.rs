//! What the administrator says about DNS, in the ConfigMap `kube-system/kube-dns`: `stubDomains` and
//! `upstreamNameservers` in kube-dns' format, as Kubernetes' documentation describes it, and `NodeHosts` in that of
//! hosts(5). Pure; a text that is wrong in one place is not believed in any.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use hickory_proto::rr::{LowerName, Name};

use super::hosts::Hosts;
use crate::api::names;

const STUB_DOMAINS: &str = "stubDomains";
const UPSTREAM: &str = "upstreamNameservers";
const HOSTS: &str = "NodeHosts";
/// Of kube-dns' days; it says nothing that a single cluster could use.
const FEDERATIONS: &str = "federations";

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Instead of the host's own resolvers, where there are any.
    pub upstream: Vec<SocketAddr>,
    /// By their domains.
    pub stubs: BTreeMap<LowerName, Vec<SocketAddr>>,
    pub hosts: Hosts,
}

/// What settings must not lead back to.
pub struct Own {
    pub domain: String,
    pub address: IpAddr,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("{0:?} is none of stubDomains, upstreamNameservers, NodeHosts")]
    Key(String),
    #[error("{0}: {1}")]
    Json(&'static str, String),
    #[error("stubDomains: invalid domain name: {0:?}")]
    Domain(String),
    #[error("stubDomains: {0:?} is answered by the cluster itself")]
    OwnDomain(String),
    #[error("stubDomains: {0:?} has no nameserver")]
    NoServer(String),
    #[error("invalid nameserver: {0:?}; an IP address is wanted, with or without a port")]
    Server(String),
    #[error("invalid nameserver: {0:?} is the cluster's own DNS")]
    OwnAddress(String),
    #[error("upstreamNameserver cannot have more than three entries")]
    TooMany,
    #[error("NodeHosts: {0}")]
    Hosts(String),
}

impl Settings {
    pub fn parse(data: &BTreeMap<String, String>, own: &Own) -> Result<Self, Invalid> {
        let mut settings = Self::default();
        for (key, text) in data {
            match key.as_str() {
                STUB_DOMAINS => settings.stubs = stubs(text, own)?,
                UPSTREAM => {
                    let listed: Vec<String> = json(UPSTREAM, text)?;
                    if listed.len() > 3 {
                        return Err(Invalid::TooMany);
                    }
                    settings.upstream = listed.iter().map(|text| server(text, own)).collect::<Result<_, _>>()?;
                }
                HOSTS => settings.hosts = Hosts::parse(text).map_err(Invalid::Hosts)?,
                FEDERATIONS => {}
                other => return Err(Invalid::Key(other.to_owned())),
            }
        }
        Ok(settings)
    }
}

fn json<T: serde::de::DeserializeOwned>(key: &'static str, text: &str) -> Result<T, Invalid> {
    serde_json::from_str(text).map_err(|error| Invalid::Json(key, error.to_string()))
}

fn stubs(text: &str, own: &Own) -> Result<BTreeMap<LowerName, Vec<SocketAddr>>, Invalid> {
    let listed: BTreeMap<String, Vec<String>> = json(STUB_DOMAINS, text)?;
    let mut stubs = BTreeMap::new();
    for (domain, servers) in listed {
        let mut name = match Name::from_ascii(&domain) {
            Ok(name) if names::dns1123_subdomain(&domain).is_empty() => name,
            _ => return Err(Invalid::Domain(domain)),
        };
        if domain == own.domain {
            return Err(Invalid::OwnDomain(domain));
        }
        if servers.is_empty() {
            return Err(Invalid::NoServer(domain));
        }
        name.set_fqdn(true);
        let servers = servers.iter().map(|text| server(text, own)).collect::<Result<_, _>>()?;
        stubs.insert(LowerName::new(&name), servers);
    }
    Ok(stubs)
}

fn server(text: &str, own: &Own) -> Result<SocketAddr, Invalid> {
    const PORT: u16 = 53;
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
    let server = bare.or_else(|_| text.parse::<SocketAddr>()).map_err(|_| Invalid::Server(text.to_owned()))?;
    if server == SocketAddr::new(own.address, PORT) {
        return Err(Invalid::OwnAddress(text.to_owned()));
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &str, text: &str) -> Result<Settings, String> {
        let own = Own { domain: "cluster.local".to_owned(), address: [10, 43, 0, 10].into() };
        let data = BTreeMap::from([(key.to_owned(), text.to_owned())]);
        Settings::parse(&data, &own).map_err(|error| error.to_string())
    }

    #[test]
    fn kube_dns_format_is_understood() {
        let addresses = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let stubs = parse("stubDomains", r#"{"acme.local": ["1.2.3.4", "10.0.0.5:5353"], "corp": ["2001:db8::1"]}"#);
        let stubs = stubs.unwrap().stubs;
        let of = |name: &str| stubs[&LowerName::new(&Name::from_ascii(name).unwrap())].clone();
        assert_eq!(of("acme.local."), addresses(&["1.2.3.4:53", "10.0.0.5:5353"]));
        assert_eq!(of("corp."), addresses(&["[2001:db8::1]:53"]));
        let upstream = parse("upstreamNameservers", r#"["8.8.8.8", "8.8.4.4"]"#).unwrap().upstream;
        assert_eq!(upstream, addresses(&["8.8.8.8:53", "8.8.4.4:53"]));
        assert_ne!(parse("NodeHosts", "192.0.2.1 nas").unwrap().hosts, Hosts::default());
        assert_eq!(parse("federations", "{}"), Ok(Settings::default()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (key, text, wanted) in [
            ("stubDomain", "{}", "\"stubDomain\" is none of stubDomains, upstreamNameservers, NodeHosts"),
            ("stubDomains", "{", "stubDomains: EOF while parsing an object at line 1 column 1"),
            ("stubDomains", r#"{"A_b": ["1.2.3.4"]}"#, "stubDomains: invalid domain name: \"A_b\""),
            (
                "stubDomains",
                r#"{"cluster.local": ["1.2.3.4"]}"#,
                "stubDomains: \"cluster.local\" is answered by the cluster itself",
            ),
            ("stubDomains", r#"{"a": []}"#, "stubDomains: \"a\" has no nameserver"),
            (
                "stubDomains",
                r#"{"a": ["ns.a"]}"#,
                "invalid nameserver: \"ns.a\"; an IP address is wanted, with or without a port",
            ),
            (
                "upstreamNameservers",
                r#"["1.1.1.1:99999"]"#,
                "invalid nameserver: \"1.1.1.1:99999\"; an IP address is wanted, with or without a port",
            ),
            ("upstreamNameservers", r#"["10.43.0.10"]"#, "invalid nameserver: \"10.43.0.10\" is the cluster's own DNS"),
            (
                "upstreamNameservers",
                r#"["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]"#,
                "upstreamNameserver cannot have more than three entries",
            ),
            ("NodeHosts", "nas", "NodeHosts: line 1: \"nas\" is no IP address"),
        ] {
            assert_eq!(parse(key, text).unwrap_err(), wanted);
        }
    }
}
