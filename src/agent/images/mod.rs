//! Images: names, archives, registries, and the one built in. What does not depend on a
//! particular runtime lives here; [`super::runtime::containerd`] stores and unpacks.

pub mod archive;
pub mod builtin;
pub mod manifest;
pub mod reference;
pub mod registry;
