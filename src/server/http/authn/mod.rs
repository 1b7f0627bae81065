//! Who is asking: client certificate, admin token, service account token, bootstrap token, or nobody; and as whom
//! they wish to act ([`impersonate`]).

mod certificate;
pub mod impersonate;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue};
use prometheus_client::registry::Registry;

use crate::api::status::{Failure, Result};
pub use crate::server::pipeline::user::User;
pub use certificate::{Certificate, CertificateSubject};

/// What the listener knows about a connection.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    pub certificate: Option<Certificate>,
    pub peer: Option<std::net::SocketAddr>,
    /// Cancelled when the listener stops.
    pub closing: tokio_util::sync::CancellationToken,
}

/// A token's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    pub user: User,
    /// For which of the audiences that were asked for the token is meant. Empty: it says nothing of audiences,
    /// and stands for those of the API server.
    pub audiences: Vec<String>,
}

/// Why a token that looks like one of ours is not good, in upstream's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// What is to be said to who asks, and in the audit log, of credentials, whether they are good or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    pub warnings: Vec<String>,
    pub annotations: BTreeMap<String, String>,
}

impl Notes {
    pub fn annotate(&mut self, key: &str, value: impl Into<String>) {
        self.annotations.insert(format!("authentication.k8s.io/{key}"), value.into());
    }

    pub fn is_empty(&self) -> bool {
        self.warnings.is_empty() && self.annotations.is_empty()
    }
}

/// Checks a bearer token of one sort.
pub trait TokenAuthenticator: Send + Sync + 'static {
    /// `None`: not a token of mine. With `audiences`, it must be meant for one of these, else for the API server.
    ///
    /// # Errors
    /// It is a token of mine, and not a valid one.
    fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
        notes: &mut Notes,
    ) -> Result<Option<Authenticated>, Refused>;

    /// Where it shows what it counts.
    fn register(&self, _registry: &mut Registry) {}
}

/// The admin's static token.
pub struct StaticToken {
    token: String,
    user: User,
}

impl StaticToken {
    pub fn admin(token: impl Into<String>) -> Self {
        Self { token: token.into(), user: User::admin() }
    }
}

impl TokenAuthenticator for StaticToken {
    fn authenticate(&self, token: &str, _: &[String], _: &mut Notes) -> Result<Option<Authenticated>, Refused> {
        let ours = same(token.as_bytes(), self.token.as_bytes());
        Ok(ours.then(|| Authenticated { user: self.user.clone(), audiences: Vec::new() }))
    }
}

/// Compares in a time that does not tell where two secrets differ.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    !b.is_empty() && a.len() == b.len() && a.iter().zip(b).fold(0, |found, (a, b)| found | (a ^ b)) == 0
}

/// All ways in, in order: the certificate first, then each token authenticator.
#[derive(Clone, Default)]
pub struct Authenticator {
    tokens: Vec<Arc<dyn TokenAuthenticator>>,
    /// The API server's own.
    audiences: Vec<String>,
}

/// What upstream says of any token that nobody knows.
const UNKNOWN: &str = "invalid bearer token";

impl Authenticator {
    pub fn new(tokens: Vec<Arc<dyn TokenAuthenticator>>) -> Self {
        Self { tokens, audiences: Vec::new() }
    }

    /// Names the audiences of the API server, for which tokens without any are meant.
    #[must_use]
    pub fn for_audiences(mut self, audiences: Vec<String>) -> Self {
        self.audiences = audiences;
        self
    }

    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    pub fn register(&self, registry: &mut Registry) {
        self.tokens.iter().for_each(|tokens| tokens.register(registry));
    }

    /// The user of a token, for TokenReview too.
    ///
    /// # Errors
    /// Every authenticator's reason, as upstream lists them.
    pub fn token(&self, token: &str, audiences: &[String], notes: &mut Notes) -> Result<Authenticated, Refused> {
        let mut reasons = vec![UNKNOWN.to_owned()];
        for tokens in &self.tokens {
            match tokens.authenticate(token, audiences, notes) {
                Ok(Some(found)) => {
                    if let Some(found) = self.audience(found, audiences) {
                        return Ok(found);
                    }
                }
                Ok(None) => {}
                Err(Refused(reason)) if !reasons.contains(&reason) => reasons.push(reason),
                Err(_) => {}
            }
        }
        Err(Refused(match reasons.as_slice() {
            [only] => only.clone(),
            several => format!("[{}]", several.join(", ")),
        }))
    }

    /// A token that says nothing of audiences is for the API server's.
    fn audience(&self, mut found: Authenticated, wanted: &[String]) -> Option<Authenticated> {
        if found.audiences.is_empty() && !wanted.is_empty() {
            found.audiences = wanted.iter().filter(|audience| self.audiences.contains(audience)).cloned().collect();
            return (!found.audiences.is_empty()).then_some(found);
        }
        Some(found)
    }

    /// The user of a request; without credentials the anonymous one.
    ///
    /// # Errors
    /// 401 where credentials are given and wrong.
    pub fn request(&self, connection: &Connection, headers: &HeaderMap, notes: &mut Notes) -> Result<User> {
        let by_certificate = connection.certificate.as_ref().map(|found| found.user(jiff::Timestamp::now()));
        if let Some(Ok(user)) = by_certificate {
            return Ok(user);
        }
        let given = bearer(headers).or_else(|| websocket_token(headers));
        let by_token = given.map(|token| self.token(&token, &[], notes));
        match (by_token, by_certificate) {
            (Some(Ok(found)), _) => Ok(found.user),
            (None, None) => Ok(User::anonymous()),
            (Some(Err(reason)), _) => Err(refuse(&reason.0)),
            (None, Some(Err(reason))) => Err(refuse(&reason)),
            (None, Some(Ok(user))) => Ok(user),
        }
    }
}

/// The client is told nothing; the log is.
fn refuse(reason: &str) -> Failure {
    tracing::debug!(reason, "unable to authenticate a request");
    Failure::unauthorized()
}

/// The token of `Authorization: Bearer <token>`.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let mut parts = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().splitn(3, ' ');
    let scheme = parts.next()?;
    let token = parts.next().filter(|token| !token.is_empty())?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.to_owned())
}

/// Browsers cannot set headers on a WebSocket, so upstream takes the token as a subprotocol.
const SUBPROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

fn websocket_token(headers: &HeaderMap) -> Option<String> {
    let token = subprotocols(headers).find_map(|protocol| protocol.strip_prefix(SUBPROTOCOL))?;
    let token = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok()?;
    String::from_utf8(token).ok().filter(|token| !token.is_empty())
}

fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Takes the credentials out of a request, so that nobody behind sees them or passes them on.
pub fn strip(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    if subprotocols(headers).any(|protocol| protocol.starts_with(SUBPROTOCOL)) {
        let kept: Vec<&str> = subprotocols(headers).filter(|protocol| !protocol.starts_with(SUBPROTOCOL)).collect();
        // Made of a header's own parts.
        let kept = HeaderValue::from_str(&kept.join(", ")).ok();
        headers.remove(SEC_WEBSOCKET_PROTOCOL);
        kept.filter(|kept| !kept.is_empty()).map(|kept| headers.insert(SEC_WEBSOCKET_PROTOCOL, kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authenticator() -> Authenticator {
        let tokens: Vec<Arc<dyn TokenAuthenticator>> = vec![Arc::new(StaticToken::admin("secret"))];
        Authenticator::new(tokens).for_audiences(vec!["api".to_owned()])
    }

    #[test]
    fn credentials() {
        let with = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let found = authenticator().request(&Connection::default(), &headers, &mut Notes::default());
            found.map(|user| user.name)
        };
        let cases = [
            ("authorization", "Bearer secret", Ok("system:admin")),
            ("authorization", "bearer secret", Ok("system:admin")),
            ("authorization", "Bearer wrong", Err(401)),
            ("authorization", "Bearer  secret", Ok(User::ANONYMOUS)),
            ("authorization", "Basic abc", Ok(User::ANONYMOUS)),
            (
                "sec-websocket-protocol",
                "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0",
                Ok("system:admin"),
            ),
            ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.d3Jvbmc", Err(401)),
            ("sec-websocket-protocol", "v5.channel.k8s.io", Ok(User::ANONYMOUS)),
        ];
        for (name, value, expected) in cases {
            let found = with(name, value).map_err(|failure| failure.code());
            assert_eq!(found, expected.map(str::to_owned), "{name}: {value}");
        }
    }

    #[test]
    fn a_certificate_comes_first_and_an_expired_one_needs_a_token() {
        let connection = |not_after| {
            let subject = CertificateSubject { user: User::node("a"), not_after, key_fingerprint: String::new() };
            Connection { certificate: Some(Certificate::Subject(subject)), ..Connection::default() }
        };
        let mut headers = HeaderMap::new();
        let of = |not_after, headers: &HeaderMap| {
            authenticator().request(&connection(not_after), headers, &mut Notes::default())
        };
        assert_eq!(of(i64::MAX, &headers).unwrap(), User::node("a"));
        assert_eq!(of(0, &headers).unwrap_err().code(), 401);
        headers.insert(AUTHORIZATION, "Bearer secret".parse().unwrap());
        assert_eq!(of(i64::MAX, &headers).unwrap(), User::node("a"));
        assert_eq!(of(0, &headers).unwrap(), User::admin());
    }

    #[test]
    fn tokens_without_audiences_are_for_the_api_server() {
        let found = |audiences: &[&str]| {
            let audiences: Vec<String> = audiences.iter().map(|&audience| audience.to_owned()).collect();
            authenticator().token("secret", &audiences, &mut Notes::default()).map(|found| found.audiences)
        };
        assert!(found(&[]).unwrap().is_empty());
        assert_eq!(found(&["other", "api"]).unwrap(), ["api"]);
        assert_eq!(found(&["other"]).unwrap_err().to_string(), "invalid bearer token");
    }

    #[test]
    fn credentials_do_not_travel() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, "Bearer secret".parse().unwrap());
        headers.insert(SEC_WEBSOCKET_PROTOCOL, format!("a, {SUBPROTOCOL}eA, b").parse().unwrap());
        strip(&mut headers);
        assert_eq!((headers.len(), &headers[SEC_WEBSOCKET_PROTOCOL]), (1, &HeaderValue::from_static("a, b")));
    }
}
