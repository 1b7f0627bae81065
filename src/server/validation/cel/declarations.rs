//! The functions of the API server's CEL and their overloads, read once from `declarations.txt`.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::types::Type;

/// One way to call a function. Types that are to be found are numbered from zero.
#[derive(Debug)]
pub struct Overload {
    pub function: &'static str,
    /// The first argument is what it is called on.
    pub member: bool,
    pub arguments: Vec<Type>,
    pub result: Type,
    /// How many types are to be found.
    pub parameters: u32,
    /// Only where patches are written.
    pub patches: bool,
}

static ALL: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let (mut all, mut patches) = (HashMap::<_, Vec<_>>::new(), false);
    for line in include_str!("declarations.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line {
            "[all]" => patches = false,
            "[patches]" => patches = true,
            _ => line_of(line, patches).into_iter().for_each(|one| all.entry(one.function).or_default().push(one)),
        }
    }
    all
});

/// Those of a function; none where it is not one.
pub fn overloads(function: &str, patches: bool) -> impl Iterator<Item = &'static Overload> + Clone + use<> {
    let found = ALL.get(function).map(Vec::as_slice).unwrap_or_default();
    found.iter().filter(move |one| patches || !one.patches)
}

/// The types that are values by their names, and what they are types of.
pub fn named_type(name: &str) -> Option<Type> {
    let of = match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "int" => Type::Int,
        "list" => Type::list(Type::Dyn),
        "map" => Type::Map(Type::Dyn.into(), Type::Dyn.into()),
        "null_type" => Type::Null,
        "optional_type" => Type::Optional(Type::Dyn.into()),
        "string" => Type::String,
        "type" => Type::Type(None),
        "uint" => Type::Uint,
        "google.protobuf.Duration" => Type::Duration,
        "google.protobuf.Timestamp" => Type::Timestamp,
        _ => match LIBRARIES.iter().find(|known| **known == name) {
            Some(known) => Type::Opaque(known),
            // Messages of the standard: their values are as those of JSON.
            None => return name.starts_with("google.protobuf.").then_some(Type::Type(None)),
        },
    };
    Some(Type::Type(Some(of.into())))
}

/// The types of Kubernetes' libraries.
const LIBRARIES: [&str; 11] = [
    "kubernetes.NamedFormat",
    "kubernetes.Quantity",
    "kubernetes.Semver",
    "kubernetes.URL",
    "kubernetes.authorization.Authorizer",
    "kubernetes.authorization.Decision",
    "kubernetes.authorization.GroupCheck",
    "kubernetes.authorization.PathCheck",
    "kubernetes.authorization.ResourceCheck",
    "net.CIDR",
    "net.IP",
];

/// All overloads that a line declares.
fn line_of(line: &'static str, patches: bool) -> Vec<Overload> {
    let (target, rest) = match line.split_once(" . ") {
        Some((target, rest)) => (Some(target), rest),
        None => (None, line),
    };
    let (names, rest) = rest.split_once('(').unwrap_or((rest, ")"));
    let mut reader = Reader { left: rest, highest: 0 };
    let mut arguments: Vec<_> = target.map(|target| reader.whole(target)).into_iter().collect();
    let member = target.is_some();
    while !reader.left.starts_with(')') {
        arguments.push(reader.next());
        reader.left = reader.left.trim_start_matches(", ");
    }
    reader.left = reader.left[1..].trim_start();
    let result = reader.next();
    let parameters = reader.highest;
    let of = |function| Overload {
        function,
        member,
        arguments: arguments.clone(),
        result: result.clone(),
        parameters,
        patches,
    };
    names.split(' ').map(of).collect()
}

/// Reads types such as `map(string, list(A))`.
struct Reader<'a> {
    left: &'a str,
    /// How many capitals there were, from A on.
    highest: u32,
}

impl<'a> Reader<'a> {
    fn whole(&mut self, text: &'a str) -> Type {
        let rest = std::mem::replace(&mut self.left, text);
        let found = self.next();
        self.left = rest;
        found
    }

    fn next(&mut self) -> Type {
        let end = self.left.find(['(', ')', ',']).unwrap_or(self.left.len());
        let (name, rest) = self.left.split_at(end);
        self.left = rest;
        let mut inside = Vec::new();
        if let Some(rest) = self.left.strip_prefix('(') {
            self.left = rest;
            while !self.left.starts_with(')') {
                inside.push(std::sync::Arc::new(self.next()));
                self.left = self.left.trim_start_matches(", ");
            }
            self.left = &self.left[1..];
        }
        let mut inside = inside.into_iter();
        match (name, inside.next(), inside.next()) {
            ("list", Some(of), _) => Type::List(of),
            ("map", Some(key), Some(value)) => Type::Map(key, value),
            ("optional", Some(of), _) => Type::Optional(of),
            ("type", of, _) => Type::Type(of),
            ("dyn", ..) => Type::Dyn,
            ("duration", ..) => Type::Duration,
            ("timestamp", ..) => Type::Timestamp,
            ("A", ..) => self.parameter(0),
            ("B", ..) => self.parameter(1),
            (name, ..) => match named_type(name) {
                Some(Type::Type(Some(of))) => (*of).clone(),
                _ => Type::Error,
            },
        }
    }

    fn parameter(&mut self, number: u32) -> Type {
        self.highest = self.highest.max(number + 1);
        Type::Param(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declaration_is_read() {
        for overloads in ALL.values() {
            for one in overloads {
                let wrong = one.arguments.iter().chain([&one.result]).any(|of| of.has_error());
                assert!(!wrong && !one.function.is_empty(), "{one:?}");
            }
        }
        let found: Vec<_> = overloads("indexOf", false).map(|one| one.arguments.len()).collect();
        assert_eq!(found, [2, 3, 2]);
        assert_eq!(overloads("jsonpatch.escapeKey", false).count(), 0);
        assert_eq!(overloads("jsonpatch.escapeKey", true).count(), 1);
    }
}
