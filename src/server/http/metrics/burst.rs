//! Bursts: much work, then little. What one leaves behind (memory above all) is looked at when it is over, and never
//! while nothing happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

/// A request counts as much as so many bytes of an answer.
const REQUEST: u64 = 16 << 10;
/// From here on it is a burst: a thousand requests, or one list of some thousand objects.
const MUCH: u64 = 16 << 20;
/// No more than this within [`CALM`] is what every cluster does all the time.
const LITTLE: u64 = MUCH / 16;
const CALM: Duration = Duration::from_secs(10);

/// What was answered since the last burst was over.
#[derive(Default)]
pub struct Burst {
    answered: AtomicU64,
    begun: Notify,
}

impl Burst {
    /// An answer of so many bytes was given.
    pub(super) fn answered(&self, bytes: u64) {
        let weight = REQUEST + bytes;
        let before = self.answered.fetch_add(weight, Ordering::Relaxed);
        if before < MUCH && before + weight >= MUCH {
            self.begun.notify_one();
        }
    }

    /// Something was made that took as much as a burst does, whatever the size of its answer.
    pub fn heavy(&self) {
        self.answered(MUCH);
    }

    /// Returns when there was a burst and it is over. Arms no timer before one begins.
    pub async fn over(&self) {
        self.begun.notified().await;
        loop {
            let before = self.answered.load(Ordering::Relaxed);
            sleep(CALM).await;
            if self.answered.load(Ordering::Relaxed) - before <= LITTLE {
                break;
            }
        }
        self.answered.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_over_when_little_happens() {
        let burst = Burst::default();
        (1..1024).for_each(|_| burst.answered(0));
        assert!(timeout(CALM * 10, burst.over()).await.is_err(), "that was not much");
        burst.answered(0);
        let (begun, mut over) = (Instant::now(), Box::pin(burst.over()));
        assert!((&mut over).now_or_never().is_none());
        for _ in 0..3 {
            tokio::time::advance(CALM / 2).await;
            burst.answered(MUCH);
            assert!((&mut over).now_or_never().is_none());
        }
        over.await;
        assert_eq!(begun.elapsed(), CALM * 3, "the first time of ten seconds without answers");
        burst.answered(MUCH);
        burst.over().await;
    }
}
