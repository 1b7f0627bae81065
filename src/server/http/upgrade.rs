//! Whether a request would leave HTTP behind.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, UPGRADE};

/// Whether the client asks to go on in `protocol`.
pub fn is_asked_for(headers: &HeaderMap, protocol: &str) -> bool {
    let has = |name: HeaderName, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    has(CONNECTION, "upgrade") && has(UPGRADE, protocol)
}
