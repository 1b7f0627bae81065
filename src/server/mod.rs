//! The control plane: API server, controllers and scheduler, as tasks of one process.

pub mod admission;
pub mod authorization;
pub mod bootstrap_tokens;
pub mod catalog;
pub mod controllers;
pub mod discovery;
pub mod encryption;
pub mod http;
pub mod kinds;
pub mod openapi;
pub mod pipeline;
pub mod pki;
pub mod scheduler;
pub mod service_accounts;
pub mod strategy;
pub mod subresource;
pub mod tunnel;
pub mod validation;
