//! orch: a complete Kubernetes in one executable. This file is the map of the house; ARCHITECTURE.md
//! tells how the rooms work together and `tests/tidy.rs` checks who may import whom.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod agent;
pub mod api;
pub mod client;
pub mod cmd;
pub mod keys;
pub mod lifecycle;
pub mod net;
pub mod reconcile;
pub mod server;
pub mod store;
