//! The machinery of everything that watches the API and acts: shared caches, the controller loop,
//! the read-your-writes barrier, events and time.
//!
//! Controllers, the scheduler and the agent are built on it. It speaks the API only through a
//! `kube::Client` and cannot tell whether that is in-process or HTTPS; it never polls.

pub mod backoff;
pub mod clock;
mod context;
mod controller;
pub mod events;
mod index;
mod informer;
pub mod memory;
pub mod metrics;
pub mod relist;

pub use backoff::Backoff;
pub use context::{Context, Env, Writer};
pub use controller::{Action, Controller, Error, Key, Options, Watches, run};
pub use index::Index;
pub use informer::{Cached, Change, Changes, Informer, Informers};
