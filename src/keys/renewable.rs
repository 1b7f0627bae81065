//! A certificate in use that can be replaced: TLS asks for it at every handshake, so that new connections get the new
//! one and those that are open go on.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::RwLock;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use x509_parser::prelude::{FromDer, X509Certificate};

use super::{KeyError, Pair, chain, key};

/// Empty until the first one is there; handshakes that need it fail meanwhile.
#[derive(Debug, Default)]
pub struct Renewable(RwLock<Option<Arc<CertifiedKey>>>);

impl Renewable {
    pub fn new(pair: &Pair) -> Result<Arc<Self>, KeyError> {
        let new = Arc::new(Self::default());
        new.replace(pair)?;
        Ok(new)
    }

    /// From the next handshake on.
    pub fn replace(&self, pair: &Pair) -> Result<(), KeyError> {
        let certified = CertifiedKey::from_der(chain(&pair.cert_pem)?, key(&pair.key_pem)?, &default_provider())?;
        *self.0.write() = Some(Arc::new(certified));
        Ok(())
    }

    /// How long what is in use is good.
    pub fn ends(&self) -> Option<Timestamp> {
        let current = self.current()?;
        let (_, certificate) = X509Certificate::from_der(current.cert.first()?).ok()?;
        Some(super::ends(&certificate))
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().clone()
    }
}

impl ResolvesServerCert for Renewable {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}

impl ResolvesClientCert for Renewable {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current()
    }

    fn has_certs(&self) -> bool {
        self.current().is_some()
    }
}
