//! `/healthz`, `/livez` and `/readyz`, with a path for every check and `?verbose`, as upstream.

use std::sync::Arc;

use http::Response;
use parking_lot::RwLock;

use super::body::Body;
use super::respond;
use crate::server::pipeline::query::Query;

/// One thing that must work. The error is for the log only.
pub type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

#[derive(Default)]
pub struct Health {
    checks: RwLock<Vec<(String, Scope, Check)>>,
}

/// Which of the endpoints a check belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All three.
    Live,
    /// `/readyz` and `/healthz`: may be false for a while without the process being broken.
    Ready,
}

impl Health {
    /// The checks are run in the order they were added.
    pub fn add(&self, name: &str, scope: Scope, check: Check) {
        self.checks.write().push((name.to_owned(), scope, check));
    }

    /// Answers `path`; `None` where it is no health path or names no check.
    pub fn respond(&self, path: &str, query: &Query) -> Option<Response<Body>> {
        let (root, one) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        if !matches!(root, "healthz" | "livez" | "readyz") {
            return None;
        }
        let checks = self.checks.read();
        let mut checks = checks.iter().filter(|(_, scope, _)| root != "livez" || *scope == Scope::Live);
        let one = one.trim_end_matches('/');
        if !one.is_empty() {
            let (_, _, check) = checks.find(|(name, ..)| name == one)?;
            return Some(match check() {
                Ok(()) => respond::text(200, "ok"),
                Err(why) => {
                    tracing::warn!(check = one, why, "health check failed");
                    respond::text(500, format!("internal server error: {why}\n"))
                }
            });
        }
        let excluded: Vec<&str> = query.all("exclude").collect();
        let mut lines = String::new();
        let mut failed = Vec::new();
        for (name, _, check) in checks {
            if excluded.contains(&name.as_str()) {
                lines.push_str(&format!("[+]{name} excluded: ok\n"));
                continue;
            }
            match check() {
                Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
                Err(why) => {
                    tracing::warn!(check = name, why, "health check failed");
                    lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
                    failed.push(name.as_str());
                }
            }
        }
        Some(if !failed.is_empty() {
            respond::text(500, format!("{lines}{root} check failed\n"))
        } else if query.find("verbose").is_some() {
            respond::text(200, format!("{lines}{root} check passed\n"))
        } else {
            respond::text(200, "ok")
        })
    }
}
