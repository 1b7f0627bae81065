//! One certificate by one CertificateSigningRequest: makes it, waits for the verdict, and takes what was issued.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestSpec, CertificateSigningRequestStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};
use kube::runtime::watcher::watch_object;
use kube::{Client, ResourceExt as _};
use rcgen::{CertificateParams, KeyPair};

use super::failure::RequestError;
use crate::api::csr;
use crate::keys::{self, KeyError};

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The node's own, at the API server.
    Client,
    /// The kubelet's port's.
    Serving,
}

/// A certificate as it is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    pub kind: Kind,
    pub node_name: &'a str,
    /// Names and addresses of a serving certificate.
    pub names: &'a [String],
    pub key_pem: &'a str,
}

impl Wish<'_> {
    fn to_request(self) -> Result<CertificateSigningRequest, KeyError> {
        let (signer, usage) = match self.kind {
            Kind::Client => (csr::KUBELET_CLIENT, "client auth"),
            Kind::Serving => (csr::KUBELET_SERVING, "server auth"),
        };
        let make = |source| KeyError::Make { name: signer.to_owned(), source };
        let mut params = CertificateParams::default();
        params.distinguished_name = keys::subject(&format!("system:node:{}", self.node_name), Some("system:nodes"));
        params.subject_alt_names =
            self.names.iter().map(|name| keys::san(name)).collect::<Result<_, _>>().map_err(make)?;
        let key = KeyPair::from_pem(self.key_pem).map_err(make)?;
        let request = params.serialize_request(&key).map_err(make)?.pem().map_err(make)?;
        Ok(CertificateSigningRequest {
            metadata: ObjectMeta { generate_name: Some("csr-".to_owned()), ..ObjectMeta::default() },
            spec: CertificateSigningRequestSpec {
                request: ByteString(request.into_bytes()),
                signer_name: signer.to_owned(),
                usages: Some(vec!["digital signature".to_owned(), usage.to_owned()]),
                ..CertificateSigningRequestSpec::default()
            },
            status: None,
        })
    }
}

/// The certificate, PEM. Waits for as long as nobody decides.
pub async fn obtain(client: &Client, wish: &Wish<'_>) -> Result<String, RequestError> {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let made = api.create(&PostParams::default(), &wish.to_request()?).await?;
    let name = made.name_any();
    let mut seen = std::pin::pin!(watch_object(api, &name));
    let mut told = false;
    loop {
        let request = match seen.next().await {
            Some(Ok(Some(request))) => request,
            Some(Ok(None)) => return Err(RequestError::Vanished),
            Some(Err(error)) => return Err(RequestError::Watch(error.to_string())),
            None => return Err(RequestError::Vanished),
        };
        match verdict(request.status.as_ref())? {
            Some(pem) => return Ok(pem),
            None if !told => {
                tracing::debug!(request = name, "waiting for the certificate");
                told = true;
            }
            None => {}
        }
    }
}

/// What was issued; `None` as long as nothing was decided.
fn verdict(status: Option<&CertificateSigningRequestStatus>) -> Result<Option<String>, RequestError> {
    let Some(status) = status else { return Ok(None) };
    for condition in status.conditions.iter().flatten() {
        let message = || condition.message.clone().unwrap_or_default();
        match condition.type_.as_str() {
            "Denied" => return Err(RequestError::Denied(message())),
            "Failed" => return Err(RequestError::Failed(message())),
            _ => {}
        }
    }
    let issued = status.certificate.as_ref().filter(|certificate| !certificate.0.is_empty());
    Ok(issued.map(|certificate| String::from_utf8_lossy(&certificate.0).into_owned()))
}

/// A PEM block.
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::csr::SigningRequest;

    #[test]
    fn requests_are_what_signers_recognise() {
        let key_pem = KeyPair::generate().unwrap().serialize_pem();
        let names = ["n1".to_owned(), "10.0.0.1".to_owned()];
        let wish = |kind, names| Wish { kind, node_name: "n1", names, key_pem: &key_pem }.to_request().unwrap();
        let client = wish(Kind::Client, &[]);
        let parsed = SigningRequest::parse(&client.spec.request.0).unwrap();
        assert_eq!(csr::kubelet_client(&parsed, client.spec.usages.as_deref().unwrap()), Ok(()));
        let serving = wish(Kind::Serving, &names);
        let parsed = SigningRequest::parse(&serving.spec.request.0).unwrap();
        assert_eq!(csr::kubelet_serving(&parsed, serving.spec.usages.as_deref().unwrap()), Ok(()));
        assert_eq!((parsed.dns_names.as_slice(), parsed.addresses.len()), (["n1".to_owned()].as_slice(), 1));
    }

    #[test]
    fn verdicts() {
        let of = |status| verdict(Some(&serde_json::from_value(status).unwrap()));
        let said = |kind: &str| json!([{"type": kind, "status": "True", "message": "m"}]);
        assert!(matches!(verdict(None), Ok(None)));
        assert!(matches!(of(json!({"conditions": said("Approved")})), Ok(None)));
        assert!(matches!(of(json!({"conditions": said("Denied")})), Err(RequestError::Denied(m)) if m == "m"));
        assert!(matches!(of(json!({"conditions": said("Failed")})), Err(RequestError::Failed(_))));
        let issued = json!({"conditions": said("Approved"), "certificate": ByteString(b"x".to_vec())});
        assert_eq!(of(issued).unwrap().as_deref(), Some("x"));
    }

    #[test]
    fn pem_is_read_as_it_was_written() {
        let der: Vec<u8> = (0..200).collect();
        let text = pem("CERTIFICATE", &der);
        assert_eq!(keys::der(&text), Some(der));
        assert!(text.lines().all(|line| line.len() <= 64));
    }
}
