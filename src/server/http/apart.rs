//! Long work, away from the runtime's threads.
//!
//! The thread that found a request on the network works on it at once, and while it does so nobody looks at the network:
//! tokio wakes another thread only where there is more to do. A list of ten thousand objects would hold up everybody.

use std::future::Future;
use std::panic::resume_unwind;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::api::status::{Failure, Result};

/// Bytes of a body, or of the object it changes, from which on reading, checking and merging take milliseconds.
pub const LARGE: usize = 16 << 10;
/// The same for the objects of a list.
pub const MANY: usize = 500;

/// How many threads this takes: some are left for what the work itself gives to others.
static PLACES: Semaphore = Semaphore::const_new(64);

/// Carries something out on a thread of its own. It ends even where nobody waits for it any more.
///
/// # Errors
/// What the work says, or that the runtime is shutting down.
///
/// # Panics
/// Where the work does.
pub async fn apart<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let runtime = Handle::current();
    let place = PLACES.acquire().await.map_err(Failure::internal)?;
    let long = move || {
        let _place = place;
        runtime.block_on(work)
    };
    match spawn_blocking(long).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => Err(Failure::internal(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_runtime_goes_on_meanwhile() {
        let (sender, receiver) = channel();
        let long =
            tokio::spawn(apart(
                async move { receiver.recv_timeout(Duration::from_secs(60)).map_err(Failure::internal) },
            ));
        // On the only thread of this runtime: it would never be reached if the other held that up.
        tokio::spawn(async move { sender.send(7) }).await.unwrap().unwrap();
        assert_eq!(long.await.unwrap().unwrap(), 7);
    }

    #[tokio::test]
    async fn a_panic_is_the_callers() {
        let work = apart::<()>(async { panic!("a bug") });
        let panic = AssertUnwindSafe(work).catch_unwind().await.unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"a bug"));
    }
}
