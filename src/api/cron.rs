//! Schedules of CronJobs: five fields or a descriptor, read as robfig/cron's standard parser reads them and
//! refused in its words. Pure; called by validation. Times are for the caller, who knows the time zone.

use std::time::Duration;

use super::duration;

/// When something is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    Fields(Fields),
    /// Again and again after the same time, whole seconds.
    Every(Duration),
}

/// The minutes, hours and days that fit, as one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    pub minute: u64,
    pub hour: u64,
    pub day_of_month: u64,
    pub month: u64,
    pub day_of_week: u64,
    /// Whether a field of days is a star. Where one is, both fields must fit; where none is, either is enough.
    pub every_day_of_month: bool,
    pub every_day_of_week: bool,
}

/// The values of one field, with their names.
struct Bounds {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const MINUTE: Bounds = Bounds { low: 0, high: 59, names: &[] };
const HOUR: Bounds = Bounds { low: 0, high: 23, names: &[] };
const DAY_OF_MONTH: Bounds = Bounds { low: 1, high: 31, names: &[] };
const MONTH: Bounds = Bounds {
    low: 1,
    high: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const DAY_OF_WEEK: Bounds = Bounds { low: 0, high: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Schedule {
    /// # Errors
    /// In robfig/cron's words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(descriptor) = text.strip_prefix('@') {
            return Self::descriptor(descriptor);
        }
        if text.is_empty() {
            return Err("empty spec string".to_owned());
        }
        let fields: Vec<_> = text.split_whitespace().collect();
        let [minute, hour, day_of_month, month, day_of_week] = fields[..] else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
        };
        let (minute, hour) = (bits(minute, &MINUTE)?, bits(hour, &HOUR)?);
        let (days, month) = (bits(day_of_month, &DAY_OF_MONTH)?, bits(month, &MONTH)?);
        let weekdays = bits(day_of_week, &DAY_OF_WEEK)?;
        Ok(Self::Fields(Fields {
            minute: minute.bits,
            hour: hour.bits,
            day_of_month: days.bits,
            month: month.bits,
            day_of_week: weekdays.bits,
            every_day_of_month: days.star,
            every_day_of_week: weekdays.star,
        }))
    }

    fn descriptor(word: &str) -> Result<Self, String> {
        let same = match word {
            "yearly" | "annually" => "0 0 1 1 *",
            "monthly" => "0 0 1 * *",
            "weekly" => "0 0 * * 0",
            "daily" | "midnight" => "0 0 * * *",
            "hourly" => "0 * * * *",
            _ => return Self::every(word),
        };
        Self::parse(same)
    }

    fn every(word: &str) -> Result<Self, String> {
        let Some(text) = word.strip_prefix("every ") else { return Err(format!("unrecognized descriptor: @{word}")) };
        match duration::parse_go(text) {
            Some(pause) => Ok(Self::Every(Duration::from_secs(pause.as_secs().max(1)))),
            None => Err(format!("failed to parse duration @{word}: time: invalid duration {text:?}")),
        }
    }
}

#[derive(Default)]
struct Bits {
    bits: u64,
    star: bool,
}

/// One field: ranges with commas between.
fn bits(field: &str, bounds: &Bounds) -> Result<Bits, String> {
    let mut all = Bits::default();
    for expression in field.split(',').filter(|part| !part.is_empty()) {
        let range = range(expression, bounds)?;
        all.bits |= range.bits;
        all.star |= range.star;
    }
    Ok(all)
}

/// `*`, `5`, `1-5`, `*/10`, `mon-fri`, `5/15`.
fn range(expression: &str, bounds: &Bounds) -> Result<Bits, String> {
    let parts: Vec<_> = expression.split('/').collect();
    let ends: Vec<_> = parts[0].split('-').collect();
    let star = matches!(ends[0], "*" | "?");
    let (start, mut end) = match ends[..] {
        _ if star => (bounds.low, bounds.high),
        [only] => (value(only, bounds)?, value(only, bounds)?),
        [start, end] => (value(start, bounds)?, value(end, bounds)?),
        _ => return Err(format!("too many hyphens: {expression}")),
    };
    let step = match parts[..] {
        [_] => 1,
        [_, step] => {
            // A lone start with a step goes on to the end.
            if ends.len() == 1 {
                end = bounds.high;
            }
            number(step)?
        }
        _ => return Err(format!("too many slashes: {expression}")),
    };
    let (low, high) = (bounds.low, bounds.high);
    match () {
        () if start < low => Err(format!("beginning of range ({start}) below minimum ({low}): {expression}")),
        () if end > high => Err(format!("end of range ({end}) above maximum ({high}): {expression}")),
        () if start > end => Err(format!("beginning of range ({start}) beyond end of range ({end}): {expression}")),
        () if step == 0 => Err(format!("step of range should be a positive number: {expression}")),
        () => {
            let bits = (start..=end).step_by(step as usize).fold(0, |bits, at| bits | 1 << at);
            Ok(Bits { bits, star: star && step == 1 })
        }
    }
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let named = bounds.names.iter().position(|name| name.eq_ignore_ascii_case(text));
    match named {
        Some(at) => Ok(bounds.low + at as u32),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    let failed = |why: &str| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}");
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(error) if matches!(error.kind(), std::num::IntErrorKind::PosOverflow) => Err(failed("value out of range")),
        Err(_) => Err(failed("invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read() {
        for good in ["* * * * *", "*/5 0-6 1,15 jan-jun mon", "@daily", "@every 1h30m", "0 0 * * ?", "5/15 * * * SUN"] {
            assert!(Schedule::parse(good).is_ok(), "{good}");
        }
        let Ok(Schedule::Fields(fields)) = Schedule::parse("50/5 * 1-3 feb,12 */2") else { panic!() };
        assert_eq!((fields.minute, fields.day_of_month, fields.month), (1 << 50 | 1 << 55, 0b1110, 1 << 2 | 1 << 12));
        assert_eq!((fields.day_of_week, fields.every_day_of_week), (0b101_0101, false));
        assert!(!fields.every_day_of_month && Schedule::parse("@hourly") == Schedule::parse("0 * * * *"));
    }

    #[test]
    fn bad_schedules_are_refused_in_robfigs_words() {
        let bad = [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("*/2/3 * * * *", "too many slashes: */2/3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("@sometimes", "unrecognized descriptor: @sometimes"),
            ("@every x", "failed to parse duration @every x: time: invalid duration \"x\""),
        ];
        for (schedule, problem) in bad {
            assert_eq!(Schedule::parse(schedule), Err(problem.to_owned()), "{schedule}");
        }
    }
}
