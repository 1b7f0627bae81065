//! What time it is, for code whose tests need to say so. Timers themselves are tokio's.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use parking_lot::Mutex;

/// The wall clock, or one that a test sets.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Mutex<Timestamp>>>);

impl Clock {
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until [`Self::advance`].
    pub fn manual(now: Timestamp) -> Self {
        Self(Some(Arc::new(Mutex::new(now))))
    }

    pub fn now(&self) -> Timestamp {
        match &self.0 {
            None => Timestamp::now(),
            Some(now) => *now.lock(),
        }
    }

    /// Moves a manual clock; the wall clock moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Some(now) = &self.0 {
            let mut now = now.lock();
            *now = now
                .saturating_add(jiff::SignedDuration::try_from(by).unwrap_or(jiff::SignedDuration::MAX))
                .unwrap_or(*now);
        }
    }

    /// Now as `metav1.Time`, which has whole seconds.
    pub fn time(&self) -> Time {
        time(self.now())
    }

    pub fn micro_time(&self) -> MicroTime {
        MicroTime(self.now())
    }
}

/// `at` as `metav1.Time`, cut to whole seconds as it will be when read back.
pub fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// How long from `from` until `to`; zero where that is past.
pub fn until(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}
