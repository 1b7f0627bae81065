//! The continue token of a paged list, as upstream's `meta.k8s.io/v1`: base64 of JSON with a revision and a start key.
//!
//! Comes back from clients, so that anything may be in it: what is malformed is refused in upstream's words, and no
//! token can name a place outside of its list.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};

use super::go_error;

const VERSION: &str = "meta.k8s.io/v1";

/// Like Go's `RawURLEncoding`: without padding, and easy about the last bits.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What all pages show; `None`: whatever is newest, at the price of consistency.
    pub revision: Option<u64>,
    /// The last key seen, relative to the list's prefix.
    pub after: String,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Wire {
    v: String,
    rv: i64,
    /// The first key of the next page: the last one seen and the smallest letter there is.
    start: String,
}

impl Token {
    pub fn new(revision: Option<u64>, after: &str) -> Self {
        Self { revision, after: after.to_owned() }
    }

    pub fn encode(&self) -> String {
        let rv = self.revision.and_then(|revision| i64::try_from(revision).ok()).unwrap_or(-1);
        let wire = Wire { v: VERSION.to_owned(), rv, start: format!("{}\0", self.after) };
        // Three plain fields always encode.
        ENGINE.encode(serde_json::to_vec(&wire).unwrap_or_default())
    }

    /// # Errors
    /// `continue key is not valid: …`.
    pub fn decode(text: &str) -> Result<Self, String> {
        let invalid = |why: String| format!("continue key is not valid: {why}");
        let raw = ENGINE.decode(text).map_err(|error| {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                base64::DecodeError::InvalidLength(length) => length,
                base64::DecodeError::InvalidPadding => text.find('=').unwrap_or(text.len()),
            };
            invalid(format!("illegal base64 data at input byte {at}"))
        })?;
        let wire: Wire = serde_json::from_slice(&raw).map_err(|error| invalid(go_error::syntax(&raw, &error)))?;
        if wire.v != VERSION {
            return Err(invalid(format!("server does not recognize this encoded version {}", wire.v)));
        }
        if wire.rv == 0 {
            return Err(invalid(format!("incorrect encoded start resourceVersion (version {VERSION})")));
        }
        if wire.start.is_empty() {
            return Err(invalid(format!("encoded start key empty (version {VERSION})")));
        }
        let start = wire.start.strip_prefix('/').unwrap_or(&wire.start);
        // A path that would lead elsewhere.
        if start.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(invalid(wire.start));
        }
        Ok(Self::new(u64::try_from(wire.rv).ok(), start.strip_suffix('\0').unwrap_or(start)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_wire_form_is_upstreams() {
        let token = Token::new(Some(7), "ns/a");
        let text = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6Nywic3RhcnQiOiJucy9hXHUwMDAwIn0";
        assert_eq!(token.encode(), text);
        assert_eq!(Token::decode(text), Ok(token));
        let newest = Token::new(None, "a");
        assert_eq!(Token::decode(&newest.encode()), Ok(newest));
    }

    #[test]
    fn forged_tokens_are_refused() {
        let of = |json: &str| ENGINE.encode(json);
        let cases = [
            ("a!".to_owned(), "illegal base64 data at input byte 1"),
            (of("x"), "invalid character 'x' looking for beginning of value"),
            (of("{"), "unexpected end of JSON input"),
            (of("{}"), "server does not recognize this encoded version "),
            (of(r#"{"v":"v2","rv":1,"start":"a"}"#), "server does not recognize this encoded version v2"),
            (
                of(r#"{"v":"meta.k8s.io/v1","start":"a"}"#),
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (of(r#"{"v":"meta.k8s.io/v1","rv":1}"#), "encoded start key empty (version meta.k8s.io/v1)"),
            (of(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../secrets/a"}"#), "../secrets/a"),
            (of(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"a//b"}"#), "a//b"),
        ];
        for (text, why) in cases {
            assert_eq!(Token::decode(&text), Err(format!("continue key is not valid: {why}")), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".{0,80}", json in "[{}\\[\\]\"a-z0-9:,./]{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Token::decode(&text);
            let _ = Token::decode(&ENGINE.encode(json));
            let _ = Token::decode(&ENGINE.encode(bytes));
        }

        #[test]
        fn what_was_encoded_comes_back(revision in 1..u64::MAX / 2, key in "[a-z0-9.-]{1,20}(/[a-z0-9-]{1,20})?") {
            prop_assume!(!key.split('/').any(|part| matches!(part, "." | "..")));
            let token = Token::new(Some(revision), &key);
            prop_assert_eq!(Token::decode(&token.encode()), Ok(token));
        }
    }
}
