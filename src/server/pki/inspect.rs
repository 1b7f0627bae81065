//! What the certificates in a folder say, for people; and their reissue, all at once.

use std::path::Path;

use jiff::Timestamp;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::authority::{Authority, Leaf, Usage};
use super::{CA_NAME, CA_SUBJECT};
use crate::keys::{KeyError, Pair, address, der, read};

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its file's name without the ending.
    pub name: String,
    pub common_name: String,
    pub organization: Option<String>,
    /// DNS names and addresses.
    pub names: Vec<String>,
    pub expires: Timestamp,
    pub is_ca: bool,
    serves: bool,
}

impl Certificate {
    fn parse(name: &str, pem: &str) -> Option<Self> {
        let der = der(pem)?;
        let (_, parsed) = X509Certificate::from_der(&der).ok()?;
        let alternative = parsed.subject_alternative_name().ok().flatten();
        let names = alternative.iter().flat_map(|names| &names.value.general_names);
        let extended = parsed.extended_key_usage().ok().flatten();
        Some(Self {
            name: name.to_owned(),
            common_name: parsed.subject().iter_common_name().next()?.as_str().ok()?.to_owned(),
            organization: parsed.subject().iter_organization().next().and_then(|o| o.as_str().ok()).map(str::to_owned),
            names: names
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
                    _ => None,
                })
                .collect(),
            expires: Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()?,
            is_ca: parsed.is_ca(),
            serves: extended.is_some_and(|usage| usage.value.server_auth),
        })
    }
}

/// Every certificate in the folder, the CA first.
pub fn certificates(dir: &Path) -> Result<Vec<Certificate>, KeyError> {
    let fail = |source| KeyError::File { verb: "read", path: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        if path.extension().is_none_or(|extension| extension != "crt") {
            continue;
        }
        let text = read(&path)?.unwrap_or_default();
        let certificate = Certificate::parse(name, &text);
        found.push(certificate.ok_or_else(|| KeyError::Unusable {
            path: path.clone(),
            why: "it holds no certificate with a common name".to_owned(),
        })?);
    }
    found.sort_by(|a, b| (!a.is_ca, &a.name).cmp(&(!b.is_ca, &b.name)));
    Ok(found)
}

/// Reissues every certificate but the CA's, with the subject and the names that it has. Gives what was reissued.
pub fn rotate(dir: &Path) -> Result<Vec<Certificate>, KeyError> {
    let now = Timestamp::now();
    let ca = Authority::load_or_create(dir, CA_NAME, CA_SUBJECT, now)?;
    let mut renewed = certificates(dir)?;
    renewed.retain(|certificate| !certificate.is_ca);
    for certificate in &mut renewed {
        let leaf = Leaf {
            common_name: &certificate.common_name,
            organization: certificate.organization.as_deref(),
            usage: if certificate.serves { Usage::Server } else { Usage::Client },
            names: &certificate.names,
        };
        let Pair { cert_pem, .. } = ca.renew(dir, &certificate.name, &leaf, now)?;
        certificate.expires = Certificate::parse(&certificate.name, &cert_pem).map_or(now, |renewed| renewed.expires);
    }
    Ok(renewed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_listed_and_reissued_but_the_ca() {
        let dir = tempfile::tempdir().unwrap();
        let long_ago = Timestamp::now() - jiff::SignedDuration::from_hours(24 * 30);
        let ca = Authority::load_or_create(dir.path(), CA_NAME, CA_SUBJECT, long_ago).unwrap();
        let names = ["a.example".to_owned(), "10.0.0.1".to_owned()];
        let leaf = Leaf { common_name: "kube-apiserver", organization: Some("a"), usage: Usage::Server, names: &names };
        ca.leaf(dir.path(), "apiserver", &leaf, long_ago).unwrap();
        let before = certificates(dir.path()).unwrap();
        assert_eq!(before.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), [CA_NAME, "apiserver"]);
        assert_eq!(before[1].names, names);
        let renewed = rotate(dir.path()).unwrap();
        let after = certificates(dir.path()).unwrap();
        assert_eq!((&before[0], &after[1]), (&after[0], &renewed[0]));
        assert!(after[1].expires > before[1].expires);
        assert_eq!(Certificate { expires: before[1].expires, ..after[1].clone() }, before[1]);
    }
}
