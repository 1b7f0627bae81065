//! How long the node's certificates are still good, and how often they could not be renewed, under upstream's names.
//! Looked up when somebody asks.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::keys::Renewable;

/// What is watched over of them; a node beside its server has none of its own for asking it.
#[derive(Clone, Default)]
pub struct Certificates {
    pub client: Option<Arc<Renewable>>,
    pub serving: Option<Arc<Renewable>>,
    /// Of each, in that order.
    pub failures: Arc<[AtomicU64; 2]>,
}

impl Certificates {
    pub fn render(&self, now: Timestamp) -> String {
        let mut out = String::new();
        let mut one = |name: &str, kind: &str, help: &str, value: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        let left = |certificate: &Option<Arc<Renewable>>| match certificate.as_ref().and_then(|one| one.ends()) {
            Some(ends) => ends.duration_since(now).as_secs().to_string(),
            None => "+Inf".to_owned(),
        };
        let failed = |at: usize| self.failures[at].load(Ordering::Relaxed).to_string();
        let help = "Seconds until the kubelet's client certificate expires, negative after that; +Inf without one.";
        one("kubelet_certificate_manager_client_ttl_seconds", "gauge", help, &left(&self.client));
        let help = "Seconds until the kubelet's serving certificate expires, negative after that; +Inf without one.";
        one("kubelet_certificate_manager_server_ttl_seconds", "gauge", help, &left(&self.serving));
        let help = "Counter of certificate renewal errors.";
        one("kubelet_certificate_manager_client_expiration_renew_errors", "counter", help, &failed(0));
        one("kubelet_server_expiration_renew_errors", "counter", help, &failed(1));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Pair;

    #[test]
    fn what_is_left_of_a_certificate_is_told() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut wanted = rcgen::CertificateParams::new(vec!["n".to_owned()]).unwrap();
        wanted.not_after = rcgen::date_time_ymd(2040, 1, 2);
        let certificate = wanted.self_signed(&key).unwrap();
        let pair = Pair { cert_pem: certificate.pem(), key_pem: key.serialize_pem() };
        let certificates = Certificates { serving: Renewable::new(&pair).ok(), ..Certificates::default() };
        certificates.failures[1].fetch_add(2, Ordering::Relaxed);
        let told = certificates.render("2040-01-01T00:00:00Z".parse().unwrap());
        for line in [
            "kubelet_certificate_manager_client_ttl_seconds +Inf",
            "kubelet_certificate_manager_server_ttl_seconds 86400",
            "kubelet_certificate_manager_client_expiration_renew_errors 0",
            "# TYPE kubelet_server_expiration_renew_errors counter",
            "kubelet_server_expiration_renew_errors 2",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\n{told}");
        }
    }
}
