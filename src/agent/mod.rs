//! The node agent: the kubelet and what it stands on. Speaks only the API; never the store or the server.

pub mod dns;
pub mod images;
pub mod kubelet;
pub mod proxy;
pub mod runtime;
pub mod services;
