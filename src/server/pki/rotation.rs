//! Reissues certificates before two thirds of their life and when what they must name has changed, and takes up what
//! `orch certificate rotate` wrote, without a restart.
//!
//! *Guarantees.* Who is connected stays connected; every handshake after a renewal sees the new certificate. A renewal
//! that fails leaves the old certificates in use and is tried again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{Live, Pki, PkiOptions};
use crate::lifecycle::{Component, StartError};

/// The wall clock may jump and does not pass while the machine sleeps, as timers do: look at it at least so often.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Before a renewal that failed is tried again.
const AGAIN: Duration = Duration::from_secs(600);
/// A CA that ends within this is told of: the cluster has to be given a new one by hand.
const CA_WARNING: jiff::SignedDuration = jiff::SignedDuration::from_hours(365 * 24);

/// What the owner of the process adds.
pub struct Hooks {
    pub now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// After a renewal: writes what holds a copy of a certificate.
    pub renewed: Box<dyn Fn(&Pki) + Send + Sync>,
    /// The CA ends in so many days.
    pub ca_ends: Box<dyn Fn(i64) + Send + Sync>,
}

pub struct Rotation {
    work: Option<Work>,
    wake: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

/// What the certificates must name, whenever it is asked: addresses change.
pub type Names = Box<dyn Fn() -> PkiOptions + Send + Sync>;

struct Work {
    dir: PathBuf,
    options: Names,
    live: Live,
    hooks: Hooks,
}

impl Rotation {
    /// `pki` is what was loaded from `dir` with `options`.
    pub fn new(dir: PathBuf, options: Names, pki: &Pki, hooks: Hooks) -> Self {
        let work = Work { dir, options, live: pki.live.clone(), hooks };
        Self { work: Some(work), wake: Arc::default(), task: None }
    }

    /// Looks at the files and the names at once whenever it is notified.
    pub fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }
}

impl Work {
    async fn run(self, wake: Arc<Notify>) {
        loop {
            let wait = match self.renew() {
                Ok(due) => Duration::try_from(due.duration_since((self.hooks.now)())).unwrap_or(AGAIN),
                Err(error) => {
                    tracing::warn!(%error, "certificates were not renewed; those in use stay");
                    AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait.min(LONGEST)) => {}
                () = wake.notified() => {}
            }
        }
    }

    /// Puts what is due, or lies there anew, into use; gives when the next is due.
    fn renew(&self) -> Result<Timestamp, crate::keys::KeyError> {
        let now = (self.hooks.now)();
        let pki = Pki::load_at(&self.dir, &(self.options)(), now)?;
        if self.live.take(&pki)? {
            tracing::info!("certificates were renewed");
            (self.hooks.renewed)(&pki);
        }
        let left = pki.ca_ends.duration_since(now);
        if left < CA_WARNING {
            let days = left.as_hours() / 24;
            tracing::warn!(days, "the cluster's CA ends; certificates cannot outlive it");
            (self.hooks.ca_ends)(days);
        }
        Ok(pki.renew_at)
    }
}

#[async_trait]
impl Component for Rotation {
    fn name(&self) -> &'static str {
        "certificates"
    }

    async fn start(&mut self) -> Result<(), StartError> {
        self.task = self.work.take().map(|work| tokio::spawn(work.run(self.wake.clone())));
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // It ends by being aborted.
            let _ = task.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;

    fn options() -> PkiOptions {
        PkiOptions {
            sans: Vec::new(),
            node_name: "n1".to_owned(),
            node_ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            service_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            cluster_domain: "cluster.local".to_owned(),
        }
    }

    /// Hooks that send the admin's certificate and the days that the CA has left.
    fn hooks(
        now: impl Fn() -> Timestamp + Clone + Send + Sync + 'static,
    ) -> (Hooks, mpsc::UnboundedReceiver<(Timestamp, String)>, mpsc::UnboundedReceiver<i64>) {
        let (renewed, renewals) = mpsc::unbounded_channel();
        let (ca, warnings) = mpsc::unbounded_channel();
        let clock = now.clone();
        let hooks = Hooks {
            now: Box::new(now),
            renewed: Box::new(move |pki| renewed.send((clock(), pki.admin.cert_pem.clone())).unwrap()),
            ca_ends: Box::new(move |days| ca.send(days).unwrap()),
        };
        (hooks, renewals, warnings)
    }

    const DAY: i64 = 86_400;

    #[tokio::test(start_paused = true)]
    async fn certificates_are_renewed_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let (begin, started) = (Timestamp::now(), Instant::now());
        let now = move || begin + jiff::SignedDuration::try_from(started.elapsed()).unwrap();
        let pki = Pki::load_at(dir.path(), &options(), begin).unwrap();
        let (hooks, mut renewals, mut warnings) = hooks(now);
        let mut rotation = Rotation::new(dir.path().to_owned(), Box::new(options), &pki, hooks);
        rotation.start().await.unwrap();
        let mut last = (begin, pki.admin.cert_pem.clone());
        for _ in 0..2 {
            let next = renewals.recv().await.unwrap();
            let age = (next.0.as_second() - last.0.as_second()) / DAY;
            assert!((200..243).contains(&age), "after {age} days");
            assert_ne!(next.1, last.1);
            last = next;
        }
        assert!(warnings.try_recv().is_err());
        rotation.stop().await;
    }

    #[tokio::test]
    async fn a_ca_near_its_end_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let long_ago = Timestamp::now() - jiff::SignedDuration::from_hours(24 * (365 * 9 + 10));
        let pki = Pki::load_at(dir.path(), &options(), long_ago).unwrap();
        let (hooks, _renewals, mut warnings) = hooks(Timestamp::now);
        let mut rotation = Rotation::new(dir.path().to_owned(), Box::new(options), &pki, hooks);
        rotation.start().await.unwrap();
        assert!((353..=355).contains(&warnings.recv().await.unwrap()));
        rotation.stop().await;
    }

    #[tokio::test]
    async fn a_new_address_is_certified_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::load_or_create(dir.path(), &options()).unwrap();
        let (hooks, mut renewals, _warnings) = hooks(Timestamp::now);
        let (address, addresses) = tokio::sync::watch::channel(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let names = move || PkiOptions { node_ips: vec![*addresses.borrow()], ..options() };
        let mut rotation = Rotation::new(dir.path().to_owned(), Box::new(names), &pki, hooks);
        rotation.start().await.unwrap();
        address.send_replace([192, 0, 2, 9].into());
        rotation.wake().notify_one();
        assert_eq!(renewals.recv().await.unwrap().1, pki.admin.cert_pem, "only what names it is made anew");
        let shown = Pki::load_or_create(dir.path(), &PkiOptions { node_ips: vec![[192, 0, 2, 9].into()], ..options() });
        let shown = shown.unwrap();
        assert_ne!(shown.api_server.cert_pem, pki.api_server.cert_pem);
        assert_eq!(*pki.live.shown.lock(), shown.shown());
        rotation.stop().await;
    }

    #[tokio::test]
    async fn what_is_written_by_others_is_taken_up_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::load_or_create(dir.path(), &options()).unwrap();
        let (hooks, mut renewals, _warnings) = hooks(Timestamp::now);
        let mut rotation = Rotation::new(dir.path().to_owned(), Box::new(options), &pki, hooks);
        rotation.start().await.unwrap();
        crate::server::pki::inspect::rotate(dir.path()).unwrap();
        rotation.wake().notify_one();
        assert_ne!(renewals.recv().await.unwrap().1, pki.admin.cert_pem);
        rotation.stop().await;
    }
}
