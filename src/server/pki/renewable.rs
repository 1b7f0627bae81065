//! A certificate in use that can be replaced: TLS asks for it at every handshake, so that new connections get the new
//! one and those that are open go on.

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Pair, PkiError, chain, key};

#[derive(Debug)]
pub struct Renewable(RwLock<Arc<CertifiedKey>>);

impl Renewable {
    pub fn new(pair: &Pair) -> Result<Arc<Self>, PkiError> {
        Ok(Arc::new(Self(RwLock::new(certified(pair)?))))
    }

    /// From the next handshake on.
    pub fn replace(&self, pair: &Pair) -> Result<(), PkiError> {
        *self.0.write() = certified(pair)?;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.0.read().clone()
    }
}

fn certified(pair: &Pair) -> Result<Arc<CertifiedKey>, PkiError> {
    Ok(Arc::new(CertifiedKey::from_der(chain(&pair.cert_pem)?, key(&pair.key_pem)?, &default_provider())?))
}

impl ResolvesServerCert for Renewable {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Renewable {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
