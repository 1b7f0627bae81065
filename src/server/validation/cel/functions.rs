//! The functions that the API server's CEL has, by name, and what they give where that is always the same.

use cel::common::ast::LiteralValue;

use super::types::Type;
use crate::api::duration;
use crate::server::validation::pattern;

/// Everything that may be called: the standard, its extensions, and Kubernetes' own libraries.
const KNOWN: &[&str] = &[
    // the standard
    "size",
    "contains",
    "endsWith",
    "startsWith",
    "matches",
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "string",
    "timestamp",
    "type",
    "uint",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    // optionals
    "hasValue",
    "value",
    "or",
    "orValue",
    "optMap",
    "optFlatMap",
    "first",
    "last",
    "unwrap",
    "unwrapOpt",
    // strings
    "charAt",
    "indexOf",
    "lastIndexOf",
    "lowerAscii",
    "upperAscii",
    "replace",
    "split",
    "substring",
    "trim",
    "join",
    "format",
    "reverse",
    // lists, comprehensions, regular expressions
    "isSorted",
    "sum",
    "min",
    "max",
    "distinct",
    "flatten",
    "slice",
    "sort",
    "sortBy",
    "range",
    "includes",
    "all",
    "exists",
    "existsOne",
    "exists_one",
    "map",
    "filter",
    "transformList",
    "transformMap",
    "transformMapEntry",
    "find",
    "findAll",
    // URLs, addresses, quantities, versions, formats
    "url",
    "isURL",
    "getScheme",
    "getHost",
    "getHostname",
    "getPort",
    "getEscapedPath",
    "getQuery",
    "ip",
    "isIP",
    "family",
    "isUnspecified",
    "isLoopback",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "isGlobalUnicast",
    "cidr",
    "isCIDR",
    "containsIP",
    "containsCIDR",
    "masked",
    "prefixLength",
    "quantity",
    "isQuantity",
    "sign",
    "isGreaterThan",
    "isLessThan",
    "compareTo",
    "asInteger",
    "isInteger",
    "asApproximateFloat",
    "add",
    "sub",
    "semver",
    "isSemver",
    "major",
    "minor",
    "patch",
    "validate",
    // the authorizer
    "path",
    "group",
    "serviceAccount",
    "resource",
    "subresource",
    "namespace",
    "name",
    "check",
    "allowed",
    "reason",
    "error",
    "errored",
    "fieldSelector",
    "labelSelector",
];

/// What stands before a dot in the name of a function.
pub const NAMESPACES: &[&str] =
    &["cel", "optional", "sets", "strings", "math", "lists", "regex", "format", "ip", "jsonpatch", "base64"];

const TYPES: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "google",
    "int",
    "kubernetes",
    "list",
    "map",
    "net",
    "null_type",
    "optional_type",
    "string",
    "type",
    "uint",
];

pub fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Whether a word names a type and so is a value by itself.
pub fn is_type(name: &str) -> bool {
    TYPES.contains(&name)
}

pub fn result(name: &str) -> Type {
    match name {
        "size" | "int" | "getDate" | "getDayOfMonth" | "getDayOfWeek" | "getDayOfYear" | "getFullYear" | "getHours"
        | "getMilliseconds" | "getMinutes" | "getMonth" | "getSeconds" | "compareTo" | "asInteger" | "sign"
        | "prefixLength" | "family" | "major" | "minor" => Type::Int,
        "contains"
        | "endsWith"
        | "startsWith"
        | "matches"
        | "bool"
        | "hasValue"
        | "isSorted"
        | "isURL"
        | "isIP"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast"
        | "isCIDR"
        | "containsIP"
        | "containsCIDR"
        | "isQuantity"
        | "isGreaterThan"
        | "isLessThan"
        | "isInteger"
        | "isSemver"
        | "allowed"
        | "errored"
        | "all"
        | "exists"
        | "existsOne"
        | "exists_one" => Type::Bool,
        "string" | "charAt" | "lowerAscii" | "upperAscii" | "replace" | "substring" | "trim" | "join" | "getScheme"
        | "getHost" | "getHostname" | "getPort" | "getEscapedPath" => Type::String,
        "split" | "findAll" => Type::list(Type::String),
        "getQuery" => Type::map(Type::list(Type::String)),
        "bytes" => Type::Bytes,
        "double" | "asApproximateFloat" => Type::Double,
        "uint" => Type::Uint,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "dyn" => Type::Dyn,
        _ => Type::Unknown,
    }
}

/// Seconds since 1970 from the first to the last year with four digits.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Whether what is written out as the argument of a function is something that it can read.
pub fn reads(name: &str, argument: &LiteralValue) -> bool {
    match (name, argument) {
        ("duration", LiteralValue::String(text)) => {
            let text = text.inner();
            let size = text.strip_prefix('-').filter(|size| !size.starts_with('+')).unwrap_or(text);
            duration::parse_go(size).is_some()
        }
        ("timestamp", LiteralValue::String(text)) => text.inner().parse::<jiff::Timestamp>().is_ok(),
        ("timestamp", LiteralValue::Int(seconds)) => TIMES.contains(seconds.inner()),
        ("matches", LiteralValue::String(text)) => pattern::problem(text.inner()).is_none(),
        _ => true,
    }
}
