//! The API server as its clients see it: in-process over the memory store, one file per verb, and
//! over a real TLS socket.

mod admission;
mod audit;
mod authorization;
mod certificates;
mod cluster;
mod deadline;
mod flow;

mod fuzz;
mod identity;
mod kinds;
mod kubectl;
mod nodes;
mod observe;
mod openapi;
mod pods;
mod policies;
mod quota;
mod representations;
mod rules;
mod subresources;
mod tunnel;
mod verbs;
mod wire;
