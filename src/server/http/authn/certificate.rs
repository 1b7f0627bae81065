//! The user that a client certificate names. TLS has verified the chain; who it is and whether it is still in
//! force is asked here, because a connection may outlive its certificate.

use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};
use x509_parser::der_parser::asn1_rs::oid;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::User;
use crate::api::claim::fingerprint;
use crate::api::hex::hex;

/// What is asked of a verified client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSubject {
    /// CN is the name, each O a group, and the attribute 1.3.6.1.4.1.57683.2 the UID.
    pub user: User,
    /// Seconds since the epoch.
    pub not_after: i64,
    /// Of the public key, as nodes claim their names by it.
    pub key_fingerprint: String,
}

/// A client certificate of the cluster's CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    Subject(CertificateSubject),
    /// It names nobody that could be a user, and why.
    Unusable(String),
}

impl Certificate {
    /// Reads a certificate in DER. `None` where it has no common name: it is no credential then.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let subject = parsed.subject();
        let common_name = subject.iter_common_name().last()?.as_str().ok().filter(|name| !name.is_empty())?;
        let groups: Vec<&str> = subject.iter_organization().filter_map(|group| group.as_str().ok()).collect();
        let mut user = User::new(common_name, &groups);
        user.extra.insert(User::CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={}", hex(&Sha256::digest(der)))]);
        let uid = oid!(1.3.6.1.4.1.57683.2);
        let uids: Vec<_> = subject.iter_by_oid(&uid).map(|value| value.as_str().unwrap_or_default()).collect();
        match uids[..] {
            [] => {}
            [""] => return Some(Self::Unusable("UID cannot be an empty string".to_owned())),
            [uid] => uid.clone_into(&mut user.uid),
            _ => {
                let text = format!("expected 1 UID, but found multiple: [{}]", uids.join(" "));
                return Some(Self::Unusable(text));
            }
        }
        let not_after = parsed.validity().not_after.timestamp();
        let key_fingerprint = fingerprint(parsed.public_key().raw);
        Some(Self::Subject(CertificateSubject { user, not_after, key_fingerprint }))
    }

    /// How long it is still good, where it is one at all.
    pub(in crate::server::http) fn time_left(&self) -> Option<SignedDuration> {
        let Self::Subject(subject) = self else { return None };
        Some(SignedDuration::from_secs(subject.not_after - jiff::Timestamp::now().as_second()))
    }

    /// The user, or why there is none at `now`.
    pub(super) fn user(&self, now: jiff::Timestamp) -> Result<User, String> {
        match self {
            Self::Subject(subject) if now.as_second() <= subject.not_after => Ok(subject.user.clone()),
            Self::Subject(_) => Err("x509: certificate has expired or is not yet valid".to_owned()),
            Self::Unusable(why) => Err(why.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn parse(attributes: &[(DnType, &str)]) -> Option<Certificate> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), *value);
        }
        Certificate::parse(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    #[test]
    fn names_groups_and_uids() {
        let uid = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]);
        let some = |kind: DnType, value| [(DnType::CommonName, "jane"), (kind, value)];
        let Some(Certificate::Subject(found)) = parse(&some(DnType::OrganizationName, "dev")) else { panic!() };
        assert_eq!((found.user.name.as_str(), found.user.uid.as_str()), ("jane", ""));
        assert_eq!(found.user.groups, ["dev", "system:authenticated"]);
        let id = &found.user.extra[User::CREDENTIAL_ID][0];
        assert!(id.starts_with("X509SHA256=") && id.len() == 75, "{id}");
        let Some(Certificate::Subject(found)) = parse(&some(uid.clone(), "u-1")) else { panic!() };
        assert_eq!(found.user.uid, "u-1");
        assert!(matches!(parse(&some(uid, "")), Some(Certificate::Unusable(_))));
        assert_eq!(parse(&[(DnType::OrganizationName, "dev")]), None);
        let later = jiff::Timestamp::from_second(found.not_after + 1).unwrap();
        let certificate = Certificate::Subject(found);
        assert!(certificate.user(later).is_err() && certificate.user(jiff::Timestamp::now()).is_ok());
    }
}
