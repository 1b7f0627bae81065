//! One file per verb.

mod create;
mod delete;
mod list;
mod update;
mod watch;
