//! What changed in an object that may not change, as upstream tells it: a unified diff of both states as indented JSON,
//! with the names that Go gives to the fields. Pure.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value};

/// Lines around a change.
const CONTEXT: usize = 3;
/// Pairs of lines that are compared for the shortest diff; where there are more, all between the first and the last
/// change counts as changed.
const PAIRS_MAX: usize = 4_000_000;
/// Words that Go writes in capitals.
const CAPITALS: &[&str] = &[
    "api", "cephfs", "cpu", "csi", "dns", "fc", "fs", "grpc", "http", "id", "ip", "iscsi", "nfs", "os", "rbd", "se",
    "tcp", "tty", "uid",
];

/// Fields whose keys are the user's own words.
const MAPS: &[&str] = &[
    "annotations",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "overhead",
    "requests",
    "userAnnotations",
    "volumeAttributes",
];

/// A line of the diff: in both, only before, only after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Same,
    Removed,
    Added,
}

/// Both states differ in what says something; what says nothing has been taken out.
pub fn unified(old: &Value, new: &Value) -> String {
    let (old, new) = (pretty(old), pretty(new));
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let steps = steps(&old, &new);
    let mut text = String::new();
    let mut at = (0, 0);
    for hunk in hunks(&steps) {
        for step in &steps[hunk.gap..hunk.from] {
            advance(&mut at, *step);
        }
        let part = &steps[hunk.from..hunk.to];
        let count = |other: Step| part.iter().filter(|step| **step != other).count();
        let header = (range(at.0, count(Step::Added)), range(at.1, count(Step::Removed)));
        text.push_str(&format!("@@ -{} +{} @@\n", header.0, header.1));
        // Go tells of what went before what came.
        for step in part {
            let (sign, line) = match step {
                Step::Same => (' ', old[at.0]),
                Step::Removed => ('-', old[at.0]),
                Step::Added => ('+', new[at.1]),
            };
            text.push_str(&format!("{sign}{line}\n"));
            advance(&mut at, *step);
        }
    }
    text
}

fn advance(at: &mut (usize, usize), step: Step) {
    at.0 += usize::from(step != Step::Added);
    at.1 += usize::from(step != Step::Removed);
}

/// Where a hunk begins and how long it is, as `diff` counts.
fn range(start: usize, length: usize) -> String {
    match length {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        _ => format!("{},{length}", start + 1),
    }
}

/// Steps `from` to `to` are shown; `gap` is where the one before ended.
struct Hunk {
    gap: usize,
    from: usize,
    to: usize,
}

fn hunks(steps: &[Step]) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    for at in (0..steps.len()).filter(|at| steps[*at] != Step::Same) {
        let (from, to) = (at.saturating_sub(CONTEXT), (at + 1 + CONTEXT).min(steps.len()));
        match hunks.last_mut().filter(|last| from <= last.to) {
            Some(last) => last.to = to,
            None => {
                let gap = hunks.last().map_or(0, |last| last.to);
                hunks.push(Hunk { gap, from, to });
            }
        }
    }
    hunks
}

/// The shortest way from one to the other.
fn steps(old: &[&str], new: &[&str]) -> Vec<Step> {
    let start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (rest, others) = (&old[start..], &new[start..]);
    let end = rest.iter().rev().zip(others.iter().rev()).take_while(|(old, new)| old == new).count();
    let (rest, others) = (&rest[..rest.len() - end], &others[..others.len() - end]);
    let mut steps = vec![Step::Same; start];
    steps.extend(middle(rest, others));
    steps.extend(vec![Step::Same; end]);
    steps
}

/// By the longest common subsequence.
fn middle(old: &[&str], new: &[&str]) -> Vec<Step> {
    let replaced = || vec![Step::Removed; old.len()].into_iter().chain(vec![Step::Added; new.len()]).collect();
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        return replaced();
    }
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for (i, before) in old.iter().enumerate().rev() {
        for (j, after) in new.iter().enumerate().rev() {
            let longest = common[(i + 1) * width + j].max(common[i * width + j + 1]);
            common[i * width + j] = if before == after { common[(i + 1) * width + j + 1] + 1 } else { longest };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut steps = Vec::with_capacity(old.len() + new.len());
    while i < old.len() || j < new.len() {
        let step = if i < old.len() && j < new.len() && old[i] == new[j] {
            Step::Same
        } else if j == new.len() || i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1] {
            Step::Removed
        } else {
            Step::Added
        };
        i += usize::from(step != Step::Added);
        j += usize::from(step != Step::Removed);
        steps.push(step);
    }
    steps
}

fn pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b" "));
    match as_go(value).serialize(&mut serializer) {
        Ok(()) => String::from_utf8(bytes).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// The same value under Go's names.
fn as_go(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let named = fields.iter().map(|(name, value)| match MAPS.contains(&name.as_str()) {
                true => (go_name(name), value.clone()),
                false => (go_name(name), as_go(value)),
            });
            Value::Object(named.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(as_go).collect()),
        other => other.clone(),
    }
}

fn go_name(name: &str) -> String {
    let end = name.find(|letter: char| letter.is_ascii_uppercase()).unwrap_or(name.len());
    let (first, rest) = name.split_at(end);
    if CAPITALS.contains(&first) {
        return format!("{}{rest}", first.to_uppercase());
    }
    let mut letters = first.chars();
    letters
        .next()
        .map_or_else(String::new, |letter| format!("{}{}{rest}", letter.to_ascii_uppercase(), letters.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_told_with_their_surroundings() {
        let state = |image: &str| json!({"containers": [{"image": image, "name": "a"}], "dnsPolicy": "Default", "nodeName": "n", "os": {"name": "linux"}});
        let expected = concat!(
            "@@ -1,7 +1,7 @@\n {\n  \"Containers\": [\n   {\n-   \"Image\": \"i\",\n+   \"Image\": \"j\",\n",
            "    \"Name\": \"a\"\n   }\n  ],\n",
        );
        assert_eq!(unified(&state("i"), &state("j")), expected);
    }

    #[test]
    fn far_changes_are_apart_and_additions_are_counted() {
        let list = |first: &str, last: Option<u32>| {
            let middle: Vec<_> = (0..9).map(Value::from).collect();
            let ends = [vec![Value::from(first)], middle, last.map(Value::from).into_iter().collect()];
            Value::from(ends.concat())
        };
        let expected = "@@ -1,5 +1,5 @@\n [\n- \"a\",\n+ \"b\",\n  0,\n  1,\n  2,\n@@ -8,5 +8,6 @@\n  5,\n  6,\n  7,\n- 8\n+ 8,\n+ 9\n ]\n";
        assert_eq!(unified(&list("a", None), &list("b", Some(9))), expected);
        let names = ["dnsPolicy", "tty", "setHostnameAsFQDN"].map(go_name);
        assert_eq!(names, ["DNSPolicy", "TTY", "SetHostnameAsFQDN"]);
    }
}
