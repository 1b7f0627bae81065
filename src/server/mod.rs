//! The control plane: API server, controllers and scheduler, as tasks of one process.

pub mod catalog;
pub mod controllers;
pub mod kinds;
pub mod pki;
pub mod scheduler;
pub mod strategy;
