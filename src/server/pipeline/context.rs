//! What every step of a request knows: who asks, and for which object of which kind.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::user::User;
use crate::server::authorization::{Authorizer, Decision, RequestInfo};
use crate::server::strategy::Kind;

/// A kind: built in (and then `'static`) or defined at run time by a CRD.
#[derive(Clone)]
pub enum KindRef {
    BuiltIn(&'static dyn Kind),
    Custom(Arc<dyn Kind>),
}

impl Deref for KindRef {
    type Target = dyn Kind;
    fn deref(&self) -> &(dyn Kind + 'static) {
        match self {
            Self::BuiltIn(kind) => *kind,
            Self::Custom(kind) => kind.as_ref(),
        }
    }
}

/// The annotations of a request's audit event.
pub type Annotations = Arc<Mutex<BTreeMap<String, String>>>;

/// What the writes of a request are counted by.
#[derive(Clone)]
pub struct Writes {
    pub count: Counter,
    pub durations: Histogram,
}

/// One request, after routing.
pub struct Context {
    pub user: Arc<User>,
    pub kind: KindRef,
    /// Empty for a cluster-scoped kind and for all namespaces.
    pub namespace: String,
    /// Empty for collections and creations.
    pub name: String,
    /// Empty for the object itself.
    pub subresource: String,
    /// As the request was authorized: an update may be a `patch`, and a creation too.
    pub verb: String,
    /// The client's `User-Agent`: names the field manager where none is given.
    pub agent: String,
    /// Answers admission's own questions about the user; without it nothing more is allowed.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    warnings: Mutex<Vec<String>>,
    /// What admission wants the audit log to know.
    pub annotations: Annotations,
    pub writes: Option<Writes>,
}

impl Context {
    pub fn new(user: Arc<User>, kind: KindRef, namespace: &str, name: &str) -> Self {
        Self {
            user,
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: String::new(),
            verb: String::new(),
            agent: String::new(),
            authorizer: None,
            warnings: Mutex::default(),
            annotations: Annotations::default(),
            writes: None,
        }
    }

    /// The same request for one object of the collection.
    #[must_use]
    pub fn named(&self, namespace: &str, name: &str) -> Self {
        let mut one = Self::new(self.user.clone(), self.kind.clone(), namespace, name);
        one.verb.clone_from(&self.verb);
        one.agent.clone_from(&self.agent);
        one.authorizer.clone_from(&self.authorizer);
        one.annotations = self.annotations.clone();
        one.writes.clone_from(&self.writes);
        one
    }

    /// Whether the user may do something beyond what was asked.
    pub async fn decide(&self, asked: &RequestInfo) -> Decision {
        match &self.authorizer {
            Some(authorizer) => authorizer.authorize(&self.user, asked).await,
            None => Decision::Deny(String::new()),
        }
    }

    /// The store was asked to write something, and has answered.
    pub(super) fn wrote(&self, since: Instant) {
        if let Some(Writes { count, durations }) = &self.writes {
            count.inc();
            durations.observe(since.elapsed().as_secs_f64());
        }
    }

    /// The store key of the object named in the path.
    pub fn key(&self) -> String {
        self.kind.meta().key(&self.namespace, &self.name)
    }

    /// Everything of this kind in the request's namespace (or in all).
    pub fn prefix(&self) -> String {
        let meta = self.kind.meta();
        match meta.namespaced && !self.namespace.is_empty() {
            true => format!("{}{}/", meta.prefix(), self.namespace),
            false => meta.prefix(),
        }
    }

    /// Adds a `Warning` header to the answer; repeats are dropped.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Adds an annotation to the request's audit event; the first word counts.
    pub fn annotate(&self, key: impl Into<String>, value: impl Into<String>) {
        self.annotations.lock().entry(key.into()).or_insert_with(|| value.into());
    }
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock())
    }
}
