//! Which text format of metrics a client reads: OpenMetrics, as the registry writes it, or Prometheus' 0.0.4.

use http::HeaderMap;

pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
pub(super) const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(http::header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media| media.trim().starts_with("application/openmetrics-text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses() {
        let headers = |accept: &'static str| {
            HeaderMap::from_iter([(http::header::ACCEPT, http::HeaderValue::from_static(accept))])
        };
        assert!(wants_open_metrics(&headers("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")));
        assert!(!wants_open_metrics(&headers("text/plain;version=0.0.4, */*")));
    }
}
