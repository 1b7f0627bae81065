//! Signs what a certificate signing request asks for: its subject, key and names as they are, for a time and for
//! usages that the signer decides. Whether it may be signed is for the controllers to say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use x509_parser::prelude::{FromDer, X509Certificate};
use yasna::models::{GeneralizedTime, ObjectIdentifier, UTCTime};
use yasna::{DERWriter, DERWriterSeq, Tag};

use crate::api::csr::SigningRequest;
use crate::keys::Pair;
use crate::server::controllers::CertificateSigner;

/// The longest life that is granted, and that of a request that names none.
const LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Clocks differ; a certificate is valid a little before it was made.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// A life shorter than this is not shortened by the backdating.
const SHORT: SignedDuration = SignedDuration::from_hours(8);

const ECDSA_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const AUTHORITY_KEY_ID: &[u64] = &[2, 5, 29, 35];
const ALTERNATIVE_NAMES: &[u64] = &[2, 5, 29, 17];
const SERVER_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("the CA's certificate or key cannot be used: {0}")]
    Authority(String),
    #[error("the CA's certificate expires before a certificate could be of use")]
    Expired,
    #[error("invalid key usage: {0}")]
    Usage(String),
    #[error("the kernel gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// The cluster's CA, for requests. Its key is ECDSA P-256.
pub struct RequestSigner {
    ca_der: Vec<u8>,
    key: KeyPair,
}

impl RequestSigner {
    pub fn new(ca: &Pair) -> Result<Self, SignError> {
        let unusable = |why: &dyn std::fmt::Display| SignError::Authority(why.to_string());
        let key = KeyPair::from_pem(&ca.key_pem).map_err(|error| unusable(&error))?;
        if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(unusable(&"the key is not ECDSA P-256"));
        }
        let (_, pem) = x509_parser::pem::parse_x509_pem(ca.cert_pem.as_bytes()).map_err(|error| unusable(&error))?;
        Ok(Self { ca_der: pem.contents, key })
    }

    /// A certificate, PEM. `seconds` is the life that was asked for.
    pub fn sign(
        &self,
        request: &SigningRequest,
        usages: &[String],
        seconds: Option<i32>,
        now: Timestamp,
    ) -> Result<String, SignError> {
        let unusable = |why: &dyn std::fmt::Display| SignError::Authority(why.to_string());
        let (_, ca) = X509Certificate::from_der(&self.ca_der).map_err(|error| unusable(&error))?;
        let validity = validity(seconds, now, ca.validity().not_after.timestamp()).ok_or(SignError::Expired)?;
        let usages = Usages::of(usages)?;
        let mut serial = [0u8; 16];
        getrandom::fill(&mut serial)?;
        // Positive, and never zero.
        serial[0] = serial[0] & 0x7f | 0x40;
        let body = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
                writer.next().write_bigint_bytes(&serial, true);
                algorithm(writer.next());
                writer.next().write_der(ca.subject().as_raw());
                writer.next().write_sequence(|writer| {
                    time(writer.next(), validity.0);
                    time(writer.next(), validity.1);
                });
                writer.next().write_der(&request.subject);
                writer.next().write_der(&request.public_key);
                writer.next().write_tagged(Tag::context(3), |writer| {
                    writer.write_sequence(|writer| self.extensions(writer, request, &usages));
                });
            });
        });
        let signature = self.key.sign(&body).map_err(|error| unusable(&error))?;
        let der = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&body);
                algorithm(writer.next());
                writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
            });
        });
        Ok(pem(&der))
    }

    fn extensions(&self, writer: &mut DERWriterSeq<'_>, request: &SigningRequest, usages: &Usages) {
        if let Some(bits) = usages.key {
            // Bits count from the left; those that are not used are not written.
            let unused = bits.trailing_zeros() as usize;
            extension(writer.next(), KEY_USAGE, true, |writer| writer.write_bitvec_bytes(&[bits], 8 - unused));
        }
        if !usages.extended.is_empty() {
            extension(writer.next(), EXTENDED_KEY_USAGE, false, |writer| {
                writer.write_sequence(|writer| usages.extended.iter().for_each(|usage| oid(writer.next(), usage)));
            });
        }
        extension(writer.next(), BASIC_CONSTRAINTS, true, |writer| writer.write_sequence(|_| {}));
        extension(writer.next(), AUTHORITY_KEY_ID, false, |writer| {
            let id = self.key_id();
            writer.write_sequence(|writer| {
                writer.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(&id));
            });
        });
        if let Some(names) = &request.alternative_names {
            extension(writer.next(), ALTERNATIVE_NAMES, false, |writer| writer.write_der(names));
        }
    }

    /// The CA's own subjectKeyIdentifier, by which a chain is found.
    fn key_id(&self) -> Vec<u8> {
        use sha2::Digest as _;
        let own = X509Certificate::from_der(&self.ca_der).ok().and_then(|(_, ca)| {
            ca.iter_extensions().find_map(|extension| match extension.parsed_extension() {
                x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            })
        });
        own.unwrap_or_else(|| sha2::Sha256::digest(self.key.der_bytes())[..20].to_vec())
    }
}

impl CertificateSigner for RequestSigner {
    fn sign(
        &self,
        request: &SigningRequest,
        usages: &[String],
        seconds: Option<i32>,
        now: Timestamp,
    ) -> Result<String, String> {
        RequestSigner::sign(self, request, usages, seconds, now).map_err(|error| error.to_string())
    }
}

/// From when and until when, seconds since the epoch; never beyond the CA's own end.
fn validity(seconds: Option<i32>, now: Timestamp, ca_end: i64) -> Option<(i64, i64)> {
    let asked = seconds.map(|seconds| SignedDuration::from_secs(seconds.into()));
    let life = asked.map_or(LIFE, |asked| asked.min(LIFE));
    let shortened = if life < SHORT { life } else { life - BACKDATE };
    let from = now.as_second() - BACKDATE.as_secs();
    let until = (now.as_second() + shortened.as_secs()).min(ca_end);
    (now.as_second() < until).then_some((from, until))
}

/// Usages as a certificate says them.
struct Usages {
    /// keyUsage, the first bit highest.
    key: Option<u8>,
    extended: Vec<&'static [u64]>,
}

impl Usages {
    fn of(usages: &[String]) -> Result<Self, SignError> {
        let mut found = Self { key: None, extended: Vec::new() };
        for usage in usages {
            match usage.as_str() {
                "digital signature" | "signing" => *found.key.get_or_insert(0) |= 0b1000_0000,
                "key encipherment" => *found.key.get_or_insert(0) |= 0b0010_0000,
                "server auth" => found.extended.push(SERVER_AUTH),
                "client auth" => found.extended.push(CLIENT_AUTH),
                other => return Err(SignError::Usage(other.to_owned())),
            }
        }
        Ok(found)
    }
}

fn oid(writer: DERWriter<'_>, parts: &[u64]) {
    writer.write_oid(&ObjectIdentifier::from_slice(parts));
}

fn algorithm(writer: DERWriter<'_>) {
    writer.write_sequence(|writer| oid(writer.next(), ECDSA_SHA256));
}

fn extension(writer: DERWriter<'_>, id: &[u64], critical: bool, value: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|writer| {
        oid(writer.next(), id);
        if critical {
            writer.next().write_bool(true);
        }
        writer.next().write_bytes(&yasna::construct_der(value));
    });
}

/// A point in time as RFC 5280 wants it: with two digits of the year until 2049.
fn time(writer: DERWriter<'_>, seconds: i64) {
    let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let text = at.strftime("%Y%m%d%H%M%SZ").to_string();
    match text.as_str() < "2050" {
        true => {
            if let Some(time) = UTCTime::parse(&text.as_bytes()[2..]) {
                writer.write_utctime(&time);
            }
        }
        false => {
            if let Some(time) = GeneralizedTime::parse(text.as_bytes()) {
                writer.write_generalized_time(&time);
            }
        }
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType};

    use super::*;
    use crate::server::pki::authority::Authority;

    fn request() -> SigningRequest {
        let mut params = CertificateParams::new(["a.example".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, "system:node:a");
        let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        SigningRequest::parse(pem.as_bytes()).unwrap()
    }

    #[test]
    fn a_certificate_says_what_was_asked_and_verifies() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Authority::load_or_create(dir.path(), "ca", "test-ca", Timestamp::now()).unwrap();
        let signer = RequestSigner::new(&ca.pair).unwrap();
        let usages = ["digital signature", "key encipherment", "server auth"].map(str::to_owned);
        let now = Timestamp::now();
        let text = signer.sign(&request(), &usages, Some(86_400), now).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
        let (rest, cert) = X509Certificate::from_der(&pem.contents).unwrap();
        assert!(rest.is_empty() && !cert.tbs_certificate.is_ca());
        let (_, ca_pem) = x509_parser::pem::parse_x509_pem(ca.pair.cert_pem.as_bytes()).unwrap();
        let (_, ca_cert) = X509Certificate::from_der(&ca_pem.contents).unwrap();
        cert.verify_signature(Some(ca_cert.public_key())).unwrap();
        assert_eq!(cert.issuer().as_raw(), ca_cert.subject().as_raw());
        assert_eq!(cert.subject().to_string(), "O=system:nodes, CN=system:node:a");
        assert_eq!(cert.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 2);
        let usage = cert.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
        let extended = cert.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && !extended.client_auth);
        assert_eq!(cert.validity().not_after.timestamp(), now.as_second() + 86_400 - 300);
        assert!(matches!(signer.sign(&request(), &["cert sign".to_owned()], None, now), Err(SignError::Usage(_))));
    }

    #[test]
    fn lives_are_bounded() {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let of = |seconds, ca_left: i64| {
            let found = validity(seconds, now, now.as_second() + ca_left);
            found.map(|(from, until)| (from - now.as_second(), until - now.as_second()))
        };
        let year = 365 * 86_400;
        assert_eq!(of(None, 10 * year), Some((-300, year - 300)));
        assert_eq!(of(Some(i32::MAX), 10 * year), Some((-300, year - 300)));
        assert_eq!(of(Some(600), 10 * year), Some((-300, 600)), "a short one is not shortened");
        assert_eq!(of(None, 3600), Some((-300, 3600)), "the CA's own end");
        assert_eq!(of(None, -1), None);
    }
}
