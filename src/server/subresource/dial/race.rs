//! Two ways to the same place, of which one is enough (RFC 8305's idea). Decides which is tried when and whose error is told; makes no
//! connection itself.

use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::time::sleep;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Direct,
    Tunnel,
}

/// How the tunnel failed.
#[derive(Debug)]
pub enum Failed {
    /// The node itself could not reach it: no other way can.
    ForGood(io::Error),
    /// The other way may still work.
    ThisWay(io::Error),
}

/// How long the direct way is tried alone.
const HEAD_START: Duration = Duration::from_millis(200);

/// What of the two is there first, and by which way. What does not go first begins when the first has failed; the tunnel
/// also when the direct way took longer than its head start. The loser is dropped.
///
/// # Errors
/// The direct way's, unless the node itself told a better one.
pub async fn reach<W>(
    first: Way,
    direct: impl Future<Output = io::Result<W>>,
    tunnel: impl Future<Output = Result<W, Failed>>,
) -> io::Result<(W, Way)> {
    match first {
        Way::Direct => direct_first(direct, tunnel).await,
        Way::Tunnel => match tunnel.await {
            Ok(wire) => Ok((wire, Way::Tunnel)),
            Err(Failed::ForGood(error)) => Err(error),
            Err(Failed::ThisWay(error)) => {
                tracing::debug!(%error, "trying without the tunnel");
                direct.await.map(|wire| (wire, Way::Direct))
            }
        },
    }
}

async fn direct_first<W>(
    direct: impl Future<Output = io::Result<W>>,
    tunnel: impl Future<Output = Result<W, Failed>>,
) -> io::Result<(W, Way)> {
    let (mut direct, mut tunnel) = (pin!(direct), pin!(tunnel));
    let alone = tokio::select! {
        biased;
        done = &mut direct => Some(done),
        () = sleep(HEAD_START) => None,
    };
    let failed = match alone {
        Some(Ok(wire)) => return Ok((wire, Way::Direct)),
        Some(Err(error)) => error,
        None => tokio::select! {
            biased;
            done = &mut direct => match done {
                Ok(wire) => return Ok((wire, Way::Direct)),
                Err(error) => error,
            },
            done = &mut tunnel => return match done {
                Ok(wire) => Ok((wire, Way::Tunnel)),
                Err(Failed::ForGood(error)) => Err(error),
                Err(Failed::ThisWay(error)) => {
                    tracing::debug!(%error, "waiting for the direct way");
                    direct.await.map(|wire| (wire, Way::Direct))
                }
            },
        },
    };
    match tunnel.await {
        Ok(wire) => Ok((wire, Way::Tunnel)),
        Err(Failed::ForGood(error)) => Err(error),
        Err(Failed::ThisWay(error)) => {
            tracing::debug!(%error, "no way by the tunnel either");
            Err(failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    /// How an attempt goes: after so many milliseconds, well or not.
    #[derive(Clone, Copy)]
    enum Goes {
        Well(u64),
        Badly(u64),
        ForGood(u64),
    }
    use Goes::{Badly, ForGood, Well};

    async fn direct(goes: Goes) -> io::Result<()> {
        match goes {
            Well(millis) => {
                sleep(Duration::from_millis(millis)).await;
                Ok(())
            }
            Badly(millis) | ForGood(millis) => {
                sleep(Duration::from_millis(millis)).await;
                Err(io::Error::other("direct"))
            }
        }
    }

    async fn tunnel(goes: Goes) -> Result<(), Failed> {
        let error = || io::Error::other("tunnel");
        match (goes, direct(goes).await) {
            (_, Ok(())) => Ok(()),
            (ForGood(_), _) => Err(Failed::ForGood(error())),
            _ => Err(Failed::ThisWay(error())),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_is_usable_wins_and_the_best_error_is_told() {
        let head = 200;
        let cases = [
            // The direct way works: nothing else is tried.
            (Way::Direct, Well(150), Well(0), "Direct", 150),
            // It is slow, and wins nevertheless; or does not.
            (Way::Direct, Well(250), Well(100), "Direct", 250),
            (Way::Direct, Well(5000), Well(100), "Tunnel", head + 100),
            // It fails at once, or later than the tunnel takes: a refusal waits for nothing.
            (Way::Direct, Badly(1), Well(30), "Tunnel", 31),
            (Way::Direct, Badly(10_000), Well(30), "Tunnel", head + 30),
            (Way::Direct, Badly(250), Well(100), "Tunnel", head + 100),
            // Both fail.
            (Way::Direct, Badly(1), Badly(30), "direct", 31),
            (Way::Direct, Badly(1), ForGood(30), "tunnel", 31),
            (Way::Direct, Badly(10_000), ForGood(30), "tunnel", head + 30),
            (Way::Direct, Badly(10_000), Badly(30), "direct", 10_000),
            // The tunnel fails, the direct way is only slow.
            (Way::Direct, Well(5000), Badly(30), "Direct", 5000),
            (Way::Tunnel, Well(0), Well(300), "Tunnel", 300),
            (Way::Tunnel, Well(5), Badly(30), "Direct", 35),
            (Way::Tunnel, Well(5), ForGood(30), "tunnel", 30),
            (Way::Tunnel, Badly(5), Badly(30), "direct", 35),
        ];
        for (at, (first, directly, tunnelled, outcome, millis)) in cases.into_iter().enumerate() {
            let begun = Instant::now();
            let told = match reach(first, direct(directly), tunnel(tunnelled)).await {
                Ok(((), way)) => format!("{way:?}"),
                Err(error) => error.to_string(),
            };
            assert_eq!((told.as_str(), begun.elapsed()), (outcome, Duration::from_millis(millis)), "case {at}");
        }
    }
}
