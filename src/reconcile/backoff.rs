//! How long to wait before a key that failed is tried again.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Exponential back-off for each key, forgotten at its first success.
#[derive(Debug)]
pub struct Backoff<K> {
    first: Duration,
    longest: Duration,
    failures: HashMap<K, u32>,
}

impl<K: Hash + Eq> Backoff<K> {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: HashMap::new() }
    }

    /// Counts a failure and says how long to wait.
    pub fn failed(&mut self, key: K) -> Duration {
        let failures = self.failures.entry(key).or_default();
        let factor = 1u32.checked_shl(*failures).unwrap_or(u32::MAX);
        *failures = failures.saturating_add(1).min(31);
        self.first.saturating_mul(factor).min(self.longest)
    }

    pub fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }
}

/// Half to all of `wait`, by chance: those who failed together do not come back together.
pub fn jittered(wait: Duration) -> Duration {
    let mut random = [0; 2];
    // Without chance they come back early, which is no worse.
    let _ = getrandom::fill(&mut random);
    let share = f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX);
    wait.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest_and_forgets() {
        let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(30));
        let waits: Vec<_> = (0..40).map(|_| backoff.failed("a").as_millis()).collect();
        assert_eq!(waits[..4], [5, 10, 20, 30]);
        assert!(waits[4..].iter().all(|wait| *wait == 30));
        assert_eq!(backoff.failed("b").as_millis(), 5);
        backoff.succeeded(&"a");
        assert_eq!(backoff.failed("a").as_millis(), 5);
    }

    #[test]
    fn jitter_takes_away_up_to_half() {
        let wait = Duration::from_secs(8);
        let waits: Vec<_> = (0..64).map(|_| jittered(wait)).collect();
        assert!(waits.iter().all(|jittered| (wait / 2..=wait).contains(jittered)), "{waits:?}");
        assert!(waits.iter().any(|other| *other != waits[0]), "{waits:?}");
    }
}
