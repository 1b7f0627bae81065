//! A machine without a battery-backed clock boots in the past, where no certificate is valid yet: waits until the time is
//! set, and says so. The kernel wakes us when it is; nothing polls.

use std::io;

use jiff::Timestamp;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The day from which our certificates are valid (2020-01-01).
const FIRST_DAY: i64 = 1_577_836_800;

/// Returns when the clock can be right.
pub async fn wait_until_set() -> io::Result<()> {
    wait_for(FIRST_DAY).await
}

async fn wait_for(second: i64) -> io::Result<()> {
    let now = Timestamp::now();
    if now.as_second() >= second {
        return Ok(());
    }
    tracing::warn!("the clock says {now}, which cannot be; waiting until it is set (by NTP, or: date -s TIME)");
    // A timer at a wall-clock time fires also when the clock is set beyond it.
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let never = Timespec { tv_sec: 0, tv_nsec: 0 };
    let at = Itimerspec { it_interval: never, it_value: Timespec { tv_sec: second, tv_nsec: 0 } };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &at)?;
    #[expect(deprecated, reason = "tokio asks for an unsafe call for descriptors of any kind; ours is owned")]
    let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
    let _fired = timer.readable().await?;
    tracing::info!("the clock is set: {}", Timestamp::now());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_the_wall_clock() {
        wait_until_set().await.unwrap();
        let soon = Timestamp::now().as_second() + 1;
        wait_for(soon).await.unwrap();
        assert!(Timestamp::now().as_second() >= soon);
    }
}
