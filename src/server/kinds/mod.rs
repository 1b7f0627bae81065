//! The built-in kinds, one file each: defaults, validation, selectable fields, table columns.
//! A kind never does I/O and never looks at another kind.

/// The methods of a kind with a `spec` and a `status` that only `/status` changes. Upstream's is a struct that is there
/// from the beginning: an empty one, or what is given.
macro_rules! spec_and_status {
    () => {
        crate::server::kinds::spec_and_status!(Default::default());
    };
    ($first:expr) => {
        fn prepare_create(&self, object: &mut Self::Kind) {
            object.status = Some($first);
        }
        fn prepare_update(&self, new: &mut Self::Kind, old: &Self::Kind) {
            new.status = old.status.clone();
        }
        fn prepare_status(&self, new: &mut Self::Kind, old: &Self::Kind) {
            new.spec = old.spec.clone();
        }
        fn same_spec(&self, new: &Self::Kind, old: &Self::Kind) -> bool {
            new.spec == old.spec
        }
    };
}

/// The methods of a kind with a `spec` and no `status`.
macro_rules! spec_only {
    () => {
        fn same_spec(&self, new: &Self::Kind, old: &Self::Kind) -> bool {
            new.spec == old.spec
        }
    };
}

pub(crate) use {spec_and_status, spec_only};

pub mod admissionregistration;
pub mod apiextensions;
pub mod apiregistration;
pub mod apps;
pub mod authentication;
pub mod authorization;
pub mod autoscaling;
pub mod batch;
pub mod cell;
pub mod certificates;
pub mod closed;
pub mod coordination;
pub mod core;
pub mod defaults;
pub mod discovery;
pub mod event;
pub mod events;
pub mod flowcontrol;
pub mod networking;
pub mod node;
pub mod policy;
pub mod rbac;
pub mod resource;
pub mod scheduling;
pub mod storage;

#[cfg(test)]
mod closed_tests;
#[cfg(test)]
mod single_tests;
#[cfg(test)]
pub(crate) mod table_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod warnings_tests;
