//! The whole of orch on real containerd, runc, nftables and kubectl. Every test has a host of its own.

#[path = "../support/mod.rs"]
mod support;

mod images;
mod install;
mod kubectl;
mod nodes;
mod own_kubectl;
mod pods;
mod resilience;
mod streams;
mod uninstall;
mod verbs;
mod workloads;
