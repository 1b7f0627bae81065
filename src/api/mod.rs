//! The wire vocabulary of Kubernetes: names of kinds, objects, errors, selectors, quantities and
//! patches. Pure data and pure functions: no I/O, and nothing of the other rooms.

pub mod bootstrap_token;
pub mod claim;
pub mod cron;
pub mod csr;
pub mod duration;
pub mod encoding;
pub mod expand;
pub mod exposition;
pub mod field;
pub mod go_json;
pub mod go_text;
pub mod gvk;
pub mod hex;
pub mod json_text;
pub mod jsonpath;
pub mod names;
pub mod object;
pub mod patch;
pub mod pod;
pub mod protobuf;
pub mod quantity;
pub mod quota;
pub mod reading;
pub mod references;
pub mod requests;
pub mod schema;
pub mod selector;
pub mod status;
pub mod transport;
pub mod tunnel;
