//! What names may look like: DNS labels and subdomains, qualified names, label values, ports, keys.
//!
//! Every check returns the problems in upstream's words (`k8s.io/apimachinery/pkg/util/validation`), none
//! when the name is good. Nothing here knows which field a name stands in; validation adds the path.

/// Longest RFC 1123 label and RFC 1035 label.
pub const LABEL_MAX: usize = 63;
/// Longest RFC 1123 subdomain.
pub const SUBDOMAIN_MAX: usize = 253;

const LABEL_1123: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_1123: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const SUBDOMAIN_WORDS: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_WORDS: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// The problems of one name, in upstream's words.
pub type Problems = Vec<String>;

/// `must be no more than N bytes`.
pub fn max_len_error(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// `must be non-empty`.
pub fn empty_error() -> String {
    "must be non-empty".to_owned()
}

/// `must be between A and B, inclusive`.
pub fn inclusive_range_error(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// Words, then examples, then the regular expression that upstream would have used.
fn regex_error(words: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<_> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{words} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Starts and ends with `edge`, with `inner` between; never empty.
fn framed(text: &str, edge: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => edge(first) && edge(last) && bytes.iter().all(|&byte| inner(byte)),
        _ => false,
    }
}

fn is_label(text: &str) -> bool {
    framed(text, lower_or_digit, |byte| lower_or_digit(byte) || byte == b'-')
}

fn is_qualified_part(text: &str) -> bool {
    framed(
        text,
        |byte| byte.is_ascii_alphanumeric(),
        |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
    )
}

/// An RFC 1123 label: the names of namespaces, containers, volumes.
pub fn dns1123_label(value: &str) -> Problems {
    let mut problems = Vec::new();
    if value.len() > LABEL_MAX {
        problems.push(max_len_error(LABEL_MAX));
    }
    if !is_label(value) {
        // Upstream tells the reader about dots only where the value is otherwise a subdomain.
        if value.split('.').all(is_label) {
            problems.push("must not contain dots".to_owned());
        } else {
            problems.push(regex_error("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character", LABEL_1123, &["my-name", "123-abc"]));
        }
    }
    problems
}

/// An RFC 1123 subdomain: the names of most objects.
pub fn dns1123_subdomain(value: &str) -> Problems {
    let mut problems = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        problems.push(max_len_error(SUBDOMAIN_MAX));
    }
    if !value.split('.').all(is_label) {
        problems.push(regex_error(SUBDOMAIN_WORDS, SUBDOMAIN_1123, &["example.com"]));
    }
    problems
}

/// An RFC 1123 subdomain in which underscores are allowed too: DNS search paths.
pub fn dns1123_subdomain_with_underscore(value: &str) -> Problems {
    let fits = |part: &str| {
        let part = part.strip_prefix('_').unwrap_or(part);
        framed(part, lower_or_digit, |byte| lower_or_digit(byte) || matches!(byte, b'-' | b'_'))
    };
    let mut problems = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        problems.push(max_len_error(SUBDOMAIN_MAX));
    }
    if !value.split('.').all(fits) {
        problems.push(regex_error("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character", r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*", &["example.com"]));
    }
    problems
}

/// An RFC 1035 label: the names of Services.
pub fn dns1035_label(value: &str) -> Problems {
    let mut problems = Vec::new();
    if value.len() > LABEL_MAX {
        problems.push(max_len_error(LABEL_MAX));
    }
    if !is_label(value) || !value.as_bytes()[0].is_ascii_lowercase() {
        problems.push(regex_error("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character", "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    problems
}

/// `*.` and a subdomain: the hosts of an Ingress.
pub fn wildcard_dns1123_subdomain(value: &str) -> Problems {
    let mut problems = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        problems.push(max_len_error(SUBDOMAIN_MAX));
    }
    if !value.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label)) {
        problems.push(regex_error("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character", &format!(r"\*\.{SUBDOMAIN_1123}"), &["*.example.com"]));
    }
    problems
}

/// A label or annotation key, a resource name, a finalizer: `name` or `prefix/name`.
pub fn qualified_name(value: &str) -> Problems {
    const EXAMPLES: &[&str] = &["MyName", "my.name", "123-abc"];
    let mut problems = Vec::new();
    let parts: Vec<_> = value.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                problems.push(format!("prefix part {}", empty_error()));
            } else {
                problems.extend(dns1123_subdomain(prefix).into_iter().map(|problem| format!("prefix part {problem}")));
            }
            name
        }
        _ => {
            let words = regex_error(QUALIFIED_WORDS, QUALIFIED, EXAMPLES);
            let tail = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a qualified name {words} {tail}")];
        }
    };
    if name.is_empty() {
        problems.push(format!("name part {}", empty_error()));
    } else if name.len() > LABEL_MAX {
        problems.push(format!("name part {}", max_len_error(LABEL_MAX)));
    }
    if !is_qualified_part(name) {
        problems.push(format!("name part {}", regex_error(QUALIFIED_WORDS, QUALIFIED, EXAMPLES)));
    }
    problems
}

/// The value of a label; may be empty.
pub fn label_value(value: &str) -> Problems {
    let mut problems = Vec::new();
    if value.len() > LABEL_MAX {
        problems.push(max_len_error(LABEL_MAX));
    }
    if !value.is_empty() && !is_qualified_part(value) {
        problems.push(regex_error("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character", "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", &["MyValue", "my_value", "12345"]));
    }
    problems
}

/// The name of a port: an IANA service name (RFC 6335).
pub fn port_name(value: &str) -> Problems {
    let mut problems = Vec::new();
    if value.len() > 15 {
        problems.push(max_len_error(15));
    }
    if value.is_empty() || !value.bytes().all(|byte| lower_or_digit(byte) || byte == b'-') {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !value.bytes().any(|byte| byte.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        problems.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        problems.push("must not begin or end with a hyphen".to_owned());
    }
    problems
}

/// A port number.
pub fn port_number(value: i64) -> Problems {
    if (1..=65535).contains(&value) { Vec::new() } else { vec![inclusive_range_error(1, 65535)] }
}

/// An environment variable's name, by the relaxed rule of KEP-4369 (any printable ASCII but `=`).
pub fn env_var_name(value: &str) -> Problems {
    if value.is_empty() {
        return vec![format!("environment variable name {}", empty_error())];
    }
    if value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// A whole number as people write it: no sign but a minus, no zero in front.
pub fn decimal_integer(value: &str) -> Problems {
    if value.is_empty() {
        return vec![empty_error()];
    }
    let digits = value.strip_prefix('-').unwrap_or(value);
    let canonical = digits.starts_with(|first: char| ('1'..='9').contains(&first))
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    if canonical || value == "0" {
        return Vec::new();
    }
    vec!["must be a valid decimal integer in canonical form".to_owned()]
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(value: &str) -> Problems {
    let mut problems = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        problems.push(max_len_error(SUBDOMAIN_MAX));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if value.is_empty() || !value.bytes().all(fits) {
        problems.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match value {
        "." | ".." => problems.push(format!("must not be '{value}'")),
        _ if value.starts_with("..") => problems.push("must not start with '..'".to_owned()),
        _ => {}
    }
    problems
}

/// The name of an HTTP header.
pub fn http_header_name(value: &str) -> Problems {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Vec::new();
    }
    let words = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![regex_error(words, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// An identifier as C has them: attributes of devices.
pub fn c_identifier(value: &str) -> Problems {
    let starts = value.as_bytes().first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    if starts && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Vec::new();
    }
    let words = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'";
    vec![regex_error(words, "[A-Za-z_][A-Za-z0-9_]*", &["my_name", "MY_NAME", "MyName"])]
}

/// Why a condition holds, in one word.
pub fn condition_reason(value: &str) -> Problems {
    let starts = value.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
    let ends = value.as_bytes().last().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b',' | b':');
    if starts && ends && value.bytes().all(fits) {
        return Vec::new();
    }
    let words = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
    let examples = &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"];
    vec![regex_error(words, "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", examples)]
}

/// A name that becomes one segment of a request path and has no other rule (RBAC objects).
pub fn path_segment_name(value: &str) -> Problems {
    if matches!(value, "." | "..") {
        return vec![format!("may not be '{value}'")];
    }
    path_segment_prefix(value)
}

/// The same for a `generateName`.
pub fn path_segment_prefix(value: &str) -> Problems {
    let forbidden = ["/", "%"].into_iter().filter(|part| value.contains(part));
    forbidden.map(|part| format!("may not contain '{part}'")).collect()
}

/// A domain of at least three segments: webhook names. All problems as one. An empty name is the caller's `Required`.
pub fn fully_qualified_name(value: &str) -> Option<String> {
    let problems = dns1123_subdomain(value);
    if problems.is_empty() {
        let short = value.split('.').count() < 3;
        return short.then(|| "should be a domain with at least three segments separated by dots".to_owned());
    }
    Some(problems.join(","))
}

/// A domain of at least two segments, maybe with a dot at its end: the part of it that is wrong, and why. An empty name
/// is the caller's `Required`.
pub fn fully_qualified_domain_name(value: &str) -> Option<(&str, String)> {
    let value = value.strip_suffix('.').unwrap_or(value);
    let problems = dns1123_subdomain(value);
    if !problems.is_empty() {
        return Some((value, problems.join(",")));
    }
    if !value.contains('.') {
        return Some((value, "should be a domain with at least two segments separated by dots".to_owned()));
    }
    let label = value.split('.').find(|label| !dns1123_label(label).is_empty())?;
    Some((label, dns1123_label(label).join(",")))
}

/// A `generateName` with its trailing dash made harmless, so that the whole-name rules apply to it.
pub fn mask_trailing_dash(name: &str) -> String {
    let bytes = name.as_bytes();
    match bytes {
        [.., b'-', b'-'] | [] | [_] => name.to_owned(),
        [.., b'-'] => format!("{}a", &name[..name.len() - 1]),
        _ => name.to_owned(),
    }
}

/// Letters and digits that spell no words: no vowels, no look-alikes.
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Maps any ASCII text to the safe alphabet, character by character, as upstream does with hashes.
pub fn safe_encode(text: &str) -> String {
    text.bytes().map(|byte| char::from(SAFE[usize::from(byte) % SAFE.len()])).collect()
}

/// A name from a `generateName` and five random bytes; the base is cut so that the whole fits a label.
pub fn generate(base: &str, random: [u8; 5]) -> String {
    let mut end = base.len().min(LABEL_MAX - random.len());
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = base[..end].to_owned();
    name.extend(random.map(|byte| char::from(SAFE[usize::from(byte) % SAFE.len()])));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for good in ["a", "0", "a-b", "a--1"] {
            assert!(dns1123_label(good).is_empty(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "é"] {
            assert_eq!(dns1123_label(bad).len(), 1, "{bad}");
        }
        assert_eq!(
            dns1123_label("A")[0],
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        );
        assert_eq!(dns1123_label(&"a".repeat(64)), ["must be no more than 63 bytes"]);
        assert!(dns1035_label("a1").is_empty());
        assert_eq!(dns1035_label("1a").len(), 1);
        assert_eq!(dns1035_label("").len(), 1);
    }

    #[test]
    fn subdomains() {
        for good in ["a", "a.b", "1.2", "a-b.c-d"] {
            assert!(dns1123_subdomain(good).is_empty(), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a.-b", "A"] {
            assert_eq!(dns1123_subdomain(bad).len(), 1, "{bad}");
        }
        assert!(wildcard_dns1123_subdomain("*.a.b").is_empty());
        assert_eq!(wildcard_dns1123_subdomain("a.b").len(), 1);
    }

    #[test]
    fn qualified_names_and_values() {
        for good in ["a", "A.b_c-d", "example.com/x", "a/1"] {
            assert!(qualified_name(good).is_empty(), "{good}");
        }
        for (bad, problems) in [("", 2), ("/a", 1), ("a/", 2), ("a/b/c", 1), ("A/b", 1), ("-a", 1)] {
            assert_eq!(qualified_name(bad).len(), problems, "{bad}");
        }
        assert_eq!(qualified_name("/a"), ["prefix part must be non-empty"]);
        assert!(label_value("").is_empty());
        assert_eq!(label_value("a b").len(), 1);
        assert_eq!(label_value(&"x".repeat(64)), ["must be no more than 63 bytes"]);
    }

    #[test]
    fn ports_and_keys() {
        assert!(port_name("http-1").is_empty());
        assert_eq!(port_name("80"), ["must contain at least one letter (a-z)"]);
        assert_eq!(port_name("a--b"), ["must not contain consecutive hyphens"]);
        assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
        assert!(config_map_key("..data").len() == 1 && config_map_key("a.b").is_empty());
        assert!(env_var_name("MY VAR").is_empty());
        assert_eq!(env_var_name("A=B").len(), 1);
    }

    #[test]
    fn generated_names_fit() {
        assert_eq!(generate("web-", [0, 1, 2, 3, 255]).len(), 9);
        assert_eq!(generate(&"a".repeat(80), [7; 5]).len(), 63);
        assert_eq!(mask_trailing_dash("web-"), "weba");
        assert_eq!(mask_trailing_dash("web--"), "web--");
        assert!(dns1123_label(&generate("é".repeat(40).as_str(), [0; 5])).len() == 1);
    }
}
