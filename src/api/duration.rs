//! Durations as people and Go write them: the AGE column, and the strings of `metav1.Duration`.
//!
//! Pure; callers bring the time.

use std::time::Duration;

use jiff::Timestamp;

/// kubectl's `HumanDuration`: two units at most, coarser as it grows.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 120 {
        return format!("{seconds}s");
    }
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    match () {
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => two(days, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{days}d"),
        () if hours < 24 * 365 * 8 => two(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

fn two(big: u64, big_unit: &str, small: u64, small_unit: &str) -> String {
    match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    }
}

/// The age of something at `now`; `<unknown>` without a time, `<invalid>` for one in the future. Up to two
/// seconds ahead count as now, for clocks that disagree a little.
pub fn age(then: Option<Timestamp>, now: Timestamp) -> String {
    let Some(then) = then else { return "<unknown>".to_owned() };
    let age = now.duration_since(then);
    match Duration::try_from(age) {
        Ok(age) => human(age),
        Err(_) if age.as_secs() >= -1 => "0s".to_owned(),
        Err(_) => "<invalid>".to_owned(),
    }
}

/// Why a text is no duration to Go's `time.ParseDuration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurationError {
    Invalid,
    MissingUnit,
    UnknownUnit(String),
}

impl DurationError {
    /// Go's words about the text as it was given.
    pub fn about(&self, text: &str) -> String {
        match self {
            Self::Invalid => format!("time: invalid duration {text:?}"),
            Self::MissingUnit => format!("time: missing unit in duration {text:?}"),
            Self::UnknownUnit(unit) => format!("time: unknown unit {unit:?} in duration {text:?}"),
        }
    }
}

/// Reads Go's duration syntax: `300ms`, `1.5h`, `2h45m`, `0`. Negative durations are not read.
pub fn parse_go(text: &str) -> Option<Duration> {
    read_go(text).ok()
}

/// As [`parse_go`], for those who say why not.
///
/// # Errors
/// What Go would find wrong.
pub fn read_go(text: &str) -> Result<Duration, DurationError> {
    use DurationError::{Invalid, MissingUnit, UnknownUnit};
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanos: u128 = 0;
    if rest.is_empty() {
        return Err(Invalid);
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        if !number.contains(|c: char| c.is_ascii_digit()) || number.matches('.').count() > 1 {
            return Err(Invalid);
        }
        let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let unit = match unit {
            "" => return Err(MissingUnit),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            other => return Err(UnknownUnit(other.to_owned())),
        };
        nanos = scaled(number, unit).and_then(|more| nanos.checked_add(more)).ok_or(Invalid)?;
        rest = after;
    }
    let nanos = i64::try_from(nanos).map_err(|_| Invalid)?;
    Ok(Duration::from_nanos(nanos.unsigned_abs()))
}

/// `number` (decimal digits with at most one dot) times `unit`, rounded down.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        total = total.checked_add(place * u128::from(digit - b'0'))?;
    }
    Some(total)
}

/// Writes a duration as Go's `Duration.String` does: `1m30s`, `1.5s`, `300ms`, `0s`.
pub fn format_go(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    for (limit, unit, name) in [(1_000, 1, "ns"), (1_000_000, 1_000, "µs"), (1_000_000_000, 1_000_000, "ms")] {
        if nanos < limit {
            return format!("{}{name}", decimal(nanos, unit));
        }
    }
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

fn decimal(nanos: u128, unit: u128) -> String {
    let (whole, fraction) = (nanos / unit, nanos % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{fraction:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn human_table() {
        const HOUR: u64 = 3600;
        const DAY: u64 = 24 * HOUR;
        const YEAR: u64 = 365 * DAY;
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (7 * HOUR + 300, "7h5m"),
            (8 * HOUR + 300, "8h"),
            (2 * DAY - 1, "47h"),
            (2 * DAY, "2d"),
            (3 * DAY + HOUR, "3d1h"),
            (8 * DAY + HOUR, "8d"),
            (2 * YEAR - DAY, "729d"),
            (2 * YEAR, "2y"),
            (2 * YEAR + 3 * DAY, "2y3d"),
            (8 * YEAR + 3 * DAY, "8y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn ages_tolerate_clocks() {
        let now = Timestamp::from_second(1_000).unwrap();
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        assert_eq!(age(at(990), now), "10s");
        assert_eq!(age(at(1_001), now), "0s");
        assert_eq!(age(at(1_100), now), "<invalid>");
        assert_eq!(age(None, now), "<unknown>");
    }

    #[test]
    fn go_durations_round_trip() {
        for (text, nanos) in
            [("1.5s", 1_500_000_000), ("1m30s", 90_000_000_000), ("300ms", 300_000_000), ("1h0m0s", 3_600_000_000_000)]
        {
            assert_eq!(parse_go(text), Some(Duration::from_nanos(nanos)));
            assert_eq!(format_go(Duration::from_nanos(nanos)), text);
        }
        for bad in ["", "1", "s", "1x", ".s", "1.2.3s", "-1s", "99999999999h"] {
            assert_eq!(parse_go(bad), None, "{bad}");
        }
    }
}
