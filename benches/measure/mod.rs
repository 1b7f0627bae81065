//! What all benchmarks say and look at.
#![allow(dead_code, reason = "no benchmark uses all of it")]

use std::time::Duration;

/// One line of the table: what, the budget, what was measured.
pub fn row(what: &str, budget: &str, measured: &str) {
    println!("{what:<44} {budget:>22} {measured:>34}");
}

pub fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * share) as usize]
}

/// What a process holds of the machine's memory, in KiB. This one is `self`.
pub fn resident(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The processor time that a process has had so far, to a hundredth of a second.
pub fn processor_time(pid: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name, which may hold anything, come the state and ten numbers before the two that are wanted.
    let numbers = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    Duration::from_millis(numbers.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}
