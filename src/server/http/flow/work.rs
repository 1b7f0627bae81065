//! How many seats a request takes, and for how long after its answer: upstream's work estimators with their defaults.
//! Pure.
//!
//! A list is as wide as what it loads is large; a watch that begins with what is there costs as such a list until that is
//! sent; a write keeps watchers busy after it is answered.

use std::time::Duration;

use super::config::{Full, Limit};
use crate::server::http::route::RequestInfo;
use crate::server::pipeline::query::Query;

/// The widest list, and the widest write.
const WIDEST_LIST: usize = 100;
const WIDEST_WRITE: usize = 10;
const BYTES_A_SEAT: f64 = 100_000.0;
/// What a list from memory holds at once at most, since it is sent piece by piece.
const STREAMED: u64 = 1_000_000;
const WATCHERS_A_SEAT: usize = 10;
const EVENT: Duration = Duration::from_millis(5);
/// The part of a level's seats that one request may have.
const WIDEST_PART: f64 = 0.15;

/// What is stored of a kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stored {
    pub objects: u64,
    /// Of one, on average.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    pub seats: usize,
    /// The seats stay taken for so long after the answer.
    pub after: Duration,
}

impl Work {
    pub const LEAST: Self = Self { seats: 1, after: Duration::ZERO };
}

/// Whether the request's width depends on what is stored.
pub fn is_list(request: &RequestInfo, query: &Query) -> bool {
    match request.verb.as_str() {
        "list" => true,
        "watch" => {
            query.optional_flag("sendInitialEvents") == Some(true) || matches!(query.get("resourceVersion"), "" | "0")
        }
        _ => false,
    }
}

pub fn of_list(request: &RequestInfo, query: &Query, stored: Stored, limit: Limit) -> Work {
    let asked = query.get("limit").parse::<u64>().ok().filter(|limit| *limit > 0);
    let page = asked.map_or(stored.objects, |limit| limit.min(stored.objects));
    let from_memory = request.verb == "watch" || is_from_memory(query);
    let selects = !query.get("labelSelector").is_empty() || !query.get("fieldSelector").is_empty();
    let loaded = match () {
        () if !request.target().is_empty() => 1,
        () if !from_memory && selects => page.max(stored.objects / 2),
        () => page,
    };
    let bytes = loaded.saturating_mul(stored.bytes);
    let bytes = if from_memory { bytes.min(STREAMED) } else { bytes };
    let seats = (bytes as f64 / BYTES_A_SEAT).ceil() as usize;
    Work { seats: seats.clamp(1, widest(limit, WIDEST_LIST)), after: Duration::ZERO }
}

/// Upstream answers from its cache unless a past revision is asked for.
fn is_from_memory(query: &Query) -> bool {
    let past = !matches!(query.get("resourceVersion"), "" | "0");
    match query.get("resourceVersionMatch") {
        "Exact" => false,
        "NotOlderThan" => true,
        _ => query.get("continue").is_empty() && (!past || query.get("limit").is_empty()),
    }
}

/// `watchers`: who is told of the change.
pub fn of_write(request: &RequestInfo, watchers: usize, limit: Limit) -> Work {
    let told = (request.resource.as_str(), request.subresource.as_str()) != ("serviceaccounts", "token");
    if watchers < WATCHERS_A_SEAT || !told {
        return Work::LEAST;
    }
    let wanted = watchers.div_ceil(WATCHERS_A_SEAT);
    let seats = wanted.min(widest(limit, WIDEST_WRITE)).max(1);
    // As much work, narrower and longer.
    let after = EVENT.mul_f64(wanted as f64 / seats as f64);
    Work { seats, after }
}

fn widest(limit: Limit, bound: usize) -> usize {
    let Full::Queue { hand, .. } = limit.full else { return bound };
    let part = (limit.seats as f64 * WIDEST_PART).ceil() as usize;
    part.min(limit.seats / hand.max(1)).clamp(1, bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::route::request_info;

    const LIMIT: Limit =
        Limit { seats: 200, lendable: 0, borrowable: 0, full: Full::Queue { queues: 64, hand: 8, length: 50 } };

    #[test]
    fn lists_are_as_wide_as_what_they_load() {
        let many = Stored { objects: 1000, bytes: 2000 };
        let cases = [
            ("/api/v1/pods", many, 10),
            ("/api/v1/pods?limit=100", many, 2),
            ("/api/v1/pods", Stored { objects: 10, bytes: 2000 }, 1),
            ("/api/v1/pods", Stored::default(), 1),
            ("/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Db", many, 1),
            // The past is read as a whole.
            ("/api/v1/pods?resourceVersion=7&resourceVersionMatch=Exact", many, 20),
            ("/api/v1/pods?resourceVersion=7&limit=10&labelSelector=a", many, 10),
            ("/api/v1/pods?watch=1", many, 10),
        ];
        for (path, stored, seats) in cases {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let query = Query::parse(Some(query));
            let info = request_info(&http::Method::GET, path, &query);
            assert!(is_list(&info, &query));
            assert_eq!(of_list(&info, &query, stored, LIMIT).seats, seats, "{path}");
        }
        let narrow = Limit { seats: 10, ..LIMIT };
        let query = Query::parse(None);
        let info = request_info(&http::Method::GET, "/api/v1/pods", &query);
        assert_eq!(of_list(&info, &query, many, narrow).seats, 1);
        let resumed = Query::parse(Some("watch=1&resourceVersion=7"));
        assert!(!is_list(&request_info(&http::Method::GET, "/api/v1/pods", &resumed), &resumed));
    }

    #[test]
    fn writes_last_while_watchers_are_told() {
        let write = |path: &str, watchers| {
            let info = request_info(&http::Method::POST, path, &Query::parse(None));
            let work = of_write(&info, watchers, LIMIT);
            (work.seats, work.after.as_millis())
        };
        assert_eq!(write("/api/v1/namespaces/a/pods", 9), (1, 0));
        assert_eq!(write("/api/v1/namespaces/a/pods", 45), (5, 5));
        assert_eq!(write("/api/v1/namespaces/a/pods", 400), (10, 20));
        assert_eq!(write("/api/v1/namespaces/a/serviceaccounts/b/token", 400), (1, 0));
    }
}
