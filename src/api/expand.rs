//! `$(VAR)` in commands, arguments and environment values.
//!
//! The rules are those of the Container fields' documentation: `$$` is one `$`, so `$$(VAR)` stays
//! `$(VAR)`; a reference to an unknown variable stays as it was written. Never fails.

/// Expands every reference in `input`; `lookup` gives a variable's value, `None` where it has none.
pub fn expand(input: &str, mut lookup: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (text, taken) = reference(after, &mut lookup);
        out.push_str(&text);
        rest = &after[taken..];
    }
    out.push_str(rest);
    out
}

/// What stands for the `$` before `after`, and how many bytes of `after` it uses up.
fn reference(after: &str, lookup: &mut impl FnMut(&str) -> Option<String>) -> (String, usize) {
    if after.starts_with('$') {
        return ("$".to_owned(), 1);
    }
    let closed = after.strip_prefix('(').and_then(|inner| inner.find(')').map(|end| &inner[..end]));
    match closed {
        None => ("$".to_owned(), 0),
        Some(name) => (lookup(name).unwrap_or_else(|| format!("$({name})")), name.len() + 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_table() {
        let cases = [
            ("$(VAR_A)", "A"),
            ("___$(VAR_B)___", "___B___"),
            ("$(VAR_A)$(VAR_B)", "AB"),
            ("$$(VAR_A)", "$(VAR_A)"),
            ("$$$(VAR_A)", "$A"),
            ("$$$$(VAR_A)", "$$(VAR_A)"),
            ("$(MISSING)", "$(MISSING)"),
            ("$VAR_A", "$VAR_A"),
            ("$", "$"),
            ("f$$", "f$"),
            ("$(VAR_A", "$(VAR_A"),
            ("$(EMPTY)x", "x"),
            ("$()", "$()"),
            ("$é$(VAR_A)", "$éA"),
            ("$($(VAR_A))", "$($(VAR_A))"),
            ("foo$(VAR_A", "foo$(VAR_A"),
        ];
        let lookup = |name: &str| match name {
            "VAR_A" => Some("A".to_owned()),
            "VAR_B" => Some("B".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (input, output) in cases {
            assert_eq!(expand(input, lookup), output, "{input}");
        }
    }
}
