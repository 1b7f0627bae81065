//! Patches: JSON patch, JSON merge patch, strategic merge patch and server-side apply.
//!
//! Pure functions from an object and a patch to an object; the pipeline brings the object, the time and
//! the names, and decides what is admitted and stored.

pub mod apply;
pub mod json;
mod lists;
pub mod merge;
pub mod strategic;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusDetails;
use serde_json::Value;

use super::status::Failure;

/// Why a patch was not applied; the object may be changed half and must not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch makes no sense, whatever it is applied to.
    #[error("{0}")]
    BadRequest(String),
    /// The patch does not fit this object.
    #[error("{0}")]
    Unprocessable(String),
    /// The patch has more operations than are allowed.
    #[error("{0}")]
    TooLarge(String),
    /// Upstream reports these without saying whose fault they are.
    #[error("{0}")]
    Unclear(String),
}

impl PatchError {
    /// The answer to the request. Of a patch that does not fit, upstream tells the client only that; the
    /// cause is for the log.
    pub fn into_failure(self) -> Failure {
        match self {
            Self::BadRequest(message) => Failure::bad_request(message),
            Self::Unprocessable(_) => {
                let message = "the server rejected our request due to an error in our request";
                let mut failure = Failure::new(422, "Invalid", message);
                failure.0.details = Some(StatusDetails::default());
                failure
            }
            Self::TooLarge(message) => {
                Failure::new(413, "RequestEntityTooLarge", format!("Request entity too large: {message}"))
            }
            Self::Unclear(message) => Failure::new(500, "", message),
        }
    }
}

/// A value as Go's `%v` prints it: upstream's patch errors quote objects so.
pub fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_syntax).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let mut parts: Vec<_> = fields.iter().map(|(name, value)| format!("{name}:{}", go_syntax(value))).collect();
            parts.sort();
            format!("map[{}]", parts.join(" "))
        }
        other => other.to_string(),
    }
}
