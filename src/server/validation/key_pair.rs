//! Whether a certificate and a private key belong together, in the words of Go's `tls.X509KeyPair`.

use rcgen::{KeyPair, PublicKeyData};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What is wrong with the pair; both are PEM.
pub fn problem(certificate: &[u8], key: &[u8]) -> Option<String> {
    let told = |why: &str| Some(format!("tls: {why}"));
    let (skipped, block) = first(certificate, |label| label == "CERTIFICATE");
    let Some(block) = block else {
        return match skipped.as_slice() {
            [] => told("failed to find any PEM data in certificate input"),
            [only] if only.ends_with("PRIVATE KEY") => told(
                "failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched",
            ),
            _ => told(&format!(
                "failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
                skipped.join(" ")
            )),
        };
    };
    let (skipped, private) = first(key, |label| label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY"));
    if private.is_none() {
        return match skipped.as_slice() {
            [] => told("failed to find any PEM data in key input"),
            [only] if only == "CERTIFICATE" => {
                told("found a certificate rather than a key in the PEM for the private key")
            }
            _ => told(&format!(
                "failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
                skipped.join(" ")
            )),
        };
    }
    let Ok((_, parsed)) = X509Certificate::from_der(&block.contents) else {
        return Some("x509: malformed certificate".to_owned());
    };
    let Some(pair) = std::str::from_utf8(key).ok().and_then(|text| KeyPair::from_pem(text).ok()) else {
        // A kind of key that this server does not know is not its owner's mistake.
        return None;
    };
    let same = pair.subject_public_key_info() == parsed.public_key().raw;
    if same { None } else { told("private key does not match public key") }
}

/// The first block that is wanted, and what lies before it.
fn first(text: &[u8], wanted: impl Fn(&str) -> bool) -> (Vec<String>, Option<Pem>) {
    let mut skipped = Vec::new();
    for block in Pem::iter_from_buffer(text).map_while(Result::ok) {
        if wanted(&block.label) {
            return (skipped, Some(block));
        }
        skipped.push(block.label);
    }
    (skipped, None)
}

#[cfg(test)]
mod tests {
    use rcgen::CertificateParams;

    use super::*;

    #[test]
    fn a_key_must_be_the_certificates() {
        let (own, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let certificate = CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&own).unwrap().pem();
        let (own, other) = (own.serialize_pem(), other.serialize_pem());
        let cases = [
            (&certificate, own.as_str(), None),
            (&certificate, &other, Some("tls: private key does not match public key")),
            (&certificate, "x", Some("tls: failed to find any PEM data in key input")),
            (
                &certificate,
                &certificate,
                Some("tls: found a certificate rather than a key in the PEM for the private key"),
            ),
            (&String::new(), &own, Some("tls: failed to find any PEM data in certificate input")),
            (
                &own,
                &own,
                Some(
                    "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched",
                ),
            ),
        ];
        for (certificate, key, wanted) in cases {
            assert_eq!(problem(certificate.as_bytes(), key.as_bytes()).as_deref(), wanted);
        }
    }
}
