//! How long a request may take: `?timeout=`, and upstream's `--request-timeout` at most. Requests that last have none.

use std::time::Duration;

use super::route::RequestInfo;
use crate::api::duration::read_go;
use crate::api::status::{Failure, Result};
use crate::server::pipeline::query::Query;

/// Upstream's default.
const LONGEST: Duration = Duration::from_secs(60);

/// What the query asks for; nothing, nought, less or too much means the longest.
///
/// # Errors
/// 400 where that is no duration.
pub fn asked(query: &Query) -> Result<Duration> {
    let text = query.get("timeout");
    if text.is_empty() {
        return Ok(LONGEST);
    }
    let (negative, amount) = match text.strip_prefix('-') {
        Some(amount) if !amount.starts_with('+') => (true, amount),
        _ => (false, text),
    };
    let given = read_go(amount).map_err(|error| {
        let why = error.about(text);
        Failure::bad_request(format!("invalid timeout specified in the request URL - {why}"))
    })?;
    let asks = !negative && !given.is_zero();
    Ok(if asks { given.min(LONGEST) } else { LONGEST })
}

/// The answer to a request that took too long. Changes of objects say so in other words than the rest.
pub fn missed(info: &RequestInfo) -> Failure {
    let changes = matches!(info.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
    let why = match info.is_resource && changes {
        true => "request did not complete within requested timeout - context deadline exceeded",
        false => "request did not complete within the allotted timeout",
    };
    Failure::timeout(format!("Timeout: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_duration() {
        let asked = |text: &str| asked(&Query::parse(Some(&format!("timeout={text}"))));
        let cases = [("", 60_000), ("1500ms", 1500), ("0", 60_000), ("-1s", 60_000), ("2m", 60_000), ("0.5s", 500)];
        for (text, millis) in cases {
            assert_eq!(asked(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for (text, why) in [
            ("x", "time: invalid duration \"x\""),
            ("10", "time: missing unit in duration \"10\""),
            ("1x", "time: unknown unit \"x\" in duration \"1x\""),
            ("-.s", "time: invalid duration \"-.s\""),
        ] {
            let wanted = format!("invalid timeout specified in the request URL - {why}");
            assert_eq!(asked(text).unwrap_err().message(), wanted);
        }
    }
}
