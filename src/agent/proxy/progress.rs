//! Whether the rules keep up with the Services, by upstream's measure: the proxy is healthy while no change waits for
//! longer than a minute, also before the first. Pure.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Upstream's: twice the time between its own syncs.
const LATE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Since when a change waits.
    waiting: Option<Instant>,
    pub updated: Option<Timestamp>,
}

impl Progress {
    pub fn changed(&mut self, now: Instant) {
        self.waiting.get_or_insert(now);
    }

    pub fn updated(&mut self, now: Timestamp) {
        *self = Self { waiting: None, updated: Some(now) };
    }

    pub fn is_healthy(&self, now: Instant) -> bool {
        self.waiting.is_none_or(|since| now.duration_since(since) < LATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_may_wait_for_a_minute() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut progress = Progress::default();
        assert!(progress.is_healthy(after(3600)), "nothing waits");
        progress.changed(begun);
        progress.changed(after(50));
        assert!(progress.is_healthy(after(59)));
        assert!(!progress.is_healthy(after(60)), "the first one counts");
        progress.updated(Timestamp::UNIX_EPOCH);
        assert!(progress.is_healthy(after(3600)));
    }
}
