//! The network against the real kernel. Needs root: every test makes network namespaces of its own, in which
//! it is the host, and removes them. Without root the tests fail; they are never skipped.

mod api;
mod bulk;
mod dns;
mod doctor;
mod firewalls;
mod links;
mod many;
mod node_address;
mod overlay;
mod pod_network;
mod proxy;
mod support;
mod two_nodes;
