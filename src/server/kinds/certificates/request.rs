//! What a request for a certificate must say: a readable CSR, usages that exist, a signer by domain and path.

use k8s_openapi::api::certificates::v1::CertificateSigningRequestSpec;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use crate::api::field::{Error, Errors, Path};
use crate::server::validation::{json, signer_name};

/// `spec.expirationSeconds` at least.
const SHORTEST: i32 = 600;

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

pub fn spec(errors: &mut Errors, path: &Path, spec: &CertificateSigningRequestSpec) {
    if let Err(why) = readable(&spec.request.0) {
        errors.push(Error::invalid(&path.child("request"), json(&spec.request), why));
    }
    let (here, usages) = (path.child("usages"), spec.usages.as_deref().unwrap_or_default());
    if usages.is_empty() {
        errors.push(Error::required(&here, ""));
    }
    for (at, usage) in usages.iter().enumerate() {
        if !USAGES.contains(&usage.as_str()) {
            errors.push(Error::not_supported(&here.index(at), usage.as_str(), USAGES));
        }
        if usages[..at].contains(usage) {
            errors.push(Error::duplicate(&here.index(at), usage.as_str()));
        }
    }
    signer_name::signer(errors, &path.child("signerName"), &spec.signer_name);
    if let Some(seconds) = spec.expiration_seconds.filter(|seconds| *seconds < SHORTEST) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(Error::invalid(&path.child("expirationSeconds"), seconds, detail));
    }
}

fn readable(pem: &[u8]) -> Result<(), String> {
    let block = x509_parser::pem::parse_x509_pem(pem).ok().map(|(_, block)| block);
    let block = block.filter(|block| block.label == "CERTIFICATE REQUEST");
    let block = block.ok_or_else(|| "PEM block type must be CERTIFICATE REQUEST".to_owned())?;
    match X509CertificationRequest::from_der(&block.contents) {
        Ok(([], request)) => signed(&request),
        Ok(_) => Err("asn1: syntax error: trailing data".to_owned()),
        Err(error) => Err(format!("asn1: structure error: {error}")),
    }
}

/// Whether the request is signed with the key that it is for. Kinds and sizes of keys that cannot be checked here pass.
fn signed(request: &X509CertificationRequest) -> Result<(), String> {
    const SHORTEST_RSA_BITS: usize = 2048;
    let key = request.certification_request_info.subject_pki.parsed();
    let problem = match key {
        Ok(PublicKey::RSA(key)) if key.key_size() >= SHORTEST_RSA_BITS => "crypto/rsa: verification error",
        Ok(PublicKey::EC(_)) => "x509: ECDSA verification failure",
        Ok(PublicKey::Unknown(_)) => "x509: Ed25519 verification failure",
        _ => return Ok(()),
    };
    match request.verify_signature() {
        Err(X509Error::SignatureVerificationError) => Err(problem.to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::validation::lines;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use k8s_openapi::ByteString;

    #[test]
    fn requests_are_checked() {
        let key = rcgen::KeyPair::generate().unwrap();
        let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let sound = CertificateSigningRequestSpec {
            request: ByteString(request.into_bytes()),
            signer_name: "kubernetes.io/kubelet-serving".to_owned(),
            usages: Some(vec!["server auth".to_owned()]),
            ..Default::default()
        };
        let problems = |change: &dyn Fn(&mut CertificateSigningRequestSpec)| {
            let (mut errors, mut changed) = (Errors::new(), sound.clone());
            change(&mut changed);
            spec(&mut errors, &Path::new("spec"), &changed);
            lines(&errors)
        };
        assert_eq!(problems(&|_| {}), Vec::<String>::new());
        let unreadable = problems(&|spec| spec.request = ByteString(b"abc".to_vec()));
        assert_eq!(unreadable, ["spec.request: Invalid value: \"YWJj\": PEM block type must be CERTIFICATE REQUEST"]);
        let mut forged = rcgen::CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        *forged.last_mut().unwrap() ^= 1;
        let (label, forged) = ("CERTIFICATE REQUEST-----", STANDARD.encode(forged));
        let forged = format!("-----BEGIN {label}\n{forged}\n-----END {label}\n");
        let unsigned = problems(&|spec| spec.request = ByteString(forged.clone().into_bytes()));
        assert!(unsigned.len() == 1 && unsigned[0].ends_with(": x509: ECDSA verification failure"), "{unsigned:?}");
        let usages = problems(&|spec| spec.usages = Some(vec!["any".to_owned(), "any".to_owned()]));
        assert_eq!(usages, ["spec.usages[1]: Duplicate value: \"any\""]);
        let unknown = problems(&|spec| spec.usages = Some(vec!["magic".to_owned()]));
        assert!(unknown[0].starts_with("spec.usages[0]: Unsupported value: \"magic\": supported values: \"any\", "));
        let signers = [
            ("a", "\"a\": must be a fully qualified domain and path of the form 'example.com/signer-name'"),
            ("a/b", "\"a\": should be a domain with at least two segments separated by dots"),
        ];
        for (signer, expected) in signers {
            let found = problems(&|spec| spec.signer_name = signer.to_owned());
            assert_eq!(found, [format!("spec.signerName: Invalid value: {expected}")]);
        }
    }
}
