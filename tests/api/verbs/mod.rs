//! One file per verb.

mod create;
mod delete;
mod list;
mod patch;
mod update;
mod watch;
