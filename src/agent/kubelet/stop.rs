//! Stopping one container: preStop hook, TERM, grace, KILL. Ends when the worker has seen the exit; never decides
//! whether a container should stop.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::handler::{Outcome, Target};
use super::host::Host;
use crate::agent::runtime::Runtime;
use crate::reconcile::clock::until;
use crate::reconcile::events::EventType::Warning;

pub struct Job {
    pub pod: Arc<Pod>,
    pub target: Target,
    /// When KILL is sent; it may be moved while the container is stopping.
    pub deadline: watch::Receiver<Timestamp>,
    /// Cancelled when the container has ended.
    pub exited: CancellationToken,
}

/// Even when a hook has used all its time a container gets this long after TERM.
const LEAST: SignedDuration = SignedDuration::from_secs(2);
/// How long an exit may take after KILL before the worker is asked to look again.
const AFTER_KILL: Duration = Duration::from_secs(30);

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// Returns when the container is gone, or could not be killed in time.
pub async fn stop(host: &Host, mut job: Job) {
    let hook = job.target.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.clone());
    let immediately = *job.deadline.borrow() <= Timestamp::now();
    if let Some(hook) = hook.filter(|_| !immediately) {
        let run = job.target.hook(&hook);
        let outcome = tokio::select! {
            outcome = run => Some(outcome),
            () = passed(&mut job.deadline) => None,
            () = job.exited.cancelled() => return,
        };
        if let Some(Outcome::Failure(why) | Outcome::Unknown(why)) = outcome {
            let name = &job.target.container.name;
            host.event(&job.pod, Some(name), Warning, "FailedPreStopHook", format!("PreStopHook failed: {why}"));
        }
    }
    if !immediately {
        let signal = stop_signal(&*host.runtime, &job).await;
        send(host, &job, signal).await;
        let earliest = Timestamp::now() + LEAST;
        tokio::select! {
            () = job.exited.cancelled() => return,
            () = passed_not_before(&mut job.deadline, earliest) => {}
        }
    }
    send(host, &job, SIGKILL).await;
    let _ = tokio::time::timeout(AFTER_KILL, job.exited.cancelled()).await;
}

async fn send(host: &Host, job: &Job, signal: i32) {
    if let Err(error) = host.runtime.kill(&job.target.id, signal).await {
        tracing::debug!(id = job.target.id, signal, %error, "signal not delivered");
    }
}

async fn passed(deadline: &mut watch::Receiver<Timestamp>) {
    passed_not_before(deadline, Timestamp::MIN).await;
}

/// Waits for the deadline, wherever it is moved to.
async fn passed_not_before(deadline: &mut watch::Receiver<Timestamp>, earliest: Timestamp) {
    loop {
        let at = (*deadline.borrow_and_update()).max(earliest);
        let sleep = tokio::time::sleep(until(Timestamp::now(), at));
        tokio::select! {
            () = sleep => return,
            moved = deadline.changed() => if moved.is_err() {
                return tokio::time::sleep(until(Timestamp::now(), at)).await;
            },
        }
    }
}

/// The pod's own signal, else the image's, else TERM.
async fn stop_signal(runtime: &dyn Runtime, job: &Job) -> i32 {
    let lifecycle = job.target.container.lifecycle.as_ref();
    if let Some(signal) = lifecycle.and_then(|lifecycle| lifecycle.stop_signal.as_deref()).and_then(number) {
        return signal;
    }
    let image = runtime.image(job.target.container.image.as_deref().unwrap_or_default()).await;
    let signal = image.ok().flatten().and_then(|image| image.config.stop_signal);
    signal.as_deref().and_then(number).unwrap_or(SIGTERM)
}

/// A signal's number from `SIGTERM`, `TERM` or `15`.
fn number(name: &str) -> Option<i32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let upper = name.to_uppercase();
    let (base, offset) = match upper.strip_prefix("SIG").unwrap_or(&upper).split_once('+') {
        Some(("RTMIN", more)) => return Some(34 + more.parse::<i32>().ok()?),
        _ => (upper.strip_prefix("SIG").unwrap_or(&upper), 1),
    };
    NAMES.iter().position(|known| *known == base).and_then(|at| i32::try_from(at).ok()).map(|at| at + offset)
}

#[cfg(test)]
mod tests {
    #[test]
    fn signals_have_many_spellings() {
        assert_eq!(["SIGTERM", "QUIT", "9", "SIGRTMIN+3", "winch"].map(super::number), [15, 3, 9, 37, 28].map(Some));
        assert_eq!(super::number("NONSENSE"), None);
    }
}
