//! Keeps a member's certificates: renews each before two thirds of its life, and the serving certificate also when the
//! node's names change. `orch certificate rotate` wakes it by a signal.
//!
//! *Guarantees.* The key stays, because the cluster knows the node by it. What cannot be renewed stays in use and is
//! asked for again, less and less often; connections that are open are never cut.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kube::Client;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::failure::RequestError;
use super::request::{self, Kind, Wish};
use super::{CLIENT, Member, SERVING};
use crate::keys::{self, Files, Pair, Renewable};
use crate::lifecycle::{Component, StartError};

/// The wall clock may jump and does not pass while the machine sleeps, as timers do: look at it at least so often.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(600);
/// A certificate whose whole life is short is not asked for in a loop.
const SOONEST: Duration = Duration::from_secs(60);

/// The names and addresses under which the kubelet's port is reached; they may change.
pub type Names = watch::Receiver<Vec<String>>;

/// One certificate and what it is needed for.
struct Leaf {
    kind: Kind,
    client: Client,
    node_name: String,
    key_pem: String,
    file: PathBuf,
    live: Arc<Renewable>,
    now: Mutex<Option<Pair>>,
    names: Option<Names>,
    /// How often renewing failed: of the client's, and of the serving one.
    failures: Arc<[AtomicU64; 2]>,
}

pub struct Renewal {
    leaves: Vec<Arc<Leaf>>,
    failures: Arc<[AtomicU64; 2]>,
    wake: Arc<Wake>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Rings at every leaf.
#[derive(Default)]
struct Wake {
    client: Notify,
    serving: Notify,
}

impl Wake {
    fn of(&self, kind: Kind) -> &Notify {
        match kind {
            Kind::Client => &self.client,
            Kind::Serving => &self.serving,
        }
    }
}

impl Renewal {
    /// `dir` is where the member keeps its certificates.
    pub fn new(member: &Member, node_name: &str, dir: &std::path::Path, names: Names) -> Self {
        let failures = Arc::<[AtomicU64; 2]>::default();
        let leaf = |kind, name: &str, live: &Arc<Renewable>, names| {
            let file = Files::new(dir, name).cert;
            let kept = keys::read(&file).ok().flatten().filter(|cert| super::is_for(cert, &member.key_pem));
            let now = kept.map(|cert_pem| Pair { cert_pem, key_pem: member.key_pem.clone() });
            Arc::new(Leaf {
                kind,
                client: member.client.clone(),
                node_name: node_name.to_owned(),
                key_pem: member.key_pem.clone(),
                file,
                live: live.clone(),
                now: Mutex::new(now),
                names,
                failures: failures.clone(),
            })
        };
        let leaves = vec![
            leaf(Kind::Client, CLIENT, &member.live_client, None),
            leaf(Kind::Serving, SERVING, &member.live_serving, Some(names)),
        ];
        Self {
            leaves,
            failures: failures.clone(),
            wake: Arc::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// How often renewing failed: of the client's certificate, and of the serving one.
    pub fn failures(&self) -> Arc<[AtomicU64; 2]> {
        self.failures.clone()
    }

    /// Called, it has both certificates made anew at once.
    pub fn rotate(&self) -> impl Fn() + Send + Sync + 'static {
        let wake = self.wake.clone();
        move || {
            wake.client.notify_one();
            wake.serving.notify_one();
        }
    }
}

impl Leaf {
    fn names(&self) -> Vec<String> {
        self.names.as_ref().map(|names| names.borrow().clone()).unwrap_or_default()
    }

    /// How long the certificate is good as it is.
    fn due(&self, now: Timestamp) -> Duration {
        let held = self.now.lock();
        let Some(pair) = held.as_ref().filter(|pair| keys::same_names(&pair.cert_pem, &self.names())) else {
            return Duration::ZERO;
        };
        Duration::try_from(pair.times().1.duration_since(now)).unwrap_or_default()
    }

    async fn keep(self: Arc<Self>, wake: Arc<Wake>) {
        let mut retry = FIRST_RETRY;
        let mut wait = self.due(Timestamp::now());
        loop {
            if !wait.is_zero() {
                tokio::select! {
                    () = self.ripe(wait) => {}
                    () = wake.of(self.kind).notified() => {}
                    () = changed(self.names.clone(), self.names()) => {}
                }
            }
            match self.renew().await {
                Ok(()) => {
                    retry = FIRST_RETRY;
                    wait = self.due(Timestamp::now()).max(SOONEST);
                }
                Err(error) => {
                    self.failures[self.kind as usize].fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(kind = ?self.kind, "the node's certificate was not renewed: {error}");
                    wait = retry;
                    retry = (retry * 2).min(LONGEST_RETRY);
                }
            }
        }
    }

    /// Waits, and then for as long as the certificate is still good.
    async fn ripe(&self, mut wait: Duration) {
        while !wait.is_zero() {
            tokio::time::sleep(wait.min(LONGEST)).await;
            wait = self.due(Timestamp::now());
        }
    }

    async fn renew(&self) -> Result<(), RequestError> {
        let names = self.names();
        let wish = Wish { kind: self.kind, node_name: &self.node_name, names: &names, key_pem: &self.key_pem };
        // A request for names that are no more the node's would wait for ever.
        let obtained = tokio::select! {
            obtained = request::obtain(&self.client, &wish) => obtained?,
            () = changed(self.names.clone(), names.clone()) => return Err(RequestError::Superseded),
        };
        let pair = Pair { cert_pem: obtained, key_pem: self.key_pem.clone() };
        keys::write_private(&self.file, &pair.cert_pem)?;
        self.live.replace(&pair)?;
        tracing::info!(kind = ?self.kind, "the node has a new certificate");
        *self.now.lock() = Some(pair);
        Ok(())
    }
}

/// Ends when the names are no more `known`; never where there are none.
async fn changed(names: Option<Names>, known: Vec<String>) {
    if let Some(mut names) = names
        && names.wait_for(|names| *names != known).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

#[async_trait]
impl Component for Renewal {
    fn name(&self) -> &'static str {
        "certificates"
    }

    async fn start(&mut self) -> Result<(), StartError> {
        for leaf in self.leaves.drain(..) {
            let keeping = leaf.keep(self.wake.clone());
            self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(keeping));
        }
        Ok(())
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
