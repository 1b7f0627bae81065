//! Certificate signing requests (PKCS #10), as far as signers and approvers look at them, and the rules by which
//! upstream recognises those of kubelets. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

pub const KUBE_APISERVER_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";

const NODE: &str = "system:node:";
const NODES: &str = "system:nodes";

/// What a request asks for; its own signature has been verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningRequest {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub emails: Vec<String>,
    pub uris: Vec<String>,
    /// The parts that a certificate takes over, in DER.
    pub subject: Vec<u8>,
    pub public_key: Vec<u8>,
    /// The value of the extension subjectAltName.
    pub alternative_names: Option<Vec<u8>>,
}

/// Why a text is no request.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CsrError {
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    Pem,
    #[error("x509: {0}")]
    Der(String),
    #[error("x509: the request's own signature does not verify")]
    Signature,
}

impl SigningRequest {
    /// Reads the request in a PEM text.
    pub fn parse(pem: &[u8]) -> Result<Self, CsrError> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem).map_err(|_| CsrError::Pem)?;
        if pem.label != "CERTIFICATE REQUEST" {
            return Err(CsrError::Pem);
        }
        let parsed = X509CertificationRequest::from_der(&pem.contents);
        let (rest, request) = parsed.map_err(|error| CsrError::Der(error.to_string()))?;
        if !rest.is_empty() {
            return Err(CsrError::Der("trailing data".to_owned()));
        }
        request.verify_signature().map_err(|_| CsrError::Signature)?;
        let info = &request.certification_request_info;
        let mut found = Self {
            common_name: texts(info.subject.iter_common_name()).pop().unwrap_or_default(),
            organizations: texts(info.subject.iter_organization()),
            subject: info.subject.as_raw().to_vec(),
            public_key: info.subject_pki.raw.to_vec(),
            ..Self::default()
        };
        let wanted = info.iter_attributes().filter_map(|attribute| match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(request) => Some(&request.extensions),
            _ => None,
        });
        wanted.flatten().try_for_each(|extension| found.extend(extension))?;
        Ok(found)
    }

    fn extend(&mut self, extension: &X509Extension<'_>) -> Result<(), CsrError> {
        let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else { return Ok(()) };
        self.alternative_names = Some(extension.value.to_vec());
        for name in &names.general_names {
            match name {
                GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
                GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
                GeneralName::IPAddress(bytes) => self.addresses.push(address(bytes)?),
                // Names that Kubernetes does not know would reach the certificate unseen.
                other => return Err(CsrError::Der(format!("unsupported subjectAltName {other:?}"))),
            }
        }
        Ok(())
    }
}

fn texts<'a>(values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Vec<String> {
    values.filter_map(|value| value.as_str().ok()).map(str::to_owned).collect()
}

fn address(bytes: &[u8]) -> Result<IpAddr, CsrError> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let any = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    any.map_err(|_| CsrError::Der(format!("cannot parse IP address of length {}", bytes.len())))
}

/// Whether a request is one that `kubernetes.io/kube-apiserver-client` signs, or why not.
pub fn client_usages(usages: &[String]) -> Result<(), String> {
    for usage in usages {
        if !matches!(usage.as_str(), "digital signature" | "key encipherment" | "client auth") {
            return Err(format!("invalid usage for client certificate: {usage}"));
        }
    }
    match usages.iter().any(|usage| usage == "client auth") {
        true => Ok(()),
        false => Err("missing required usage for client certificate: client auth".to_owned()),
    }
}

/// Whether a request is one that a kubelet makes for its client certificate, or why not.
pub fn kubelet_client(request: &SigningRequest, usages: &[String]) -> Result<(), String> {
    in_nodes(request)?;
    no(&request.dns_names, "DNS")?;
    no(&request.emails, "Email")?;
    no(&request.addresses, "IP")?;
    no(&request.uris, "URI")?;
    usages_are(usages, "client auth")?;
    of_node(request)
}

/// Whether a request is one that a kubelet makes for its serving certificate, or why not.
pub fn kubelet_serving(request: &SigningRequest, usages: &[String]) -> Result<(), String> {
    in_nodes(request)?;
    if request.dns_names.is_empty() && request.addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    no(&request.emails, "Email")?;
    no(&request.uris, "URI")?;
    usages_are(usages, "server auth")?;
    of_node(request)
}

fn in_nodes(request: &SigningRequest) -> Result<(), String> {
    match request.organizations.as_slice() {
        [only] if only == NODES => Ok(()),
        _ => Err("subject organization is not system:nodes".to_owned()),
    }
}

fn of_node(request: &SigningRequest) -> Result<(), String> {
    match request.common_name.starts_with(NODE) {
        true => Ok(()),
        false => Err("subject common name does not begin with system:node:".to_owned()),
    }
}

fn no<T>(names: &[T], what: &str) -> Result<(), String> {
    match names {
        [] => Ok(()),
        _ => Err(format!("{what} subjectAltNames are not allowed")),
    }
}

/// Key encipherment is for RSA keys, and may be left out.
fn usages_are(given: &[String], auth: &str) -> Result<(), String> {
    let given: BTreeSet<&str> = given.iter().map(String::as_str).collect();
    let mut wanted = BTreeSet::from([auth, "digital signature"]);
    if given == wanted {
        return Ok(());
    }
    wanted.insert("key encipherment");
    match given == wanted {
        true => Ok(()),
        false => Err(format!("usages did not match [{}]", wanted.into_iter().collect::<Vec<_>>().join(" "))),
    }
}

/// The name of the node whose kubelet a request is for.
pub fn node_name(request: &SigningRequest) -> Option<&str> {
    request.common_name.strip_prefix(NODE)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn pem(common_name: &str, organization: &str, names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    }

    fn usages(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn what_a_request_says() {
        let text = pem("system:node:a", "system:nodes", &["a.example", "10.0.0.1"]);
        let request = SigningRequest::parse(text.as_bytes()).unwrap();
        assert_eq!((request.common_name.as_str(), node_name(&request)), ("system:node:a", Some("a")));
        assert_eq!(request.organizations, ["system:nodes"]);
        assert_eq!(request.dns_names, ["a.example"]);
        assert_eq!(request.addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(SigningRequest::parse(b"nonsense"), Err(CsrError::Pem));
        let other = text.replace("CERTIFICATE REQUEST", "CERTIFICATE");
        assert_eq!(SigningRequest::parse(other.as_bytes()), Err(CsrError::Pem));
    }

    #[test]
    fn a_changed_request_is_refused() {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let text = pem("system:node:a", "system:nodes", &[]);
        let (_, parsed) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
        let mut der = parsed.contents;
        let at = der.windows(13).position(|part| part == b"system:node:a").unwrap();
        der[at + 12] = b'b';
        let label = "CERTIFICATE REQUEST";
        let forged = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
        assert_eq!(SigningRequest::parse(forged.as_bytes()), Err(CsrError::Signature));
    }

    #[test]
    fn requests_of_kubelets() {
        let node =
            |names: &[&str]| SigningRequest::parse(pem("system:node:a", "system:nodes", names).as_bytes()).unwrap();
        let client = usages(&["client auth", "digital signature", "key encipherment"]);
        let serving = usages(&["server auth", "digital signature"]);
        assert_eq!(kubelet_client(&node(&[]), &client), Ok(()));
        assert_eq!(kubelet_client(&node(&[]), &usages(&["digital signature", "client auth"])), Ok(()));
        assert_eq!(kubelet_serving(&node(&["a"]), &serving), Ok(()));
        let said = |outcome: Result<(), String>| outcome.unwrap_err();
        assert_eq!(said(kubelet_client(&node(&["a"]), &client)), "DNS subjectAltNames are not allowed");
        assert_eq!(said(kubelet_client(&node(&["10.0.0.1"]), &client)), "IP subjectAltNames are not allowed");
        assert_eq!(
            said(kubelet_client(&node(&[]), &serving)),
            "usages did not match [client auth digital signature key encipherment]"
        );
        assert_eq!(said(kubelet_serving(&node(&[]), &serving)), "DNS or IP subjectAltName is required");
        let other = SigningRequest::parse(pem("jane", "system:masters", &[]).as_bytes()).unwrap();
        assert_eq!(said(kubelet_client(&other, &client)), "subject organization is not system:nodes");
        let nobody = SigningRequest { common_name: "jane".to_owned(), ..node(&[]) };
        assert_eq!(said(kubelet_client(&nobody, &client)), "subject common name does not begin with system:node:");
    }

    #[test]
    fn usages_of_clients() {
        assert_eq!(client_usages(&usages(&["client auth"])), Ok(()));
        let said = |texts: &[&str]| client_usages(&usages(texts)).unwrap_err();
        assert_eq!(said(&["digital signature"]), "missing required usage for client certificate: client auth");
        assert_eq!(said(&["client auth", "server auth"]), "invalid usage for client certificate: server auth");
    }
}
