//! What says whose a node's name is: a ConfigMap named after the node, beside the nodes' Leases, with the fingerprint of the
//! key that the name belongs to.

use sha2::{Digest as _, Sha256};

use super::hex::hex;

pub const NAMESPACE: &str = "kube-node-lease";
/// Where the ConfigMap has the fingerprint.
pub const FIELD: &str = "public-key-sha256";

/// Of a public key (SubjectPublicKeyInfo in DER).
pub fn fingerprint(public_key: &[u8]) -> String {
    hex(&Sha256::digest(public_key))
}
