//! Trust by a hash: a server is believed when it shows a certificate authority whose SHA-256 is known, and a certificate
//! of that authority for its own name. Nothing is said to it before that.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};

use crate::api::hex::hex;

/// A server whose authority is another one.
#[derive(Debug, thiserror::Error)]
#[error("the server's certificate authority is not the token's: it shows {shown:?}, and the token names {wanted}")]
pub struct ForeignAuthority {
    pub shown: Vec<String>,
    pub wanted: String,
}

/// Remembers the authority once it has been seen.
#[derive(Debug)]
pub struct PinnedAuthority {
    sha256: String,
    provider: Arc<CryptoProvider>,
    found: Mutex<Option<CertificateDer<'static>>>,
}

impl PinnedAuthority {
    /// `sha256` of the certificate in DER, lower-case hexadecimal.
    pub fn new(sha256: &str) -> Arc<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Arc::new(Self { sha256: sha256.to_owned(), provider, found: Mutex::default() })
    }

    /// The authority's certificate, after a handshake.
    pub fn found(&self) -> Option<CertificateDer<'static>> {
        self.found.lock().clone()
    }

    /// TLS that trusts only it, and shows nothing of its own.
    pub fn client_tls(self: &Arc<Self>) -> rustls::ClientConfig {
        rustls::ClientConfig::builder().dangerous().with_custom_certificate_verifier(self.clone()).with_no_client_auth()
    }
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let hash = |certificate: &CertificateDer<'_>| hex(&Sha256::digest(certificate));
        let Some(authority) = intermediates.iter().find(|one| hash(one) == self.sha256) else {
            let shown = intermediates.iter().map(hash).collect();
            let foreign = ForeignAuthority { shown, wanted: self.sha256.clone() };
            return Err(CertificateError::Other(OtherError(Arc::new(foreign))).into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), self.provider.clone()).build();
        let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
        let verified = verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)?;
        *self.found.lock() = Some(authority.clone().into_owned());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
