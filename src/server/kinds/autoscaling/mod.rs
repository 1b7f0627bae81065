//! Kinds of autoscaling.

mod annotations;
pub mod hpa_v1;
pub mod hpa_v2;
pub mod scale;
mod table;
mod validate;

#[cfg(test)]
mod tests;
