//! ServiceAccount tokens: JSON Web Tokens signed with the cluster's key, ES256.
//!
//! Claims are upstream's (`kubernetes.io` private claims, KEP-1205). Whether the objects a token is
//! bound to still exist is for the authenticator to ask; here is only cryptography and time.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// An object a token lives and dies with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub name: String,
    pub uid: String,
}

/// Upstream's private claim `kubernetes.io`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kubernetes {
    pub namespace: String,
    pub serviceaccount: Bound,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Bound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Bound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Bound>,
    /// When the kubelet should fetch a new one, seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// The claims of a token; times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    pub iss: String,
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Kubernetes,
    pub nbf: i64,
    pub sub: String,
}

/// Why a token is not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TokenError(#[from] jsonwebtoken::errors::Error);

/// Signs and verifies.
pub struct Issuer {
    signing: EncodingKey,
    verifying: DecodingKey,
    /// The `iss` claim, and the default audience.
    pub issuer: String,
    key_id: String,
}

impl Issuer {
    /// `key_pem` is a P-256 key in PKCS#8.
    pub fn new(key_pem: &str, issuer: &str) -> Result<Self, super::PkiError> {
        let unusable = |why: String| super::PkiError::Unusable { path: "service-account.key".into(), why };
        let pair = rcgen::KeyPair::from_pem(key_pem).map_err(|error| unusable(error.to_string()))?;
        let public = pair.public_key_pem();
        let signing = EncodingKey::from_ec_pem(key_pem.as_bytes()).map_err(|error| unusable(error.to_string()))?;
        let verifying = DecodingKey::from_ec_pem(public.as_bytes()).map_err(|error| unusable(error.to_string()))?;
        Ok(Self { signing, verifying, issuer: issuer.to_owned(), key_id: key_id(&public) })
    }

    /// A token for `kubernetes`, valid from now for `seconds`.
    pub fn issue(
        &self,
        kubernetes: Kubernetes,
        audiences: Vec<String>,
        seconds: i64,
        now: jiff::Timestamp,
    ) -> Result<String, TokenError> {
        let now = now.as_second();
        let sub = format!("system:serviceaccount:{}:{}", kubernetes.namespace, kubernetes.serviceaccount.name);
        let claims = Claims {
            aud: if audiences.is_empty() { vec![self.issuer.clone()] } else { audiences },
            exp: now + seconds,
            iat: now,
            iss: self.issuer.clone(),
            jti: random_id(),
            kubernetes,
            nbf: now,
            sub,
        };
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.clone());
        Ok(jsonwebtoken::encode(&header, &claims, &self.signing)?)
    }

    /// The claims of a token that this key signed, that is in force, and that is for one of `audiences`.
    pub fn verify(&self, token: &str, audiences: &[String]) -> Result<Claims, TokenError> {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_audience(audiences);
        rules.set_issuer(&[&self.issuer]);
        rules.validate_nbf = true;
        rules.leeway = 10;
        Ok(jsonwebtoken::decode::<Claims>(token, &self.verifying, &rules)?.claims)
    }
}

/// A key's name: the hash of its public half, as upstream derives it.
fn key_id(public_pem: &str) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    let der = x509_parser::pem::parse_x509_pem(public_pem.as_bytes()).map(|(_, pem)| pem.contents);
    let hash = sha2::Sha256::digest(der.unwrap_or_default());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash)
}

fn random_id() -> String {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> Issuer {
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        Issuer::new(&pem, "https://kubernetes.default.svc.cluster.local").unwrap()
    }

    fn subject() -> Kubernetes {
        let serviceaccount = Bound { name: "default".to_owned(), uid: "u".to_owned() };
        Kubernetes { namespace: "ns".to_owned(), serviceaccount, pod: None, secret: None, node: None, warnafter: None }
    }

    #[test]
    fn what_is_issued_verifies_and_nothing_else() {
        let (ours, other) = (issuer(), issuer());
        let now = jiff::Timestamp::now();
        let audiences = [ours.issuer.clone()];
        let token = ours.issue(subject(), vec![], 3600, now).unwrap();
        let claims = ours.verify(&token, &audiences).unwrap();
        assert_eq!(claims.sub, "system:serviceaccount:ns:default");
        assert!(other.verify(&token, &audiences).is_err(), "a foreign key");
        assert!(ours.verify(&token, &["elsewhere".to_owned()]).is_err(), "a foreign audience");
        assert!(ours.verify(&token[..token.len() - 4], &audiences).is_err(), "a cut signature");
        let late = ours.issue(subject(), vec![], -60, now).unwrap();
        assert!(ours.verify(&late, &audiences).is_err(), "an expired token");
    }
}
