//! Bootstrap tokens as a way in: `<id>.<secret>` of a Secret in `kube-system` is the user `system:bootstrap:<id>`.
//! Called by the front door for each request with a token of that form.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use crate::api::bootstrap_token::{NAMESPACE, Token, TokenSecret, Usage};
use crate::server::http::authn::{Authenticated, Notes, Refused, TokenAuthenticator, User, same};
use crate::server::pipeline::Reader;
use crate::store::Store;

pub struct BootstrapTokens {
    store: Arc<dyn Store>,
}

impl BootstrapTokens {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

impl TokenAuthenticator for BootstrapTokens {
    /// A token that does not count is as unknown as one that never was.
    fn authenticate(&self, token: &str, _: &[String], _: &mut Notes) -> Result<Option<Authenticated>, Refused> {
        let Some(given) = Token::parse(token) else { return Ok(None) };
        let found = Reader::new(self.store.as_ref()).get::<Secret>(NAMESPACE, &given.secret_name());
        let found = found.map_err(|error| Refused(error.to_string()))?;
        let user = found.and_then(|secret| user(&given, &secret, Timestamp::now()));
        Ok(user.map(|user| Authenticated { user, audiences: Vec::new() }))
    }
}

fn user(given: &Token, secret: &Secret, now: Timestamp) -> Option<User> {
    let kept = TokenSecret::read(secret).filter(|_| secret.metadata.deletion_timestamp.is_none())?;
    let ours = same(given.secret.as_bytes(), kept.token.secret.as_bytes());
    if !ours || kept.is_expired(now) || !kept.has(Usage::Authentication) {
        return None;
    }
    let groups = kept.user_groups()?;
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    Some(User::new(format!("system:bootstrap:{}", given.id), &groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts() {
        let token = Token::parse("abcdef.0123456789abcdef").unwrap();
        let base = TokenSecret {
            token: token.clone(),
            description: String::new(),
            expiration: String::new(),
            usages: vec![Usage::Authentication, Usage::Signing],
            groups: "system:bootstrappers:x".to_owned(),
        };
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let of = |kept: TokenSecret, given: &Token| user(given, &kept.to_secret(), now);
        let found = of(base.clone(), &token).unwrap();
        assert_eq!(found.name, "system:bootstrap:abcdef");
        assert_eq!(found.groups, ["system:bootstrappers", "system:bootstrappers:x", "system:authenticated"]);
        let other = Token { secret: "0123456789abcdeg".to_owned(), ..token.clone() };
        assert_eq!(of(base.clone(), &other), None, "another secret");
        let cases = [
            TokenSecret { expiration: "2025-12-31T00:00:00Z".to_owned(), ..base.clone() },
            TokenSecret { usages: vec![Usage::Signing], ..base.clone() },
            TokenSecret { groups: "system:masters".to_owned(), ..base.clone() },
        ];
        for kept in cases {
            assert_eq!(of(kept.clone(), &token), None, "{kept:?}");
        }
        let mut going = base.to_secret();
        going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
        assert_eq!(user(&token, &going, now), None, "one that is being deleted");
    }
}
