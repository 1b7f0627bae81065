//! The kubeconfig that `orch server` writes for its administrator. Certificates are embedded, so the
//! one file can be copied to another machine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::keys::Pair;

/// A kubeconfig of one cluster, one user and one context, all called `orch`.
pub fn render(server: &str, ca_pem: &str, identity: &Pair) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "orch",
            "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(ca_pem)},
        }],
        "users": [{
            "name": "orch",
            "user": {
                "client-certificate-data": STANDARD.encode(&identity.cert_pem),
                "client-key-data": STANDARD.encode(&identity.key_pem),
            },
        }],
        "contexts": [{"name": "orch", "context": {"cluster": "orch", "user": "orch"}}],
        "current-context": "orch",
    });
    serde_yaml_ng::to_string(&config).expect("plain data is valid YAML")
}
