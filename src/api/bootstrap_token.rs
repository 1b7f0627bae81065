//! Bootstrap tokens: what a machine that joins shows first. Each is a Secret in `kube-system`; its form, its fields
//! and what makes it count are kubeadm's. Pure: who asks brings the Secret and the time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub const NAMESPACE: &str = "kube-system";
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
const PREFIX: &str = "bootstrap-token-";
/// Every user that authenticates by such a token is in it.
pub const GROUP: &str = "system:bootstrappers";

const ID: &str = "token-id";
const SECRET: &str = "token-secret";
const DESCRIPTION: &str = "description";
const EXPIRATION: &str = "expiration";
const GROUPS: &str = "auth-extra-groups";
const USAGE: &str = "usage-bootstrap-";

/// `<id>.<secret>`: the id is public, the secret is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub id: String,
    pub secret: String,
}

impl Token {
    /// Six and sixteen lower-case letters or digits, with a dot between.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        (is_id(id) && is_word(secret, 16)).then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// The form in which a token is given to a machine: the hash is that of the cluster's CA certificate, so that the
    /// machine knows the server before it says anything.
    pub fn with_ca(&self, ca_sha256: &str) -> String {
        format!("K10{ca_sha256}::{self}")
    }

    pub fn secret_name(&self) -> String {
        secret_name(&self.id)
    }
}

/// What `orch agent --token` is given: a token, and the CA to which it may be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    pub ca_sha256: String,
    pub token: Token,
}

/// Why a text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinTokenError {
    #[error("the token is not of the form K10<sha256 of the CA>::<id>.<secret>; make one with: orch token create")]
    Form,
    #[error("the token's hash of the CA is not 64 hexadecimal digits; make one with: orch token create")]
    Hash,
}

impl FromStr for JoinToken {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (hash, token) =
            text.strip_prefix("K10").and_then(|rest| rest.split_once("::")).ok_or(JoinTokenError::Form)?;
        let token = Token::parse(token).ok_or(JoinTokenError::Form)?;
        if hash.len() != 64 || !hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(JoinTokenError::Hash);
        }
        Ok(Self { ca_sha256: hash.to_ascii_lowercase(), token })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.secret)
    }
}

pub fn is_id(text: &str) -> bool {
    is_word(text, 6)
}

pub fn secret_name(id: &str) -> String {
    format!("{PREFIX}{id}")
}

fn is_word(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|letter| letter.is_ascii_digit() || letter.is_ascii_lowercase())
}

/// Whether a token may put its user into this group.
pub fn is_group(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("system:bootstrappers:") else { return false };
    let letter = |letter: u8| letter.is_ascii_digit() || letter.is_ascii_lowercase();
    let last = rest.bytes().last().is_some_and(letter);
    last && rest.len() <= 256 && rest.bytes().all(|byte| letter(byte) || matches!(byte, b':' | b'-'))
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// The ConfigMap `cluster-info` is signed with it.
    Signing,
    /// Its bearer is a user.
    Authentication,
}

impl Usage {
    pub const ALL: [Self; 2] = [Self::Authentication, Self::Signing];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Authentication => "authentication",
        }
    }
}

/// A token and everything its Secret says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSecret {
    pub token: Token,
    pub description: String,
    /// RFC 3339; empty where it never expires.
    pub expiration: String,
    pub usages: Vec<Usage>,
    /// As they are written, with commas between.
    pub groups: String,
}

impl TokenSecret {
    /// `None` where the Secret is none of these, or is not named after its token.
    pub fn read(secret: &Secret) -> Option<Self> {
        let text = |key: &str| text(secret, key);
        let token = Token { id: text(ID), secret: text(SECRET) };
        let named = secret.metadata.name.as_deref() == Some(token.secret_name().as_str());
        if secret.type_.as_deref() != Some(SECRET_TYPE) || !named || token.secret.is_empty() {
            return None;
        }
        let usage = |usage: &Usage| text(&format!("{USAGE}{}", usage.as_str())) == "true";
        Some(Self {
            token,
            description: text(DESCRIPTION),
            expiration: text(EXPIRATION),
            usages: Usage::ALL.into_iter().filter(usage).collect(),
            groups: text(GROUPS),
        })
    }

    /// The Secret as it is created.
    pub fn to_secret(&self) -> Secret {
        let mut data = vec![(ID.to_owned(), self.token.id.clone()), (SECRET.to_owned(), self.token.secret.clone())];
        let texts = [(DESCRIPTION, &self.description), (EXPIRATION, &self.expiration), (GROUPS, &self.groups)];
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        data.extend(texts.map(|(key, text)| (key.to_owned(), text.clone())));
        data.extend(self.usages.iter().map(|usage| (format!("{USAGE}{}", usage.as_str()), "true".to_owned())));
        let metadata = ObjectMeta {
            name: Some(self.token.secret_name()),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        };
        let data = data.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))).collect();
        Secret { metadata, data: Some(data), type_: Some(SECRET_TYPE.to_owned()), ..Secret::default() }
    }

    pub fn has(&self, usage: Usage) -> bool {
        self.usages.contains(&usage)
    }

    /// When it ends; one that cannot be read has ended. `None`: never.
    pub fn expires(&self) -> Option<Timestamp> {
        expires(&self.expiration)
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires().is_some_and(|at| at <= now)
    }

    /// The groups of who authenticates by it; `None` where one of them is not for such a user.
    pub fn user_groups(&self) -> Option<Vec<String>> {
        let mut groups = vec![GROUP.to_owned()];
        let extra = self.groups.split(',').filter(|group| !group.is_empty());
        groups.extend(extra.map(str::to_owned));
        groups[1..].iter().all(|group| is_group(group)).then_some(groups)
    }
}

/// When a Secret of this type is to go, whatever else it says.
pub fn secret_expires(secret: &Secret) -> Option<Timestamp> {
    expires(&text(secret, EXPIRATION))
}

fn expires(text: &str) -> Option<Timestamp> {
    (!text.is_empty()).then(|| text.parse().unwrap_or(Timestamp::MIN))
}

fn text(secret: &Secret, key: &str) -> String {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    value.map(|value| String::from_utf8_lossy(&value.0).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> TokenSecret {
        TokenSecret {
            token: Token::parse("abcdef.0123456789abcdef").unwrap(),
            description: "a test".to_owned(),
            expiration: "2026-01-01T00:00:00Z".to_owned(),
            usages: vec![Usage::Authentication],
            groups: "system:bootstrappers:a,system:bootstrappers:b".to_owned(),
        }
    }

    #[test]
    fn forms() {
        for wrong in ["abcdef", "abcde.0123456789abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcdefg", "."] {
            assert_eq!(Token::parse(wrong), None, "{wrong}");
        }
        assert_eq!(token().token.with_ca("00ff"), "K1000ff::abcdef.0123456789abcdef");
        let hash = "0F".repeat(32);
        let whole = format!("K10{hash}::abcdef.0123456789abcdef");
        let read: JoinToken = whole.parse().unwrap();
        assert_eq!(read.token.with_ca(&read.ca_sha256), whole.to_lowercase().replacen('k', "K", 1));
        for (wrong, why) in [
            ("abcdef.0123456789abcdef".to_owned(), JoinTokenError::Form),
            (format!("K10{hash}::abcdef"), JoinTokenError::Form),
            ("K10ff::abcdef.0123456789abcdef".to_owned(), JoinTokenError::Hash),
            (whole.replace("0F0F", "0xyz"), JoinTokenError::Hash),
        ] {
            assert_eq!(wrong.parse::<JoinToken>(), Err(why), "{wrong}");
        }
        let groups = [("system:bootstrappers:a-1", true), ("system:bootstrappers:", false), ("a", false)];
        for (group, good) in groups.into_iter().chain([("system:bootstrappers:A", false), (GROUP, false)]) {
            assert_eq!(is_group(group), good, "{group}");
        }
    }

    #[test]
    fn a_secret_says_it_all() {
        let secret = token().to_secret();
        assert_eq!(TokenSecret::read(&secret).unwrap(), token());
        let mut renamed = secret.clone();
        renamed.metadata.name = Some("bootstrap-token-other0".to_owned());
        assert_eq!(TokenSecret::read(&renamed), None);
        assert_eq!(TokenSecret::read(&Secret { type_: None, ..secret }), None);
        assert_eq!(token().user_groups().unwrap().len(), 3);
        assert_eq!(TokenSecret { groups: "system:masters".to_owned(), ..token() }.user_groups(), None);
    }

    #[test]
    fn what_cannot_be_read_has_expired() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(!token().is_expired(at("2025-12-31T23:59:59Z")));
        assert!(token().is_expired(at("2026-01-01T00:00:00Z")));
        let with = |text: &str| TokenSecret { expiration: text.to_owned(), ..token() };
        assert!(with("tomorrow").is_expired(at("2000-01-01T00:00:00Z")));
        assert!(!with("").is_expired(Timestamp::MAX));
    }
}
