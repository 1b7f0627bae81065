//! The controllers against a real API server in this process, over the memory store. A small task stands in for
//! scheduler and kubelet: it binds pods, makes them ready, and lets them end.

mod cluster;
mod deletion;
mod identity;
mod idle;
mod nodes;
mod protection;
mod quotas;
mod system;
mod workloads;
