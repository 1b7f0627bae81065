//! Prometheus' text format 0.0.4, made from the OpenMetrics that a registry writes.

/// In 0.0.4 a counter's description has the name of its samples; there are no units, no types of 1.0.0 and no end mark,
/// and the bounds of buckets are written as short as they can be, as dashboards ask for them.
pub fn plain(open: &str) -> String {
    let mut out = String::with_capacity(open.len() + 1024);
    let mut help = None;
    for line in open.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            push_sample(&mut out, line);
            out.push('\n');
            continue;
        };
        match comment.split_once(' ') {
            // It comes before the type, which decides the name.
            Some(("HELP", rest)) => help = rest.split_once(' '),
            Some(("TYPE", rest)) => {
                let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                };
                if let Some((_, text)) = help.take() {
                    out.push_str(&format!("# HELP {name}{suffix} {text}\n"));
                }
                out.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            }
            _ => {}
        }
    }
    out
}

/// `le="1.0"` becomes `le="1"`.
fn push_sample(out: &mut String, line: &str) {
    let bound = line.split_once("{le=\"").and_then(|(name, rest)| Some((name, rest.split_once('"')?)));
    match bound.and_then(|(name, (bound, rest))| Some((name, bound.strip_suffix(".0")?, rest))) {
        Some((name, bound, rest)) => [name, "{le=\"", bound, "\"", rest].iter().for_each(|part| out.push_str(part)),
        None => out.push_str(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_by_their_samples_name() {
        let open = "# HELP a Some text.\n# TYPE a counter\na_total{x=\"# y\"} 1\n# HELP b B.\n# TYPE b gauge\n# UNIT b bytes\nb 2\n# EOF\n";
        let wanted = "# HELP a_total Some text.\n# TYPE a_total counter\na_total{x=\"# y\"} 1\n# HELP b B.\n# TYPE b gauge\nb 2\n";
        assert_eq!(plain(open), wanted);
    }

    #[test]
    fn bounds_are_short() {
        let open = "c_bucket{le=\"1.0\",x=\"2.0\"} 1\nc_bucket{le=\"0.5\"} 1\nc_bucket{le=\"+Inf\"} 2\n";
        assert_eq!(plain(open), open.replace("\"1.0\"", "\"1\""));
    }
}
