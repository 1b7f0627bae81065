//! Secrets that are tokens: those of ServiceAccounts are filled, those of joining machines are signed with and
//! removed when they expire, those that nobody uses any more go.

pub mod cleaner;
pub mod legacy;
pub mod service_account;
pub mod signer;
pub mod uses;
