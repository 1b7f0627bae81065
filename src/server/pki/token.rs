//! ServiceAccount tokens: JSON Web Tokens signed with the cluster's key, ES256.
//!
//! Claims are upstream's (`kubernetes.io` private claims, KEP-1205), and those of tokens kept in Secrets. Whether the
//! objects a token is bound to still exist is for the authenticator to ask; here is only cryptography and time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An object a token lives and dies with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
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
    /// When the client should have fetched a new one, seconds since the epoch; the token itself lasts longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// A new token, and the id by which logs know it.
pub struct Issued {
    pub token: String,
    pub id: String,
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

/// What two clocks may differ by.
pub const LEEWAY: i64 = 60;

impl Claims {
    /// Whether the token is in force at `now`.
    pub fn check(&self, now: jiff::Timestamp) -> Result<(), TokenError> {
        let now = now.as_second();
        if now - LEEWAY > self.exp {
            return Err(TokenError::Expired);
        }
        if now + LEEWAY < self.nbf.max(self.iat) {
            return Err(TokenError::Early);
        }
        Ok(())
    }
}

/// The `iss` of tokens that are kept in Secrets.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// The claims of a token that is kept in a Secret: it has no audience and never expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyClaims {
    pub iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub uid: String,
    pub sub: String,
}

/// The claims of a token that this cluster signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signed {
    Bound(Box<Claims>),
    Legacy(Box<LegacyClaims>),
}

/// Why a token is not accepted, in upstream's words.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("go-jose/go-jose: error in cryptographic primitive")]
    Signature,
    #[error("service account token has expired")]
    Expired,
    #[error("service account token is not valid yet")]
    Early,
    #[error("{0}")]
    Encode(#[from] jsonwebtoken::errors::Error),
}

/// Signs and verifies.
pub struct Issuer {
    signing: EncodingKey,
    verifying: DecodingKey,
    /// The `iss` claim, and the default audience.
    pub issuer: String,
    key_id: String,
    /// The public key as an uncompressed point.
    point: Vec<u8>,
}

impl Issuer {
    /// `key_pem` is a P-256 key in PKCS#8.
    pub fn new(key_pem: &str, issuer: &str) -> Result<Self, crate::keys::KeyError> {
        let unusable = |why: String| crate::keys::KeyError::Unusable { path: "service-account.key".into(), why };
        let pair = rcgen::KeyPair::from_pem(key_pem).map_err(|error| unusable(error.to_string()))?;
        let public = pair.public_key_pem();
        let signing = EncodingKey::from_ec_pem(key_pem.as_bytes()).map_err(|error| unusable(error.to_string()))?;
        let verifying = DecodingKey::from_ec_pem(public.as_bytes()).map_err(|error| unusable(error.to_string()))?;
        let point = pair.public_key_raw().to_vec();
        if point.len() != 65 {
            return Err(unusable("it is not on the curve P-256".to_owned()));
        }
        Ok(Self { signing, verifying, issuer: issuer.to_owned(), key_id: key_id(&public), point })
    }

    /// A token for `kubernetes`, valid from now for `seconds`.
    pub fn issue(
        &self,
        kubernetes: Kubernetes,
        audiences: Vec<String>,
        seconds: i64,
        now: jiff::Timestamp,
    ) -> Result<Issued, TokenError> {
        let now = now.as_second();
        let id = crate::server::pipeline::random::uid();
        let token = self.sign(&Claims {
            aud: if audiences.is_empty() { vec![self.issuer.clone()] } else { audiences },
            exp: now.saturating_add(seconds),
            iat: now,
            iss: self.issuer.clone(),
            jti: id.clone(),
            sub: subject(&kubernetes.namespace, &kubernetes.serviceaccount.name),
            kubernetes,
            nbf: now,
        })?;
        Ok(Issued { token, id })
    }

    /// The token that a Secret of type `kubernetes.io/service-account-token` holds.
    pub fn issue_legacy(&self, namespace: &str, account: &Bound, secret: &str) -> Result<String, TokenError> {
        self.sign(&LegacyClaims {
            iss: LEGACY_ISSUER.to_owned(),
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            account: account.name.clone(),
            uid: account.uid.clone(),
            sub: subject(namespace, &account.name),
        })
    }

    fn sign(&self, claims: &impl Serialize) -> Result<String, TokenError> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = None;
        header.kid = Some(self.key_id.clone());
        Ok(jsonwebtoken::encode(&header, claims, &self.signing)?)
    }

    /// The claims of a token that this key signed; whether they hold now is not asked. `None`: a token of another
    /// issuer, or none at all.
    pub fn verify(&self, token: &str) -> Option<Result<Signed, TokenError>> {
        #[derive(Deserialize)]
        struct Unverified {
            iss: String,
        }
        let mut parts = token.split('.');
        let payload = parts.nth(1).filter(|_| parts.next().is_some() && parts.next().is_none())?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let Unverified { iss } = serde_json::from_slice(&payload).ok()?;
        if iss == self.issuer {
            Some(self.claims(token).map(|claims| Signed::Bound(Box::new(claims))))
        } else if iss == LEGACY_ISSUER {
            Some(self.claims(token).map(|claims| Signed::Legacy(Box::new(claims))))
        } else {
            None
        }
    }

    fn claims<C: DeserializeOwned + Clone>(&self, token: &str) -> Result<C, TokenError> {
        let mut rules = Validation::new(Algorithm::ES256);
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        rules.validate_aud = false;
        let decoded = jsonwebtoken::decode::<C>(token, &self.verifying, &rules);
        Ok(decoded.map_err(|_| TokenError::Signature)?.claims)
    }

    /// The OpenID provider's configuration; `keys` is the URL of [`Self::keys`].
    pub fn configuration(&self, keys: &str) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": keys,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// The public keys, as a JSON Web Key Set.
    pub fn keys(&self) -> Value {
        let (x, y) = self.point[1..].split_at(32);
        json!({"keys": [{
            "use": "sig",
            "kty": "EC",
            "kid": self.key_id,
            "crv": "P-256",
            "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }
}

fn subject(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}

/// A key's name: the hash of its public half, as upstream derives it.
fn key_id(public_pem: &str) -> String {
    use sha2::Digest as _;
    let der = x509_parser::pem::parse_x509_pem(public_pem.as_bytes()).map(|(_, pem)| pem.contents);
    let hash = sha2::Sha256::digest(der.unwrap_or_default());
    URL_SAFE_NO_PAD.encode(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> Issuer {
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        Issuer::new(&pem, "https://kubernetes.default.svc.cluster.local").unwrap()
    }

    fn account() -> Bound {
        Bound { name: "default".to_owned(), uid: "u".to_owned() }
    }

    fn subject() -> Kubernetes {
        let serviceaccount = account();
        Kubernetes { namespace: "ns".to_owned(), serviceaccount, pod: None, secret: None, node: None, warnafter: None }
    }

    #[test]
    fn what_is_issued_verifies_and_nothing_else() {
        let (ours, other) = (issuer(), issuer());
        let token = ours.issue(subject(), vec![], 3600, jiff::Timestamp::now()).unwrap().token;
        let Some(Ok(Signed::Bound(claims))) = ours.verify(&token) else { panic!("{token}") };
        assert_eq!(claims.sub, "system:serviceaccount:ns:default");
        assert_eq!(claims.aud, std::slice::from_ref(&ours.issuer));
        assert!(matches!(other.verify(&token), Some(Err(TokenError::Signature))), "a foreign key");
        assert!(matches!(ours.verify(&token[..token.len() - 4]), Some(Err(_))), "a cut signature");
        let parts: Vec<_> = token.split('.').collect();
        let forged = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&Claims { sub: "x".into(), ..*claims }).unwrap());
        assert!(matches!(ours.verify(&format!("{}.{forged}.{}", parts[0], parts[2])), Some(Err(_))));
        let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), parts[1]);
        assert!(matches!(ours.verify(&unsigned), Some(Err(_))));
        for foreign in ["", "a.b.c", "secret", "a.b.c.d"] {
            assert!(ours.verify(foreign).is_none(), "{foreign}");
        }
    }

    #[test]
    fn tokens_of_secrets_say_which() {
        let ours = issuer();
        let token = ours.issue_legacy("ns", &account(), "robot-token").unwrap();
        let Some(Ok(Signed::Legacy(claims))) = ours.verify(&token) else { panic!("{token}") };
        assert_eq!((claims.secret.as_str(), claims.uid.as_str()), ("robot-token", "u"));
    }

    #[test]
    fn in_force_from_then_to_then() {
        let claims = |nbf, exp| Claims {
            aud: vec![],
            exp,
            iat: nbf,
            iss: String::new(),
            jti: String::new(),
            kubernetes: subject(),
            nbf,
            sub: String::new(),
        };
        let at = |now, nbf, exp| claims(nbf, exp).check(jiff::Timestamp::from_second(now).unwrap());
        assert!(at(1000, 900, 1100).is_ok());
        assert!(at(1160, 900, 1100).is_ok(), "clocks differ");
        assert!(matches!(at(1161, 900, 1100), Err(TokenError::Expired)));
        assert!(at(840, 900, 1100).is_ok());
        assert!(matches!(at(839, 900, 1100), Err(TokenError::Early)));
    }
}
