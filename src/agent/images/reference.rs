//! Image names, normalised as docker does: `busybox` is `docker.io/library/busybox:latest`.
//! Pure; called by the runtime and by the kubelet.

use crate::agent::runtime::Error;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const MAX_NAME: usize = 255;

/// A complete image name. `Display` gives `domain/path[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    pub domain: String,
    pub path: String,
    pub tag: Option<String>,
    pub digest: Option<String>,
}

impl Reference {
    /// Parses a familiar name. A name with neither tag nor digest gets `:latest`.
    ///
    /// # Errors
    /// [`Error::InvalidImageName`], which the kubelet shows as reason `InvalidImageName`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|detail| Error::InvalidImageName {
            reference: text.to_owned(),
            detail: if detail.is_empty() { String::new() } else { format!(": {detail}") },
        })
    }

    /// `domain/path`
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The host to talk to; Docker Hub's API lives under another name than its images.
    pub fn registry_host(&self) -> &str {
        if self.domain == DEFAULT_DOMAIN { "registry-1.docker.io" } else { &self.domain }
    }

    /// The same repository at one digest: `domain/path@sha256:…`.
    pub fn at_digest(&self, digest: &str) -> String {
        format!("{}@{digest}", self.repository())
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<Reference, String> {
    if text.is_empty() {
        return Err(String::new());
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if digest.is_some_and(|digest| !valid_digest(digest)) {
        return Err("invalid checksum digest format".to_owned());
    }
    // A colon after the last slash begins a tag; before it, a port.
    let split = rest.rfind(':').filter(|colon| rest.rfind('/').is_none_or(|slash| slash < *colon));
    let (name, tag) = match split {
        Some(colon) => (&rest[..colon], Some(&rest[colon + 1..])),
        None => (rest, None),
    };
    if tag.is_some_and(|tag| !valid_tag(tag)) {
        return Err(String::new());
    }
    let (domain, path) = split_domain(name);
    if path.chars().any(char::is_uppercase) {
        return Err(format!("repository name ({path}) must be lowercase"));
    }
    if !valid_domain(&domain) || !path.split('/').all(valid_component) {
        return Err(String::new());
    }
    if domain.len() + 1 + path.len() > MAX_NAME {
        return Err(format!("repository name must not be more than {MAX_NAME} characters"));
    }
    let tag = match (tag, digest) {
        (None, None) => Some("latest".to_owned()),
        (tag, _) => tag.map(str::to_owned),
    };
    Ok(Reference { domain, path, tag, digest: digest.map(str::to_owned) })
}

/// The first component is a host only if it looks like one: a dot, a port, `localhost`, or an upper-case letter.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase) =>
        {
            (first, rest.to_owned())
        }
        _ => (DEFAULT_DOMAIN, name.to_owned()),
    };
    let domain = if domain == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { domain };
    let path = if domain == DEFAULT_DOMAIN && !path.contains('/') { format!("{OFFICIAL}{path}") } else { path };
    (domain.to_owned(), path)
}

fn valid_tag(tag: &str) -> bool {
    let mut bytes = tag.bytes();
    tag.len() <= 128
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// `sha256:` and 64 lower-case hexadecimal digits, or another algorithm with at least 32.
pub fn valid_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let wanted = match algorithm {
        "sha256" => hex.len() == 64,
        "sha384" => hex.len() == 96,
        "sha512" => hex.len() == 128,
        _ => algorithm.starts_with(|c: char| c.is_ascii_alphabetic()) && hex.len() >= 32,
    };
    wanted && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn valid_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (domain, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

/// Lower-case letters and digits, separated by one `.`, one or two `_`, or any number of `-`.
fn valid_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !edge(bytes.first()) || !edge(bytes.last()) {
        return false;
    }
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    separators
        .filter(|run| !run.is_empty())
        .all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_as_docker_does() {
        for (text, whole) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("user/app", "docker.io/user/app:latest"),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("127.0.0.1:5000/a/b__c/d-e.f", "127.0.0.1:5000/a/b__c/d-e.f:latest"),
            ("Upper/app", "Upper/app:latest"),
        ] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), whole, "{text}");
        }
        let digest = format!("sha256:{}", "a".repeat(64));
        let parsed = Reference::parse(&format!("busybox:1@{digest}")).unwrap();
        assert_eq!((parsed.tag.as_deref(), parsed.digest.as_deref()), (Some("1"), Some(digest.as_str())));
        assert_eq!(Reference::parse(&format!("busybox@{digest}")).unwrap().tag, None);
    }

    #[test]
    fn refuses_what_is_not_a_name() {
        for text in ["", "Busybox", "a//b", "a:", "a:b:c", "a@sha256:12", "-a", "a..b", "a___b", "host:port/x", "a b"] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
        let message = Reference::parse("Busybox").unwrap_err().to_string();
        assert_eq!(
            message,
            "couldn't parse image name \"Busybox\": invalid reference format: repository name (library/Busybox) must be lowercase"
        );
    }
}
