//! The query strings of the kubelet's server.

use jiff::{SignedDuration, Timestamp};

use super::answer::Failure;
use crate::agent::kubelet::logs::Options;

/// Decoded pairs, in order.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    pub fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(known, _)| known == key).map(|(_, value)| value.clone()).collect()
    }

    /// Set under any of the names: the kubelet's own are `input`, `output` and `error`.
    pub fn flag(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| matches!(self.get(key), Some("1" | "true")))
    }

    fn number(&self, key: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.get(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Failure::bad(format!("invalid value {text:?} for {key}")))
    }

    /// The options of a log request.
    pub fn log_options(&self, now: Timestamp) -> Result<Options, Failure> {
        let since = match (self.number("sinceSeconds")?, self.get("sinceTime")) {
            (Some(seconds), _) => {
                let seconds = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
                Some(now.checked_sub(seconds).unwrap_or(Timestamp::MIN))
            }
            (None, Some(time)) => {
                Some(time.parse().map_err(|_| Failure::bad(format!("invalid value {time:?} for sinceTime")))?)
            }
            (None, None) => None,
        };
        let stream = match self.get("stream").unwrap_or_default() {
            "Stdout" => Some("stdout".to_owned()),
            "Stderr" => Some("stderr".to_owned()),
            _ => None,
        };
        Ok(Options {
            follow: self.flag(&["follow"]),
            previous: self.flag(&["previous"]),
            timestamps: self.flag(&["timestamps"]),
            tail_lines: self.number("tailLines")?,
            since,
            limit_bytes: self.number("limitBytes")?,
            stream,
        })
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match (bytes[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (_, Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', None) => out.push(b' '),
            (byte, None) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("command=sh&command=-c&command=echo+%24HOME%2F%C3%A9&input=1&tty=false&x");
        assert_eq!(query.all("command"), ["sh", "-c", "echo $HOME/é"]);
        assert!(query.flag(&["stdin", "input"]) && !query.flag(&["tty"]));
        let now = Timestamp::from_second(100).unwrap();
        let options = Query::parse("follow=true&tailLines=3&sinceSeconds=40").log_options(now).unwrap();
        assert_eq!((options.follow, options.tail_lines), (true, Some(3)));
        assert_eq!(options.since, Some(Timestamp::from_second(60).unwrap()));
        assert!(Query::parse("tailLines=x").log_options(now).is_err());
    }
}
