//! A pod's /etc/resolv.conf, /etc/hosts and host name. Pure text; `sandbox` writes the files.

use std::fmt::Write;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// The cluster's DNS and the host's own file.
#[derive(Clone, Debug, Default)]
pub struct DnsFacts {
    pub cluster_dns: Option<Ipv4Addr>,
    pub cluster_domain: String,
    /// The text of the host's resolv.conf.
    pub host: String,
}

#[derive(Default)]
struct Resolv {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Resolv {
    fn parse(text: &str) -> Self {
        let mut out = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let first = words.next();
            let rest: Vec<_> = words.map(str::to_owned).collect();
            match first {
                Some("nameserver") => out.servers.extend(rest.into_iter().take(1)),
                Some("search" | "domain") => out.searches = rest,
                Some("options") => out.options = rest,
                _ => {}
            }
        }
        out
    }

    fn render(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            let _ = writeln!(text, "search {}", self.searches.join(" "));
        }
        for server in &self.servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        text
    }
}

/// The pod's resolv.conf by its `dnsPolicy` and `dnsConfig`.
pub fn resolv_conf(pod: &Pod, facts: &DnsFacts) -> String {
    let fallback = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&fallback);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let host = || Resolv::parse(&facts.host);
    let cluster = |dns: Ipv4Addr| {
        let domain = &facts.cluster_domain;
        let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
        searches.extend(host().searches.into_iter().filter(|search| search != "."));
        Resolv { servers: vec![dns.to_string()], searches, options: vec!["ndots:5".to_owned()] }
    };
    let on_host = spec.host_network == Some(true);
    let mut resolv = match (spec.dns_policy.as_deref().unwrap_or("ClusterFirst"), facts.cluster_dns) {
        ("None", _) => Resolv::default(),
        ("ClusterFirst", Some(dns)) if !on_host => cluster(dns),
        ("ClusterFirstWithHostNet", Some(dns)) => cluster(dns),
        _ => host(),
    };
    if let Some(config) = &spec.dns_config {
        append_new(&mut resolv.servers, config.nameservers.iter().flatten());
        append_new(&mut resolv.searches, config.searches.iter().flatten());
        for option in config.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            resolv.options.retain(|known| known.split(':').next() != Some(name));
            resolv.options.push(match option.value.as_deref().filter(|value| !value.is_empty()) {
                Some(value) => format!("{name}:{value}"),
                None => name.clone(),
            });
        }
    }
    resolv.render()
}

fn append_new<'a>(list: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

/// The host name inside the pod, at most 63 characters, and the domain its subdomain gives it.
pub fn host_name(pod: &Pod, cluster_domain: &str) -> (String, Option<String>) {
    let spec = pod.spec.as_ref();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if let Some(overridden) = spec.and_then(|spec| spec.hostname_override.as_deref()).filter(|name| !name.is_empty()) {
        return (overridden.to_owned(), None);
    }
    let own = spec.and_then(|spec| spec.hostname.as_deref()).filter(|name| !name.is_empty());
    let short: String = own.unwrap_or(name).chars().take(63).collect();
    let short = short.trim_end_matches(['-', '.']).to_owned();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let subdomain = spec.and_then(|spec| spec.subdomain.as_deref()).filter(|name| !name.is_empty());
    let domain = subdomain.map(|subdomain| format!("{subdomain}.{namespace}.svc.{cluster_domain}"));
    match (&domain, spec.and_then(|spec| spec.set_hostname_as_fqdn)) {
        (Some(domain), Some(true)) => (format!("{short}.{domain}"), Some(domain.clone())),
        _ => (short, domain),
    }
}

/// The pod's /etc/hosts; on the host's network it begins with the host's own file.
pub fn hosts(pod: &Pod, ip: Option<Ipv4Addr>, cluster_domain: &str, host_file: &str) -> String {
    let mut text = String::new();
    let spec = pod.spec.as_ref();
    if spec.and_then(|spec| spec.host_network) == Some(true) {
        text.push_str("# Kubernetes-managed hosts file (host network).\n");
        text.push_str(host_file);
    } else {
        text.push_str(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        );
        text.push_str(
            "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        if let Some(ip) = ip {
            let (name, domain) = host_name(pod, cluster_domain);
            let short = name.split('.').next().unwrap_or_default();
            let _ = match domain {
                Some(domain) => writeln!(text, "{ip}\t{short}.{domain}\t{short}"),
                None => writeln!(text, "{ip}\t{name}"),
            };
        }
    }
    let aliases: Vec<_> = spec.and_then(|spec| spec.host_aliases.as_ref()).into_iter().flatten().collect();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let _ = writeln!(text, "{}\t{}", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(json!({"metadata": {"name": "web-0", "namespace": "ns"}, "spec": spec})).unwrap()
    }

    fn facts() -> DnsFacts {
        DnsFacts {
            cluster_dns: Some(Ipv4Addr::new(10, 43, 0, 10)),
            cluster_domain: "cluster.local".into(),
            host: "# made by hand\nnameserver 9.9.9.9\nsearch lan\noptions edns0\n".into(),
        }
    }

    #[test]
    fn each_policy_gives_its_file() {
        let cluster =
            "search ns.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.43.0.10\noptions ndots:5\n";
        let host = "search lan\nnameserver 9.9.9.9\noptions edns0\n";
        let cases = [
            (json!({}), cluster),
            (json!({"dnsPolicy": "Default"}), host),
            (json!({"hostNetwork": true}), host),
            (json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}), cluster),
            (
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "options": [{"name": "ndots", "value": "2"}]}}),
                "nameserver 1.1.1.1\noptions ndots:2\n",
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(resolv_conf(&pod(spec.clone()), &facts()), expected, "{spec}");
        }
    }

    #[test]
    fn hosts_names_the_pod_with_its_subdomain() {
        let text = hosts(
            &pod(json!({"subdomain": "web", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]})),
            Some(Ipv4Addr::new(10, 42, 0, 7)),
            "cluster.local",
            "",
        );
        assert!(text.contains("10.42.0.7\tweb-0.web.ns.svc.cluster.local\tweb-0\n"), "{text}");
        assert!(text.ends_with("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"), "{text}");
    }
}
