//! A certificate authority and the leaves it signs. Keys are ECDSA P-256, files are PEM.
//!
//! Never decides which certificates the cluster needs: that is `pki::mod`.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::keys::{Files, KeyError, Pair, der, names_are, renew_at, san, subject};

/// How long a leaf lives.
const LEAF_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a leaf is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    Client,
    Server,
}

/// The wanted subject of a leaf.
#[derive(Clone, Debug)]
pub struct Leaf<'a> {
    pub common_name: &'a str,
    /// Kubernetes reads it as the group.
    pub organization: Option<&'a str>,
    pub usage: Usage,
    /// DNS names and IP addresses of a serving certificate.
    pub names: &'a [String],
}

/// A CA that can sign.
pub struct Authority {
    pub pair: Pair,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads `<name>.crt` and `<name>.key` in `dir`, or makes them where neither exists.
    pub fn load_or_create(dir: &Path, name: &str, common_name: &str, now: Timestamp) -> Result<Self, KeyError> {
        let files = Files::new(dir, name);
        let pair = match files.read()? {
            Some(pair) => pair,
            None => {
                let made =
                    make_ca(common_name, now).map_err(|source| KeyError::Make { name: name.to_owned(), source })?;
                files.write(&made)?;
                made
            }
        };
        let unusable = |why: rcgen::Error| KeyError::Unusable { path: files.cert.clone(), why: why.to_string() };
        let key = KeyPair::from_pem(&pair.key_pem).map_err(unusable)?;
        let issuer = Issuer::from_ca_cert_pem(&pair.cert_pem, key).map_err(unusable)?;
        Ok(Self { pair, issuer })
    }

    /// Reads the leaf `<name>` in `dir`; makes it anew where it is missing, ageing, for another subject or by another CA.
    pub fn leaf(&self, dir: &Path, name: &str, wanted: &Leaf<'_>, now: Timestamp) -> Result<Pair, KeyError> {
        let files = Files::new(dir, name);
        if let Some(pair) = files.read()?
            && self.serves(&pair, wanted, now)
        {
            return Ok(pair);
        }
        self.renew(dir, name, wanted, now)
    }

    /// Makes the leaf `<name>` in `dir` anew, whatever there is.
    pub fn renew(&self, dir: &Path, name: &str, wanted: &Leaf<'_>, now: Timestamp) -> Result<Pair, KeyError> {
        let files = Files::new(dir, name);
        let made = self.issue(wanted, now).map_err(|source| KeyError::Make { name: name.to_owned(), source })?;
        files.write(&made)?;
        Ok(made)
    }

    /// Signs a new leaf.
    pub fn issue(&self, wanted: &Leaf<'_>, now: Timestamp) -> Result<Pair, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(wanted.common_name, wanted.organization);
        params.subject_alt_names = wanted.names.iter().map(|name| san(name)).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match wanted.usage {
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, LEAF_LIFE, now);
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }

    fn serves(&self, pair: &Pair, wanted: &Leaf<'_>, now: Timestamp) -> bool {
        // A power cut may have come between the key's file and the certificate's.
        let Ok(key) = KeyPair::from_pem(&pair.key_pem) else { return false };
        let inspect = |cert: &X509Certificate<'_>, ca: &X509Certificate<'_>| {
            let ageing = renew_at(cert) <= now;
            let subject = cert.subject();
            let common: Vec<_> = subject.iter_common_name().filter_map(|a| a.as_str().ok()).collect();
            let groups: Vec<_> = subject.iter_organization().filter_map(|a| a.as_str().ok()).collect();
            !ageing
                && cert.public_key().raw == key.subject_public_key_info()
                && common == [wanted.common_name]
                && groups.as_slice() == wanted.organization.as_slice()
                && names_are(cert, wanted.names)
                && cert.verify_signature(Some(ca.public_key())).is_ok()
        };
        let (Some(cert), Some(ca)) = (der(&pair.cert_pem), der(&self.pair.cert_pem)) else { return false };
        match (X509Certificate::from_der(&cert), X509Certificate::from_der(&ca)) {
            (Ok((_, cert)), Ok((_, ca))) => inspect(&cert, &ca),
            _ => false,
        }
    }
}

fn make_ca(common_name: &str, now: Timestamp) -> Result<Pair, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(common_name, None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::KeyEncipherment];
    set_validity(&mut params, CA_LIFE, now);
    let cert = params.self_signed(&key)?;
    Ok(Pair { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
}

/// Valid from the first day of 2020, because a machine without a battery-backed clock boots in the past.
fn set_validity(params: &mut CertificateParams, life: Duration, now: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = epoch + Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0)) + life;
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn leaf<'a>(names: &'a [String]) -> Leaf<'a> {
        Leaf { common_name: "kube-apiserver", organization: Some("a"), usage: Usage::Server, names }
    }

    #[test]
    fn a_leaf_is_kept_until_its_subject_changes() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Authority::load_or_create(dir.path(), "ca", "test-ca", Timestamp::now()).unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let first = ca.leaf(dir.path(), "server", &leaf(&names), Timestamp::now()).unwrap();
        let again = ca.leaf(dir.path(), "server", &leaf(&names), Timestamp::now()).unwrap();
        assert_eq!(first.cert_pem, again.cert_pem);
        let more = [names.as_slice(), &["10.0.0.1".to_owned()]].concat();
        let other = ca.leaf(dir.path(), "server", &leaf(&more), Timestamp::now()).unwrap();
        assert_ne!(first.cert_pem, other.cert_pem);
    }

    #[test]
    fn a_leaf_of_a_lost_ca_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned()];
        let old = Authority::load_or_create(dir.path(), "ca", "test-ca", Timestamp::now()).unwrap();
        let first = old.leaf(dir.path(), "server", &leaf(&names), Timestamp::now()).unwrap();
        std::fs::remove_file(dir.path().join("ca.key")).unwrap();
        let new = Authority::load_or_create(dir.path(), "ca", "test-ca", Timestamp::now()).unwrap();
        assert_ne!(first.cert_pem, new.leaf(dir.path(), "server", &leaf(&names), Timestamp::now()).unwrap().cert_pem);
    }

    #[test]
    fn a_leaf_is_made_anew_when_it_ages_or_has_lost_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let ca = Authority::load_or_create(dir.path(), "ca", "test-ca", now).unwrap();
        let names = ["localhost".to_owned()];
        let after = |days: i64| {
            let then = now + SignedDuration::from_hours(24 * days);
            ca.leaf(dir.path(), "server", &leaf(&names), then).unwrap().cert_pem
        };
        let first = after(0);
        assert_eq!(first, after(218));
        let second = after(220);
        assert_ne!(first, second);
        let key = KeyPair::generate().unwrap().serialize_pem();
        std::fs::write(dir.path().join("server.key"), key).unwrap();
        assert_ne!(second, after(221));
    }

    #[test]
    fn a_damaged_key_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        Authority::load_or_create(dir.path(), "ca", "test-ca", Timestamp::now()).unwrap();
        std::fs::write(dir.path().join("ca.key"), "nonsense").unwrap();
        let error = Authority::load_or_create(dir.path(), "ca", "test-ca", Timestamp::now()).err().unwrap();
        assert!(error.to_string().contains("ca.crt"), "{error}");
    }
}
