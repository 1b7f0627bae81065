//! `/healthz`, `/livez` and `/readyz`, with a path for every check, `?verbose` and `?exclude`, as upstream; and
//! what the ComponentStatuses tell of the control plane.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, Response};
use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::body::Body;
use super::{metrics, respond};
use crate::api::status;
use crate::server::pipeline::query::Query;

/// One thing that must work. The error is for the log and for who asks for this check alone.
pub type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The check that is always shown last.
pub const LAST: &str = "shutdown";

#[derive(Default)]
pub struct Health {
    checks: RwLock<Vec<(String, Scope, Check)>>,
    components: RwLock<Vec<(&'static str, Check)>>,
    outcomes: Outcomes,
}

type Labels<const N: usize> = [(&'static str, String); N];

/// How checks went that somebody asked for, under upstream's names.
#[derive(Default)]
struct Outcomes {
    last: Family<Labels<2>, Gauge>,
    counts: Family<Labels<3>, Counter>,
}

impl Outcomes {
    fn observe(&self, check: &str, root: &str, good: bool) {
        let (name, of) = (("name", check.to_owned()), ("type", root.to_owned()));
        let status = ("status", if good { "success" } else { "error" }.to_owned());
        self.last.get_or_create(&[name.clone(), of.clone()]).set(good.into());
        self.counts.get_or_create(&[name, of, status]).inc();
    }
}

/// Which of the endpoints a check belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All three.
    Live,
    /// `/readyz` only: may be false for a while without the process being broken.
    Ready,
}

/// A step of starting: its check fails until it is done.
#[derive(Clone, Default)]
pub struct Hook(Arc<AtomicBool>);

impl Hook {
    pub fn done(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn check(&self) -> Check {
        let done = self.0.clone();
        Arc::new(move || if done.load(Ordering::Acquire) { Ok(()) } else { Err("not finished".to_owned()) })
    }
}

impl Health {
    /// The checks are run in the order they were added.
    pub fn add(&self, name: &str, scope: Scope, check: Check) {
        let mut checks = self.checks.write();
        let at = checks.iter().position(|(name, ..)| name == LAST).unwrap_or(checks.len());
        checks.insert(at, (name.to_owned(), scope, check));
    }

    /// A check `poststarthook/<name>`, to be told when the step is done.
    pub fn hook(&self, name: &str) -> Hook {
        let hook = Hook::default();
        self.add(&format!("poststarthook/{name}"), Scope::Live, hook.check());
        hook
    }

    /// Something that `kubectl get componentstatuses` shows.
    pub fn add_component(&self, name: &'static str, check: Check) {
        self.components.write().push((name, check));
    }

    /// How the components are, by name.
    pub fn components(&self) -> Vec<(&'static str, Result<(), String>)> {
        let mut found: Vec<_> = self.components.read().iter().map(|(name, check)| (*name, check())).collect();
        found.sort_by_key(|(name, _)| *name);
        found
    }

    /// Every path that [`Self::respond`] answers.
    pub fn paths(&self) -> Vec<String> {
        let checks = self.checks.read();
        let of = |root: &str| {
            let mine = checks.iter().filter(|(_, scope, _)| root == "readyz" || *scope == Scope::Live);
            let mut paths = vec![format!("/{root}")];
            paths.extend(mine.map(|(name, ..)| format!("/{root}/{name}")));
            paths
        };
        ["healthz", "livez", "readyz"].into_iter().flat_map(of).collect()
    }

    /// Answers `path`; `None` where it is no health path or names no check.
    pub fn respond(&self, path: &str, query: &Query) -> Option<Response<Body>> {
        let (root, one) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        if !matches!(root, "healthz" | "livez" | "readyz") {
            return None;
        }
        let checks = self.checks.read();
        let mut checks = checks.iter().filter(|(_, scope, _)| root == "readyz" || *scope == Scope::Live);
        match one.trim_end_matches('/') {
            "" => Some(all(root, checks, query, &self.outcomes)),
            one => checks.find(|(name, ..)| name == one).map(|(_, _, check)| single(one, check)),
        }
    }

    /// `/metrics/slis`.
    pub fn metrics(&self, headers: &HeaderMap) -> status::Result<Response<Body>> {
        let mut registry = Registry::default();
        let Outcomes { last, counts } = &self.outcomes;
        registry.register(
            "kubernetes_healthcheck",
            "The result of each check, when it was last asked for",
            last.clone(),
        );
        registry.register("kubernetes_healthchecks", "The results of each check so far", counts.clone());
        metrics::shown(&registry, headers)
    }
}

fn single(name: &str, check: &Check) -> Response<Body> {
    match check() {
        Ok(()) => respond::text(200, "ok"),
        Err(why) => {
            tracing::debug!(check = name, why, "health check failed");
            respond::text(500, format!("internal server error: {why}\n"))
        }
    }
}

fn all<'a>(
    root: &str,
    checks: impl Iterator<Item = &'a (String, Scope, Check)>,
    query: &Query,
    outcomes: &Outcomes,
) -> Response<Body> {
    let mut excluded: Vec<&str> = query.all("exclude").collect();
    let mut lines = String::new();
    let mut failed = false;
    for (name, _, check) in checks {
        if excluded.contains(&name.as_str()) {
            excluded.retain(|unwanted| unwanted != name);
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
            continue;
        }
        let outcome = check();
        outcomes.observe(name, root, outcome.is_ok());
        match outcome {
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(why) => {
                tracing::debug!(check = name, why, "health check failed");
                // Everybody may see this page; the reason is for those who ask for the check itself.
                lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
                failed = true;
            }
        }
    }
    if !excluded.is_empty() {
        excluded.sort_unstable();
        let quoted: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
        let quoted = quoted.join(",");
        lines.push_str(&format!("warn: some health checks cannot be excluded: no matches for {quoted}\n"));
    }
    if failed {
        respond::text(500, format!("{lines}{root} check failed\n"))
    } else if query.find("verbose").is_some() {
        respond::text(200, format!("{lines}{root} check passed\n"))
    } else {
        respond::text(200, "ok")
    }
}
