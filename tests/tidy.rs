//! The invariants of ARCHITECTURE.md, read off the source so that they cannot rot: who may import
//! whom, where `unsafe` may stand, that every file says what it is, and that none grows without end.

use std::fs;
use std::path::{Path, PathBuf};

/// Module → what it may import of ours, by path prefix. The longest matching module counts.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("api", &["api"]),
    ("store", &["store"]),
    ("lifecycle", &["lifecycle"]),
    ("keys", &["keys"]),
    ("client", &["client", "api"]),
    ("reconcile", &["reconcile", "api", "client", "lifecycle"]),
    ("net", &["net", "api"]),
    ("server::kinds", &["server::kinds", "server::validation", "server::strategy", "api", "store::Durability"]),
    ("server::validation", &["server::validation", "server::strategy", "api"]),
    ("server::strategy", &["server::strategy", "api", "store::Durability"]),
    ("server::catalog", &["server::catalog", "server::kinds", "server::strategy", "api"]),
    (
        "server::pipeline",
        &[
            "server::pipeline",
            "server::strategy",
            "server::catalog",
            "server::admission",
            "server::authorization",
            "server::validation",
            "api",
            "store",
        ],
    ),
    ("server::controllers", &["server::controllers", "api", "client", "reconcile", "lifecycle"]),
    ("server::scheduler", &["server::scheduler", "api", "client", "reconcile", "lifecycle"]),
    ("server", &["server", "api", "store", "lifecycle", "keys"]),
    ("agent", &["agent", "api", "client", "reconcile", "net", "lifecycle", "keys"]),
    ("cmd", &[""]),
];

/// The only places that may hold `unsafe`: typed faces of system calls.
const UNSAFE: &[&str] = &["src/net/netlink", "src/net/netns.rs", "src/cmd/resident.rs"];

/// A file is one thought; past this many lines it surely holds two.
const LONGEST: usize = 700;

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    sources(&root.join("src"), &mut paths);
    assert!(paths.len() > 50, "the sources were not found");
    let relative = |path: &Path| path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (relative(path), fs::read_to_string(path).unwrap())).collect()
}

/// `src/server/pki/mod.rs` → `server::pki`.
fn module_of(path: &str) -> String {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    path.replace('/', "::")
}

fn within(path: &str, prefix: &str) -> bool {
    prefix.is_empty() || path == prefix || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("::"))
}

/// Our own paths that a line imports: `use crate::a::{b, c::d};` gives `a::b` and `a::c`.
fn imports(line: &str) -> Vec<String> {
    let Some(rest) = line.trim_start().trim_start_matches("pub ").strip_prefix("use crate::") else {
        return Vec::new();
    };
    let rest = rest.trim_end_matches(';');
    match rest.split_once('{') {
        None => vec![rest.to_owned()],
        Some((head, tail)) => {
            let names = tail.trim_end_matches('}').split(',').map(str::trim).filter(|name| !name.is_empty());
            names.map(|name| format!("{head}{name}")).collect()
        }
    }
}

/// Whether a module is tests and nothing else, by its name.
fn is_tests(module: &str) -> bool {
    module == "tests" || module.ends_with("_test") || module.ends_with("_tests")
}

/// The code of a file. Tests may build the world they need.
fn without_tests<'a>(path: &str, text: &'a str) -> &'a str {
    if is_tests(module_of(path).rsplit("::").next().unwrap_or_default()) {
        return "";
    }
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

#[test]
fn modules_named_as_tests_are_only_tests() {
    for (path, text) in all() {
        let mut attributes = Vec::new();
        for line in text.lines().map(str::trim) {
            let name = line.trim_start_matches("pub ").strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
            if name.is_some_and(is_tests) {
                assert!(attributes.contains(&"#[cfg(test)]"), "{path}: `{line}` is part of the executable");
            }
            if line.starts_with("#[") {
                attributes.push(line);
            } else {
                attributes.clear();
            }
        }
    }
}

#[test]
fn every_room_imports_only_what_it_may() {
    let mut wrong = Vec::new();
    for (path, text) in all() {
        let module = module_of(&path);
        let rules = MAY_IMPORT.iter().filter(|(name, _)| within(&module, name));
        let Some((_, allowed)) = rules.max_by_key(|(name, _)| name.len()) else { continue };
        for line in without_tests(&path, &text).lines() {
            for import in imports(line) {
                if !allowed.iter().any(|prefix| within(&import, prefix)) {
                    wrong.push(format!("{path}: {module} must not import {import}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_rules_would_catch_a_wrong_import() {
    assert_eq!(imports("use crate::store::{Store, sqlite};"), ["store::Store", "store::sqlite"]);
    assert_eq!(imports("    pub use crate::server::http;"), ["server::http"]);
    assert!(within("server::http", "server") && !within("serverless", "server"));
    assert_eq!(module_of("src/server/pki/mod.rs"), "server::pki");
    assert_eq!(without_tests("src/a.rs", "#[cfg(test)]\nmod tests;\nuse b;"), "#[cfg(test)]\nmod tests;\nuse b;");
    assert_eq!(without_tests("src/a.rs", "use b;\n#[cfg(test)]\nmod tests {}"), "use b;\n");
    assert_eq!(without_tests("src/a/tests.rs", "use b;"), "");
}

#[test]
fn unsafe_code_stands_only_at_system_calls() {
    for (path, text) in all() {
        let allowed = UNSAFE.iter().any(|room| path.starts_with(room));
        let found = text.lines().position(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        });
        assert!(allowed || found.is_none(), "{path}:{}: unsafe", found.unwrap_or_default() + 1);
    }
}

#[test]
fn every_file_says_what_it_is_and_is_one_thought() {
    for (path, text) in all() {
        assert!(text.starts_with("//!"), "{path} does not begin with //!");
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{path} has {lines} lines: split it by thought");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "FIXME"];
    for (path, text) in all() {
        for mark in marks {
            assert!(!text.contains(mark), "{path} holds {mark}");
        }
    }
}
