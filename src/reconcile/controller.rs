//! The controller trait and the loop that drives one.
//!
//! *Guarantees.* A key is never reconciled twice at once, nor before the caches have seen what its last
//! run wrote. A change that arrives meanwhile is not lost: the key runs again. A failure or a
//! panic is retried with exponential back-off. Stopping waits for the keys that are running.
//!
//! *Assumptions.* Reconciling is level-triggered: a key says which object to look at, never what happened.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt::Debug;
use std::future::poll_fn;
use std::hash::Hash;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream, StreamExt};
use kube::Resource;
use kube::runtime::scheduler::{ScheduleRequest, Scheduler, scheduler};
use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::context::{Context, Env};
use super::informer::{Cached, Change, Informer};
use super::metrics::Queue;

/// The usual key: an object's namespace (empty where it has none) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

/// What is to happen to the key after a run that did not fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    again: Option<Duration>,
}

impl Action {
    /// Nothing, until something changes.
    pub fn done() -> Self {
        Self { again: None }
    }
    /// Another run when something is due, or earlier if something changes.
    pub fn after(delay: Duration) -> Self {
        Self { again: Some(delay) }
    }
    /// [`Self::after`] where there is a delay.
    pub fn maybe_after(delay: Option<Duration>) -> Self {
        Self { again: delay }
    }
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The object says something that cannot be done; only a change of it helps.
    #[error("{0}")]
    Invalid(String),
    /// Some of several independent steps failed.
    #[error("{} steps failed, the first: {}", .0.len(), .0[0])]
    Several(Vec<Error>),
}

impl Error {
    /// The reason of the API's Status, if it is one.
    pub fn reason(&self) -> &str {
        match self {
            Self::Api(kube::Error::Api(status)) => &status.reason,
            _ => "",
        }
    }
    /// The text for conditions and events: the API's own message where there is one.
    pub fn message(&self) -> String {
        match self {
            Self::Api(kube::Error::Api(status)) => status.message.clone(),
            other => other.to_string(),
        }
    }
    /// All of them, or none.
    pub fn gather(mut errors: Vec<Error>) -> Result<(), Error> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }
}

/// One controller: what it watches, and what it does for a key.
#[async_trait]
pub trait Controller: Send + Sync + 'static {
    type Key: Clone + Debug + Eq + Hash + Send + Sync + 'static;

    /// Upstream's name of the controller, for logs, metrics and `--disable`.
    fn name(&self) -> &'static str;

    /// Declares every kind it reads and which keys a change of it concerns. Called once.
    fn watches(self: Arc<Self>, watches: &mut Watches<Self::Key>);

    /// Observes the caches, plans, executes.
    async fn reconcile(&self, cx: &Context, key: &Self::Key) -> Result<Action, Error>;
}

/// A key and when its turn is. Two of one key are the same: the queue keeps the earlier one.
#[derive(Clone, Debug)]
struct Due<Q> {
    key: Q,
    at: Instant,
}

impl<Q: PartialEq> PartialEq for Due<Q> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<Q: Eq> Eq for Due<Q> {}

impl<Q: Hash> Hash for Due<Q> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

type Request<Q> = ScheduleRequest<Due<Q>>;

fn due<Q>(key: Q, at: Instant) -> Request<Q> {
    ScheduleRequest { message: Due { key, at }, run_at: at }
}

/// The declarations of a controller's watches.
pub struct Watches<Q> {
    keys: mpsc::UnboundedSender<Request<Q>>,
    ready: Vec<BoxFuture<'static, ()>>,
}

impl<Q: Send + 'static> Watches<Q> {
    /// Reconciles the keys that `keys` finds concerned by a change. Reconciling begins when the cache is full.
    pub fn on<K: Cached, I: IntoIterator<Item = Q>>(
        &mut self,
        informer: &Informer<K>,
        keys: impl Fn(&Change<K>) -> I + Send + Sync + 'static,
    ) {
        let sender = self.keys.clone();
        informer.on_change(move |change| {
            for key in keys(change) {
                // The loop is the receiver; where it has ended nobody needs the key.
                let _ = sender.unbounded_send(due(key, Instant::now()));
            }
        });
        self.reads(informer);
    }

    /// Waits for a cache that is read but whose changes concern no key.
    pub fn reads<K: Cached>(&mut self, informer: &Informer<K>) {
        let informer = informer.clone();
        self.ready.push(async move { informer.wait_ready().await }.boxed());
    }

    /// Reconciles a key once at the start, and again when it says so.
    pub fn once(&mut self, key: Q) {
        let _ = self.keys.unbounded_send(due(key, Instant::now()));
    }

    /// Reconciles these keys whenever a value that is no object changes.
    pub fn on_value<T: Send + Sync + 'static>(&mut self, value: &watch::Receiver<T>, keys: impl IntoIterator<Item = Q>)
    where
        Q: Clone,
    {
        let (mut value, keys, add) = (value.clone(), keys.into_iter().collect::<Vec<_>>(), self.adder());
        // It ends with whoever tells the value.
        tokio::spawn(async move {
            while value.changed().await.is_ok() {
                keys.iter().cloned().for_each(&add);
            }
        });
    }

    /// Waits for something else before the first key.
    pub fn wait_for(&mut self, ready: BoxFuture<'static, ()>) {
        self.ready.push(ready);
    }

    /// A way to add keys from elsewhere.
    pub fn adder(&self) -> impl Fn(Q) + Clone + Send + Sync + 'static {
        let sender = self.keys.clone();
        move |key| {
            let _ = sender.unbounded_send(due(key, Instant::now()));
        }
    }
}

/// How a loop runs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Keys at once.
    pub workers: usize,
    pub first_backoff: Duration,
    pub longest_backoff: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { workers: 5, first_backoff: Duration::from_millis(5), longest_backoff: Duration::from_secs(60) }
    }
}

/// Runs a controller until `env.stop` is cancelled, then waits for the keys still running.
pub async fn run<C: Controller>(controller: Arc<C>, env: Env, options: Options) {
    let (keys, requests) = mpsc::unbounded();
    let mut watches = Watches { keys: keys.clone(), ready: Vec::new() };
    controller.clone().watches(&mut watches);
    let ready = futures::future::join_all(watches.ready);
    tokio::select! {
        () = env.stop.cancelled() => return,
        _ = ready => {}
    }
    let name = controller.name();
    let mut queue = pin!(scheduler(requests));
    let mut running = FuturesUnordered::new();
    let mut busy: HashSet<C::Key> = HashSet::new();
    let mut backoff = Backoff::new(options.first_backoff, options.longest_backoff);
    let counts = env.metrics.of(name);
    loop {
        let full = busy.len() >= options.workers;
        // Polled even when full: it takes requests in and so drops duplicates.
        let next = poll_fn(|cx| next_due(queue.as_mut(), &counts, |key| !full && !busy.contains(key), cx));
        tokio::select! {
            () = env.stop.cancelled() => break,
            Some((key, outcome)) = running.next() => {
                busy.remove(&key);
                let again = settle(name, &counts, &mut backoff, &key, outcome);
                if let Some(delay) = again {
                    let _ = keys.unbounded_send(due(key, Instant::now() + delay));
                }
            }
            Some(key) = next => {
                busy.insert(key.clone());
                running.push(start(controller.clone(), env.clone(), counts.clone(), key));
            }
        }
    }
    while running.next().await.is_some() {}
}

/// The next key that may run. Where there is none, every key that waits has been looked at, and so counted.
fn next_due<Q, R>(
    queue: Pin<&mut Scheduler<Due<Q>, R>>,
    counts: &Queue,
    may_run: impl Fn(&Q) -> bool + Unpin,
    cx: &mut TaskContext<'_>,
) -> Poll<Option<Q>>
where
    Q: Clone + Eq + Hash,
    R: Stream<Item = Request<Q>>,
{
    let waiting = Cell::new(0);
    let mut allowed = queue.hold_unless(|due: &Due<Q>| {
        waiting.set(waiting.get() + 1);
        may_run(&due.key)
    });
    match allowed.poll_next_unpin(cx) {
        Poll::Ready(Some(taken)) => {
            counts.taken(taken.at.elapsed());
            Poll::Ready(Some(taken.key))
        }
        Poll::Ready(None) => Poll::Ready(None),
        Poll::Pending => {
            counts.waiting(waiting.get());
            Poll::Pending
        }
    }
}

type Outcome = Option<Result<Action, Error>>;

/// Runs one key in a task of its own. The outcome is `None` where it panicked.
async fn start<C: Controller>(controller: Arc<C>, env: Env, counts: Queue, key: C::Key) -> (C::Key, Outcome) {
    let task = tokio::spawn({
        let key = key.clone();
        async move {
            let cx = Context::new(env.clone());
            let work = counts.work();
            let outcome = controller.reconcile(&cx, &key).await;
            drop(work);
            tokio::select! {
                () = env.stop.cancelled() => {}
                () = cx.barrier() => {}
            }
            outcome
        }
    });
    (key, task.await.ok())
}

/// Says when the key runs again.
fn settle<Q: Debug + Eq + Hash + Clone>(
    name: &'static str,
    counts: &Queue,
    backoff: &mut Backoff<Q>,
    key: &Q,
    outcome: Outcome,
) -> Option<Duration> {
    match outcome {
        Some(Ok(action)) => {
            backoff.succeeded(key);
            return action.again;
        }
        // Somebody else was faster: the cache will bring the news, and usually already has.
        Some(Err(error)) if matches!(error.reason(), "Conflict" | "NotFound") => {
            tracing::debug!(controller = name, ?key, %error, "will be tried again");
        }
        Some(Err(error)) => tracing::warn!(controller = name, ?key, %error, "will be tried again"),
        None => tracing::error!(controller = name, ?key, "panicked; will be tried again"),
    }
    counts.retried();
    Some(backoff.failed(key.clone()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kube::Client;
    use tokio::sync::mpsc as tokio_mpsc;

    use super::*;

    /// Fails or panics at first, then tells how often each key ran, and how many at once.
    struct Flaky {
        runs: AtomicUsize,
        at_once: AtomicUsize,
        done: tokio_mpsc::UnboundedSender<(u8, usize, usize)>,
    }

    #[async_trait]
    impl Controller for Flaky {
        type Key = u8;
        fn name(&self) -> &'static str {
            "flaky"
        }
        fn watches(self: Arc<Self>, watches: &mut Watches<u8>) {
            for _ in 0..10 {
                watches.once(1);
            }
        }
        async fn reconcile(&self, _: &Context, key: &u8) -> Result<Action, Error> {
            let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::task::yield_now().await;
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
            let _ = self.done.send((*key, run, at_once));
            match run {
                1 => Err(Error::Invalid("not yet".to_owned())),
                2 => panic!("at the second run"),
                3 => Ok(Action::after(Duration::from_secs(3600))),
                _ => Ok(Action::done()),
            }
        }
    }

    /// A client that nobody answers.
    fn no_client() -> Client {
        let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("nobody listens"))
        });
        Client::new(nobody, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn failures_panics_and_timers_run_the_key_again() {
        let (done, mut ran) = tokio_mpsc::unbounded_channel();
        let flaky = Flaky { runs: AtomicUsize::new(0), at_once: AtomicUsize::new(0), done };
        let env = Env::new(no_client());
        let (stop, metrics) = (env.stop.clone(), env.metrics.clone());
        let begun = Instant::now();
        let task = tokio::spawn(run(Arc::new(flaky), env, Options::default()));
        for run in 1..=4 {
            assert_eq!(ran.recv().await, Some((1, run, 1)));
        }
        assert!(begun.elapsed() >= Duration::from_secs(3600));
        stop.cancel();
        task.await.expect("the loop ends");
        assert_eq!(ran.recv().await, None, "ten additions were one key, and it ran no fifth time");
        let shown = shown(&metrics);
        for line in [
            "workqueue_adds_total{name=\"flaky\"} 4",
            "workqueue_retries_total{name=\"flaky\"} 2",
            "workqueue_depth{name=\"flaky\"} 0",
            "workqueue_queue_duration_seconds_count{name=\"flaky\"} 4",
            "workqueue_queue_duration_seconds_bucket{le=\"0.01\",name=\"flaky\"} 4",
            "workqueue_work_duration_seconds_count{name=\"flaky\"} 4",
        ] {
            assert!(shown.lines().any(|found| found == line), "{line} is not in\n{shown}");
        }
    }

    fn shown(metrics: &super::super::metrics::Metrics) -> String {
        let (mut registry, mut out) = (prometheus_client::registry::Registry::default(), String::new());
        metrics.register(&mut registry);
        prometheus_client::encoding::text::encode(&mut out, &registry).unwrap();
        out
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_wait_for_their_turn_are_counted() {
        let (keys, requests) = mpsc::unbounded();
        let mut queue = pin!(scheduler(requests));
        let (metrics, mut cx) =
            (super::super::metrics::Metrics::default(), TaskContext::from_waker(futures::task::noop_waker_ref()));
        let counts = metrics.of("busy");
        let soon = Instant::now() + Duration::from_secs(60);
        for request in [due(1, Instant::now()), due(1, Instant::now()), due(2, Instant::now()), due(3, soon)] {
            keys.unbounded_send(request).unwrap();
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(next_due(queue.as_mut(), &counts, |_: &u8| false, &mut cx).is_pending());
        assert!(shown(&metrics).contains("workqueue_depth{name=\"busy\"} 2\n"), "{}", shown(&metrics));
        assert_eq!(next_due(queue.as_mut(), &counts, |key| *key == 2, &mut cx), Poll::Ready(Some(2)));
        assert_eq!(next_due(queue.as_mut(), &counts, |key| *key == 1, &mut cx), Poll::Ready(Some(1)));
        assert!(next_due(queue.as_mut(), &counts, |_| true, &mut cx).is_pending());
        assert!(shown(&metrics).contains("workqueue_depth{name=\"busy\"} 0\n"));
        assert!(
            shown(&metrics).contains("workqueue_queue_duration_seconds_sum{name=\"busy\"} 4"),
            "{}",
            shown(&metrics)
        );
    }
}
