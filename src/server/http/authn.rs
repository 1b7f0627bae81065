//! Who is asking: client certificate, admin token, service account token, or nobody.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::api::status::{Failure, Result};
pub use crate::server::pipeline::user::User;

/// The subject of a verified client certificate: CN is the name, each O a group.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CertificateSubject {
    pub common_name: String,
    pub organizations: Vec<String>,
}

/// What the listener knows about a connection.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    pub certificate: Option<CertificateSubject>,
    pub peer: Option<std::net::SocketAddr>,
    /// Cancelled when the listener stops.
    pub closing: tokio_util::sync::CancellationToken,
}

/// Checks a bearer token of one sort.
pub trait TokenAuthenticator: Send + Sync + 'static {
    /// `None`: not a token of mine, or not a valid one.
    fn authenticate(&self, token: &str, audiences: &[String]) -> Option<User>;
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
    fn authenticate(&self, token: &str, _: &[String]) -> Option<User> {
        same(token.as_bytes(), self.token.as_bytes()).then(|| self.user.clone())
    }
}

/// Compares in a time that does not tell where two secrets differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    !b.is_empty() && a.len() == b.len() && a.iter().zip(b).fold(0, |found, (a, b)| found | (a ^ b)) == 0
}

/// All ways in, in order: the certificate first, then each token authenticator.
#[derive(Clone, Default)]
pub struct Authenticator {
    tokens: Vec<Arc<dyn TokenAuthenticator>>,
}

impl Authenticator {
    pub fn new(tokens: Vec<Arc<dyn TokenAuthenticator>>) -> Self {
        Self { tokens }
    }

    /// The user of a token, for TokenReview too.
    pub fn token(&self, token: &str, audiences: &[String]) -> Option<User> {
        self.tokens.iter().find_map(|tokens| tokens.authenticate(token, audiences))
    }

    /// The user of a request; without credentials the anonymous one.
    ///
    /// # Errors
    /// 401 where credentials are given and wrong.
    pub fn request(&self, connection: &Connection, headers: &HeaderMap) -> Result<User> {
        if let Some(subject) = connection.certificate.as_ref().filter(|subject| !subject.common_name.is_empty()) {
            let groups: Vec<&str> = subject.organizations.iter().map(String::as_str).collect();
            return Ok(User::new(subject.common_name.clone(), &groups));
        }
        let Some(given) = headers.get(AUTHORIZATION) else { return Ok(User::anonymous()) };
        let given = given.to_str().map_err(|_| Failure::unauthorized())?;
        let Some((scheme, token)) = given.trim().split_once(' ') else { return Ok(User::anonymous()) };
        if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
            return Ok(User::anonymous());
        }
        self.token(token.trim(), &[]).ok_or_else(Failure::unauthorized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials() {
        let authenticator = Authenticator::new(vec![Arc::new(StaticToken::admin("secret"))]);
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            authenticator.request(&Connection::default(), &headers).map(|user| user.name)
        };
        assert_eq!(with("Bearer secret").unwrap(), "system:admin");
        assert_eq!(with("Bearer wrong").unwrap_err().code(), 401);
        assert_eq!(with("Basic abc").unwrap(), User::ANONYMOUS);
        let certificate =
            CertificateSubject { common_name: "system:node:a".into(), organizations: vec!["system:nodes".into()] };
        let connection = Connection { certificate: Some(certificate), ..Connection::default() };
        let user = authenticator.request(&connection, &HeaderMap::new()).unwrap();
        assert_eq!(user, User::node("a"));
    }
}
