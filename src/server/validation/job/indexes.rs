//! Sets of indexes as Jobs write them: `1,3-5,7`. Pure.

/// First and last index of a run.
pub type Interval = (i32, i32);

/// Reads a set; every index must be below `completions`, and they must rise.
pub fn parse(text: &str, completions: i32) -> Result<Vec<Interval>, String> {
    let mut intervals: Vec<Interval> = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = interval(part, completions)?;
        if let Some((_, before)) = intervals.last().filter(|(_, before)| *before >= first) {
            return Err(format!("non-increasing order, previous: {before}, current: {first}"));
        }
        intervals.push((first, last));
    }
    Ok(intervals)
}

pub fn total(intervals: &[Interval]) -> i32 {
    intervals.iter().map(|(first, last)| last - first + 1).sum()
}

fn interval(text: &str, completions: i32) -> Result<Interval, String> {
    let index = |text: &str| {
        let number = text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        if number >= completions { Err(format!("too large index: {text:?}")) } else { Ok(number) }
    };
    let parts: Vec<_> = text.split('-').collect();
    match parts[..] {
        [only] => index(only).map(|index| (index, index)),
        [first, last] => {
            let (first, last) = (index(first)?, index(last)?);
            if first >= last {
                return Err(format!("non-increasing order, previous: {first}, current: {last}"));
            }
            Ok((first, last))
        }
        _ => Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        )),
    }
}

/// The first index that two sets share. What cannot be read is reported by [`parse`] and ignored here.
pub fn overlap(completed: &str, failed: &str, completions: i32) -> Option<i32> {
    let read =
        |text: &str| -> Vec<Interval> { text.split(',').filter_map(|part| interval(part, completions).ok()).collect() };
    let (completed, failed) = (read(completed), read(failed));
    let pairs = completed.iter().flat_map(|one| failed.iter().map(move |other| (one, other)));
    let shared = pairs.filter(|(one, other)| one.0 <= other.1 && other.0 <= one.1);
    shared.map(|(one, other)| one.0.max(other.0)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read() {
        assert_eq!(parse("", 5), Ok(vec![]));
        assert_eq!(parse("0,2-3", 5).map(|intervals| total(&intervals)), Ok(3));
        let bad = [
            ("5", "too large index: \"5\""),
            ("1,", "cannot convert string to integer for index: \"\""),
            ("2,1", "non-increasing order, previous: 2, current: 1"),
            ("3-2", "non-increasing order, previous: 3, current: 2"),
            (
                "1-2-3",
                "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'",
            ),
        ];
        for (text, problem) in bad {
            assert_eq!(parse(text, 5), Err(problem.to_owned()), "{text}");
        }
    }

    #[test]
    fn overlaps_are_found() {
        assert_eq!(overlap("0-2,4", "3,5", 9), None);
        assert_eq!(overlap("0-2,4", "3-5", 9), Some(4));
        assert_eq!(overlap("x,4", "4", 9), Some(4));
        assert_eq!(overlap("", "4", 9), None);
    }
}
