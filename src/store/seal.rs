//! How values lie on a disk, where they do not lie open. The store asks, and knows no cipher and no key.
//!
//! Only an engine with a disk calls it, once on the way out and once on the way in: values in memory, in
//! watches and in answers are always open.

/// Why a value cannot be sealed or opened, in one line for the person who has the key.
pub type SealError = String;

pub trait Seal: Send + Sync + 'static {
    /// What the disk is to hold of `value`; `None`: the value itself.
    fn seal(&self, key: &str, value: &[u8]) -> Result<Option<Vec<u8>>, SealError>;

    /// The value that [`Self::seal`] made `stored` of, today or with an older key; `None`: `stored` is the value.
    fn open(&self, key: &str, stored: &[u8]) -> Result<Option<Vec<u8>>, SealError>;

    /// Whether [`Self::seal`] would still write this kind of thing.
    fn is_current(&self, key: &str, stored: &[u8]) -> bool;
}

/// Everything lies open.
pub struct Unsealed;

impl Seal for Unsealed {
    fn seal(&self, _key: &str, _value: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        Ok(None)
    }
    fn open(&self, _key: &str, _stored: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        Ok(None)
    }
    fn is_current(&self, _key: &str, _stored: &[u8]) -> bool {
        true
    }
}
