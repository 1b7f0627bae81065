//! What cel-go looks at once all types are known: lists and maps of several types, and arguments that are written out but
//! cannot be read.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo};

use super::check::Checked;
use super::types::Type;
use super::{Issue, format, place};
use crate::api::duration;
use crate::server::validation::pattern;

/// Seconds since 1970 from the first to the last year with four digits.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

pub fn check(tree: &IdedExpr, info: &SourceInfo, checked: &Checked) -> Vec<Issue> {
    let mut walk = Walk { info, checked, issues: Vec::new() };
    walk.tree(tree, false);
    walk.issues
}

struct Walk<'a> {
    info: &'a SourceInfo,
    checked: &'a Checked,
    issues: Vec<Issue>,
}

impl Walk<'_> {
    fn say(&mut self, id: u64, message: String) {
        self.issues.push(Issue { at: place(self.info, id), message });
    }

    /// `mixed`: somewhere within the arguments of `format`, where values may be of any types.
    fn tree(&mut self, tree: &IdedExpr, mixed: bool) {
        match &tree.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
            Expr::Select(select) => self.tree(&select.operand, mixed),
            Expr::List(list) => {
                if !mixed {
                    let optional = |at| list.optional_indices.contains(&at);
                    self.alike(list.elements.iter().enumerate().map(|(at, element)| (element, optional(at))));
                }
                list.elements.iter().for_each(|element| self.tree(element, mixed));
            }
            Expr::Map(map) => {
                let entries = || {
                    map.entries.iter().filter_map(|entry| match &entry.expr {
                        EntryExpr::MapEntry(entry) => Some(entry),
                        EntryExpr::StructField(_) => None,
                    })
                };
                if !mixed {
                    self.alike(entries().map(|entry| (&entry.key, false)));
                    self.alike(entries().map(|entry| (&entry.value, entry.optional)));
                }
                for entry in entries() {
                    self.tree(&entry.key, mixed);
                    self.tree(&entry.value, mixed);
                }
            }
            Expr::Struct(given) => {
                for entry in &given.entries {
                    if let EntryExpr::StructField(field) = &entry.expr {
                        self.tree(&field.value, mixed);
                    }
                }
            }
            Expr::Comprehension(it) => {
                let parts = [&it.iter_range, &it.accu_init, &it.loop_cond, &it.loop_step, &it.result];
                parts.into_iter().for_each(|part| self.tree(part, mixed));
            }
            Expr::Call(call) => self.call(tree.id, call, mixed),
        }
    }

    fn call(&mut self, id: u64, call: &CallExpr, mixed: bool) {
        if let [IdedExpr { id, expr: Expr::Literal(literal) }] = call.args.as_slice()
            && !reads(&call.func_name, literal)
        {
            self.say(*id, format!("invalid {} argument", call.func_name));
        }
        if let ("format", Some(target), [IdedExpr { expr: Expr::List(list), .. }]) =
            (call.func_name.as_str(), &call.target, call.args.as_slice())
            && let Expr::Literal(LiteralValue::String(text)) = &target.expr
            && let Some(problem) = format::check(text.inner(), &list.elements, self.checked)
        {
            self.say(problem.part.unwrap_or(id), problem.message);
        }
        let mixed = mixed || call.func_name == "format";
        call.target.iter().for_each(|target| self.tree(target, mixed));
        call.args.iter().for_each(|argument| self.tree(argument, mixed));
    }

    /// All have to be of the type of the first.
    fn alike<'a>(&mut self, parts: impl Iterator<Item = (&'a IdedExpr, bool)>) {
        let mut first: Option<&Type> = None;
        for (part, optional) in parts {
            let of = self.checked.types.get(&part.id).unwrap_or(&Type::Error);
            let of = match of {
                Type::Optional(of) if optional => of,
                of => of,
            };
            match first {
                None => first = Some(of),
                Some(first) if first != of => {
                    let message = format!("expected type '{}' but found '{}'", first.shown(true), of.shown(true));
                    return self.say(part.id, message);
                }
                Some(_) => {}
            }
        }
    }
}

/// Whether what is written out as the argument of a function is something that it can read.
fn reads(name: &str, argument: &LiteralValue) -> bool {
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
