//! URLs in a proxied answer that mean the target's own paths: they get the proxy's path in front. Pure.

use http::HeaderMap;
use http::header::HOST;

use super::target::Target;
use crate::api::transport::joined;

/// How the links of one answer are rewritten.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// `/api/v1/namespaces/ns/pods/p/proxy`
    prefix: String,
    /// The target's own name for itself, and the client's.
    hosts: [String; 2],
}

impl Links {
    pub fn new(prefix: &str, target: &Target, headers: &HeaderMap) -> Self {
        let asked = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let own = match target {
            Target::Address { host, port, .. } => joined(host, *port),
            Target::Kubelet(_) => String::new(),
        };
        Self { prefix: prefix.to_owned(), hosts: [own, asked] }
    }

    /// The path under which the client knows a path of the target.
    pub fn prefixed(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// A link to the target's root, however it names the host, leads through the proxy; others stay.
    pub fn rewrite(&self, link: &str) -> String {
        let Some(path) = self.own_path(link) else { return link.to_owned() };
        if path.starts_with(&self.prefix) { path.to_owned() } else { self.prefixed(path) }
    }

    /// The part of a link from its path on, if it is the target's.
    fn own_path<'a>(&self, link: &'a str) -> Option<&'a str> {
        let rest = match link.split_once("://") {
            Some(("http" | "https", rest)) => rest,
            Some((before, _)) if !before.contains(['/', '?', '#']) => return None,
            _ => match link.strip_prefix("//") {
                Some(rest) => rest,
                None => return link.starts_with('/').then_some(link),
            },
        };
        let path = rest.find('/')?;
        let host = &rest[..path];
        self.hosts.iter().any(|known| known == host && !host.is_empty()).then(|| &rest[path..])
    }
}

#[cfg(test)]
impl Links {
    pub fn of(prefix: &str, hosts: [&str; 2]) -> Self {
        Self { prefix: prefix.to_owned(), hosts: hosts.map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_links_lead_through_the_proxy() {
        let links = Links::of("/p/proxy", ["10.0.0.1:80", "localhost:8001"]);
        for (link, expected) in [
            ("/", "/p/proxy/"),
            ("/a?b=/c#d", "/p/proxy/a?b=/c#d"),
            ("http://10.0.0.1:80/a", "/p/proxy/a"),
            ("https://localhost:8001/a", "/p/proxy/a"),
            ("//10.0.0.1:80/a/", "/p/proxy/a/"),
            ("/p/proxy/a", "/p/proxy/a"),
            ("a/b", "a/b"),
            ("?x=http://10.0.0.1:80/", "?x=http://10.0.0.1:80/"),
            ("#top", "#top"),
            ("http://elsewhere/a", "http://elsewhere/a"),
            ("mailto:me@here", "mailto:me@here"),
            ("", ""),
        ] {
            assert_eq!(links.rewrite(link), expected, "{link}");
        }
    }
}
