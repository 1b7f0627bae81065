//! Kinds of the core group.

pub mod configmap;
