//! Kinds of apiextensions.k8s.io. Paths in errors are those of upstream's internal form, which holds what all versions
//! have in common once, above them.

pub mod custom_resource_definition;
mod declared;
mod defaults;
mod expressions;
mod rules;
mod schema;
mod structural;
mod version;

#[cfg(test)]
mod tests;
