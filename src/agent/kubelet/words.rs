//! Upstream's wording, where several files of the kubelet need the same sentence.

use super::model::PodId;

/// Go's `time.Duration.String` for whole seconds: `10s`, `1m20s`, `5m0s`.
pub fn go_seconds(seconds: u32) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

pub fn crash_loop(seconds: u32, container: &str, pod: &PodId) -> String {
    format!("back-off {} restarting failed container={container} pod={pod}", go_seconds(seconds))
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_read_as_go_prints_them() {
        let shown: Vec<_> = [10, 80, 160, 300, 3605].into_iter().map(super::go_seconds).collect();
        assert_eq!(shown, ["10s", "1m20s", "2m40s", "5m0s", "1h0m5s"]);
    }
}
