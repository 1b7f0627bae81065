//! Certificates and private keys: as PEM texts, as files that survive a power cut, and as TLS uses them while they are
//! replaced. Shared by the server, which has a CA, and by agents, who ask one. Never decides which there are.

mod files;
mod renewable;

use std::net::IpAddr;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use rcgen::{DistinguishedName, DnType, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

pub use files::{Files, read, write_private};
pub use renewable::Renewable;

/// What is left of a leaf's year when it is made anew: before two thirds are over.
const LEAF_LEFT: SignedDuration = SignedDuration::from_hours(365 * 24 * 2 / 5);

/// What went wrong with a certificate or its file.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot {verb} {path}: {source}")]
    File { verb: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} is not a usable certificate or key: {why}")]
    Unusable { path: PathBuf, why: String },
    #[error("cannot make the certificate {name}: {source}")]
    Make { name: String, source: rcgen::Error },
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A certificate and its private key, PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    pub cert_pem: String,
    pub key_pem: String,
}

/// When a leaf is to be made anew.
pub fn renew_at(cert: &X509Certificate<'_>) -> Timestamp {
    ends(cert).saturating_sub(LEAF_LEFT).unwrap_or(Timestamp::MIN)
}

pub fn ends(cert: &X509Certificate<'_>) -> Timestamp {
    Timestamp::from_second(cert.validity().not_after.timestamp()).unwrap_or(Timestamp::MIN)
}

impl Pair {
    /// With the CA's certificate behind its own, so that a machine that knows only the CA's hash can verify it.
    pub fn with_chain(&self, ca: &Self) -> Self {
        Self { cert_pem: format!("{}{}", self.cert_pem, ca.cert_pem), key_pem: self.key_pem.clone() }
    }

    /// When the certificate ends, and when one of its kind should be made anew.
    pub fn times(&self) -> (Timestamp, Timestamp) {
        let der = der(&self.cert_pem);
        let cert = der.as_deref().and_then(|der| X509Certificate::from_der(der).ok());
        cert.map_or((Timestamp::MIN, Timestamp::MIN), |(_, cert)| (ends(&cert), renew_at(&cert)))
    }
}

/// A subject as Kubernetes reads it: the user, and the group.
pub fn subject(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

/// An alternative name: an address where it is one.
pub fn san(name: &str) -> Result<SanType, rcgen::Error> {
    Ok(match name.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.try_into()?),
    })
}

/// Whether a certificate has these names and addresses, and no others.
pub fn names_are(cert: &X509Certificate<'_>, wanted: &[String]) -> bool {
    let Ok(extension) = cert.subject_alternative_name() else { return false };
    let mut found: Vec<String> = Vec::new();
    for name in extension.map(|e| e.value.general_names.as_slice()).unwrap_or_default() {
        match name {
            GeneralName::DNSName(name) => found.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => found.extend(address(bytes).map(|address| address.to_string())),
            _ => return false,
        }
    }
    let mut wanted = wanted.to_vec();
    found.sort();
    wanted.sort();
    found == wanted
}

/// The same, of a PEM text.
pub fn same_names(cert_pem: &str, wanted: &[String]) -> bool {
    let Some(der) = der(cert_pem) else { return false };
    X509Certificate::from_der(&der).is_ok_and(|(_, cert)| names_are(&cert, wanted))
}

pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

pub fn der(pem: &str) -> Option<Vec<u8>> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    Some(pem.contents)
}

/// What verifies certificates of a CA.
pub fn roots(ca_pem: &str) -> Result<rustls::RootCertStore, KeyError> {
    let mut roots = rustls::RootCertStore::empty();
    for cert in chain(ca_pem)? {
        roots.add(cert)?;
    }
    Ok(roots)
}

/// The certificates of a PEM text.
pub fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, KeyError> {
    let certs = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>();
    certs.map_err(|why| unusable(&why))
}

/// The private key of a PEM text.
pub fn key(pem: &str) -> Result<PrivateKeyDer<'static>, KeyError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|why| unusable(&why))
}

fn unusable(why: &rustls::pki_types::pem::Error) -> KeyError {
    KeyError::Unusable { path: PathBuf::from("PEM"), why: why.to_string() }
}
