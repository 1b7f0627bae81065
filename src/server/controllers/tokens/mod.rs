//! Secrets that are tokens: those of ServiceAccounts are filled, those of joining machines are signed with and
//! removed when they expire.

pub mod cleaner;
pub mod service_account;
pub mod signer;
pub mod uses;
