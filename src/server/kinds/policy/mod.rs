//! Kinds of policy.

pub mod pod_disruption_budget;

#[cfg(test)]
mod tests;
