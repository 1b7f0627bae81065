//! The options of containerd's runc shim, as its protocol buffer `containerd.runc.v1.Options` has them; the
//! client crate does not carry that one.

use std::path::Path;

use prost::Message;
use prost_types::Any;

#[derive(Clone, PartialEq, Message)]
struct RuncOptions {
    /// Where runc keeps its state.
    #[prost(string, tag = "7")]
    root: String,
}

/// `root`: where runc keeps its state; `None` means runc's own default.
pub(super) fn runc(root: Option<&Path>) -> Any {
    let root = root.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    Any { type_url: "containerd.runc.v1.Options".to_owned(), value: RuncOptions { root }.encode_to_vec() }
}
