//! Whether an expression in CEL is one, of the right type, and how much it may cost at most: the errors are those of
//! cel-go, word for word.

mod check;
mod cost;
mod declarations;
mod format;
mod literals;
mod macros;
mod types;
mod unify;

#[cfg(test)]
mod tests;

pub use cost::{Below, Decl, Sizes};
pub use types::{Object, Type};

use std::sync::LazyLock;
use std::time::Instant;

use cel::common::ast::SourceInfo;
use cel::parser::ParseErrors;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// What an expression may name.
#[derive(Clone, Default)]
pub struct Environment {
    pub variables: Vec<(&'static str, Type)>,
    /// Whether objects and patches may be written out: `Object{spec: Object.spec{}}`.
    pub patches: bool,
    /// Whether there is `cel.bind`.
    pub bindings: bool,
}

/// Something wrong at a line and column, both from one.
struct Issue {
    at: (usize, usize),
    message: String,
}

/// Words that are no names.
pub const RESERVED: [&str; 18] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
];

/// How long an expression may be, how deep, and how many errors are told of it, as for cel-go.
const MAX_CODE_POINTS: usize = 100_000;
const MAX_DEPTH: u16 = 250;
const MAX_ISSUES: usize = 100;

/// Reading goes as deep as brackets are nested and chains are long: this has room for the longest. Memory is taken only
/// where it is used.
const STACK: usize = 512 << 20;

/// How long compiling takes, in the client library's own buckets.
static COMPILATIONS: LazyLock<Histogram> =
    LazyLock::new(|| Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]));

/// Shows it.
pub fn register(registry: &mut Registry) {
    let help = "CEL compilation time in seconds";
    registry.register("apiserver_cel_compilation_duration_seconds", help, COMPILATIONS.clone());
}

/// The type of an expression, or what the compiler says of it.
pub fn compile(source: &str, environment: &Environment) -> Result<Type, String> {
    Ok(compile_within(source, environment, None)?.0)
}

/// The same, and where sizes are known what it costs at most.
pub fn compile_within(source: &str, environment: &Environment, sizes: Option<Sizes>) -> Result<(Type, u64), String> {
    let size = source.chars().count();
    if size > MAX_CODE_POINTS {
        let limit = format!("size: {size}, limit {MAX_CODE_POINTS}");
        return Err(unplaced(&format!("expression code point size exceeds limit: {limit}")));
    }
    let begun = Instant::now();
    let compiled = std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().stack_size(STACK);
        let read = reader.spawn_scoped(scope, || read(source, environment, sizes));
        let read = read.ok().and_then(|read| read.join().ok());
        read.unwrap_or_else(|| Err(unplaced("the expression could not be read")))
    });
    COMPILATIONS.observe(begun.elapsed().as_secs_f64());
    compiled
}

fn read(source: &str, environment: &Environment, sizes: Option<Sizes>) -> Result<(Type, u64), String> {
    let parser = macros::parser(environment.bindings).enable_ident_escape_syntax(true).max_recursion_depth(MAX_DEPTH);
    let (tree, info) = parser.parse_with_source_info(source).map_err(|errors| unparsed(source, errors))?;
    let checked = check::check(&tree, &info, environment).map_err(|issues| shown(source, issues))?;
    let issues = literals::check(&tree, &info, &checked);
    if !issues.is_empty() {
        return Err(shown(source, issues));
    }
    let cost = sizes.map_or(0, |sizes| cost::estimate(&tree, &checked, sizes));
    Ok((checked.of, cost))
}

/// What a field says of an expression that has to give one of these types.
pub fn refusal(source: &str, environment: &Environment, wanted: &[Type]) -> Option<String> {
    let found = match compile(source, environment) {
        Ok(found) => found,
        Err(issues) => return Some(format!("compilation failed: {issues}")),
    };
    if found == Type::Error || wanted.is_empty() || wanted.contains(&found) {
        return None;
    }
    let names: Vec<_> = wanted.iter().map(|of| of.shown(false)).collect();
    let found = found.shown(false);
    Some(match names.as_slice() {
        [one] => format!("must evaluate to {one} but got {found}"),
        several => format!("must evaluate to one of [{}] but got {found}", several.join(" ")),
    })
}

fn unparsed(source: &str, errors: ParseErrors) -> String {
    if errors.errors.iter().any(|error| error.msg.starts_with("Syntax error: OtherError(")) {
        return unplaced(&format!("expression recursion limit exceeded: {MAX_DEPTH}"));
    }
    let place = |at: isize| usize::try_from(at).unwrap_or_default().max(1);
    let issues = errors
        .errors
        .into_iter()
        .map(|error| Issue { at: (place(error.pos.0), place(error.pos.1)), message: error.msg });
    // A part that could not be read is told once, as it was read.
    shown(source, issues.filter(|issue| !issue.message.starts_with("Incomplete ")).collect())
}

/// What concerns no one place.
fn unplaced(message: &str) -> String {
    format!("ERROR: <input>:-1:0: {message}")
}

/// Each issue with its line and a mark below it, in the order of the text.
fn shown(source: &str, mut issues: Vec<Issue>) -> String {
    let more = issues.split_off(issues.len().min(MAX_ISSUES)).len();
    issues.sort_by_key(|issue| issue.at);
    let texts = issues.iter().map(|Issue { at: (line, column), message }| {
        let text = source.split('\n').nth(line - 1).unwrap_or_default().replace('\t', " ");
        let dots = ".".repeat(column - 1);
        format!("ERROR: <input>:{line}:{column}: {message}\n | {text}\n | {dots}^")
    });
    let more = (more > 0).then(|| format!("{more} more errors were truncated"));
    texts.chain(more).collect::<Vec<_>>().join("\n")
}

fn place(info: &SourceInfo, id: u64) -> (usize, usize) {
    let start = info.offset_for(id).map_or(0, |(start, _)| start as usize);
    let before = info.source.get(..start).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}
