//! What an expression costs at most, in cel-go's units, from how large the values may be that it sees. The numbers are those
//! of cel-go's checker (`checker/cost.go`), its extensions and `k8s.io/apiserver/pkg/cel/library/cost.go`: they decide
//! which rules a definition may have, so they have to be the same, where they are odd too.

use std::collections::{BTreeMap, HashMap};

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators as op};

use super::check::Checked;
use super::declarations::Overload;
use super::types::Type;

/// Reading a character of a text, and following a part of a pattern.
const CHARACTER: f64 = 0.1;
const PATTERN: f64 = 0.25;
const LIST: u64 = 10;
const MAP: u64 = 30;
const STRUCTURE: u64 = 40;
/// Asking the authorizer: an expression can afford two of them.
const CHECK: u64 = 350_000;
/// How long the patterns of named formats are, and how long their names.
const FORMAT_PATTERN: f64 = 128.0;
const FORMAT_NAME: f64 = 64.0;

/// A value with its type and how large it may be.
#[derive(Clone, Debug)]
pub struct Decl {
    pub of: Type,
    /// The characters of a text, the entries of a list or a map; zero for what has no size.
    pub max_elements: u64,
    /// The fewest bytes that it takes as JSON.
    pub min_size: u64,
    pub below: Below,
}

#[derive(Clone, Debug)]
pub enum Below {
    Nothing,
    Items(Box<Decl>),
    Values { key: Box<Decl>, value: Box<Decl> },
    Fields(BTreeMap<String, Decl>),
}

impl Decl {
    pub fn new(of: Type, max_elements: u64, min_size: u64) -> Self {
        Self { of, max_elements, min_size, below: Below::Nothing }
    }

    pub fn list(items: Self, max_elements: u64) -> Self {
        Self { below: Below::Items(items.clone().into()), ..Self::new(Type::list(items.of), max_elements, 2) }
    }

    /// Its keys are texts of at most so many characters, as far as they are declared.
    pub fn map(longest_key: u64, value: Self, max_elements: u64) -> Self {
        let key = Self::new(Type::String, longest_key, 2).into();
        let of = Type::map(value.of.clone());
        Self { below: Below::Values { key, value: value.into() }, ..Self::new(of, max_elements, 2) }
    }

    fn field(&self, name: &str) -> Option<&Self> {
        match &self.below {
            Below::Fields(fields) => fields.get(name),
            // All attributes of a device are as large.
            Below::Values { value, .. } if value.of == Type::Any => Some(value),
            _ => None,
        }
    }

    fn key(&self) -> Option<&Self> {
        match &self.below {
            Below::Values { key, .. } => Some(key),
            _ => None,
        }
    }

    fn element(&self) -> Option<&Self> {
        match &self.below {
            Below::Items(below) | Below::Values { value: below, .. } => Some(below),
            _ => None,
        }
    }
}

/// What is known of the variables of an expression.
#[derive(Clone, Copy)]
pub struct Sizes<'a> {
    pub root: &'a Decl,
    /// The only one it is of; `None` where every variable is taken for it.
    pub variable: Option<&'a str>,
}

/// From here to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    min: u64,
    max: u64,
}

const UNKNOWN: Range = Range { min: 0, max: u64::MAX };

impl Range {
    fn fixed(size: u64) -> Self {
        Self { min: size, max: size }
    }

    fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    fn cost(self, each: f64) -> u64 {
        by(self.max, each)
    }
}

fn by(size: u64, each: f64) -> u64 {
    // Too large numbers become the largest one.
    (size as f64 * each).ceil() as u64
}

/// The sizes of what a list or a map holds.
#[derive(Clone, Copy)]
struct Entries {
    is_list: bool,
    key: Range,
    value: Range,
}

impl Entries {
    fn union(self, other: Self) -> Self {
        Self { key: self.key.union(other.key), value: self.value.union(other.value), ..self }
    }
}

/// Where in the declarations a value is; nowhere, where they do not say.
type Place<'a> = Option<Option<&'a Decl>>;

struct Local<'a> {
    name: String,
    place: Place<'a>,
    size: Option<Range>,
    entries: Option<Entries>,
}

struct Coster<'a> {
    checked: &'a Checked,
    sizes: Sizes<'a>,
    places: HashMap<u64, Place<'a>>,
    local: Vec<Local<'a>>,
    known: HashMap<u64, Range>,
    entries: HashMap<u64, Entries>,
}

/// The most that an expression costs.
pub fn estimate(tree: &IdedExpr, checked: &Checked, sizes: Sizes) -> u64 {
    let (places, local, known, entries) = Default::default();
    Coster { checked, sizes, places, local, known, entries }.cost(tree)
}

/// What a call costs, without its arguments, and how large its result is.
struct Call {
    cost: u64,
    size: Option<Range>,
}

impl Call {
    fn of(cost: u64) -> Self {
        Self { cost, size: None }
    }

    fn sized(cost: u64, size: Range) -> Self {
        Self { cost, size: Some(size) }
    }

    /// A new list.
    fn list(each: f64, size: Range) -> Self {
        Self::sized(size.cost(each).saturating_add(1 + LIST), size)
    }
}

impl<'a> Coster<'a> {
    fn cost(&mut self, tree: &IdedExpr) -> u64 {
        match &tree.expr {
            Expr::Unspecified | Expr::Literal(_) => 0,
            Expr::Ident(name) => {
                let place = match self.local(name) {
                    Some(local) => local.place,
                    None => Some(self.begin(name)),
                };
                self.places.insert(tree.id, place);
                1
            }
            Expr::Select(select) => {
                let operand = self.cost(&select.operand);
                if select.test {
                    return operand;
                }
                let place = self.step(&select.operand, |decl| decl.field(&select.field), &select.field);
                self.places.insert(tree.id, place);
                let looked_up = matches!(self.type_of(&select.operand), Type::Map(..) | Type::Object(_));
                operand.saturating_add(looked_up.into())
            }
            Expr::List(list) => {
                let mut item = Range { min: u64::MAX, max: 0 };
                let mut sum = LIST;
                for element in &list.elements {
                    sum = sum.saturating_add(self.cost(element));
                    item = item.union(self.size(element));
                }
                item.min = if list.elements.is_empty() { 0 } else { item.min };
                self.entries.insert(tree.id, Entries { is_list: true, key: Range::fixed(1), value: item });
                sum
            }
            Expr::Map(map) => {
                let none = Range { min: if map.entries.is_empty() { 0 } else { u64::MAX }, max: 0 };
                let (mut key, mut value, mut sum) = (none, none, MAP);
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
                    sum = sum.saturating_add(self.cost(&entry.key)).saturating_add(self.cost(&entry.value));
                    key = key.union(self.size(&entry.key));
                    value = value.union(self.size(&entry.value));
                }
                self.entries.insert(tree.id, Entries { is_list: false, key, value });
                sum
            }
            Expr::Struct(given) => given.entries.iter().fold(STRUCTURE, |sum, entry| match &entry.expr {
                EntryExpr::StructField(field) => sum.saturating_add(self.cost(&field.value)),
                EntryExpr::MapEntry(_) => sum,
            }),
            Expr::Comprehension(it) if is_bound(it) => self.bound(tree, it),
            Expr::Comprehension(it) => self.comprehension(tree, it),
            Expr::Call(call) => self.call(tree, call),
        }
    }

    fn local(&self, name: &str) -> Option<&Local<'a>> {
        self.local.iter().rev().find(|local| local.name == name)
    }

    fn type_of(&self, tree: &IdedExpr) -> &Type {
        self.checked.types.get(&tree.id).unwrap_or(&Type::Dyn)
    }

    fn begin(&self, name: &str) -> Option<&'a Decl> {
        self.sizes.variable.is_none_or(|variable| variable == name).then_some(self.sizes.root)
    }

    fn place(&self, tree: &IdedExpr) -> Place<'a> {
        if let Expr::Ident(name) = &tree.expr
            && let Some(local) = self.local(name)
        {
            return local.place;
        }
        self.places.get(&tree.id).copied().flatten()
    }

    /// A part of what is there. A part of what has no place begins anew, by its own name.
    fn step(&self, of: &IdedExpr, part: impl Fn(&'a Decl) -> Option<&'a Decl>, name: &str) -> Place<'a> {
        match self.place(of) {
            None => Some(self.begin(name)),
            Some(at) => Some(at.and_then(part)),
        }
    }

    fn size(&mut self, tree: &IdedExpr) -> Range {
        self.computed(tree).unwrap_or(UNKNOWN)
    }

    fn computed(&mut self, tree: &IdedExpr) -> Option<Range> {
        if let Some(known) = self.known.get(&tree.id) {
            return Some(*known);
        }
        if let Some(size) = written(&tree.expr) {
            return Some(Range::fixed(size));
        }
        if let Some(Some(decl)) = self.place(tree) {
            let size = Range { min: 0, max: decl.max_elements };
            self.known.insert(tree.id, size);
            return Some(size);
        }
        if self.type_of(tree).is_scalar() {
            return Some(Range::fixed(1));
        }
        match &tree.expr {
            Expr::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn entries_of(&self, tree: &IdedExpr) -> Option<Entries> {
        let named = || match &tree.expr {
            Expr::Ident(name) => self.local(name)?.entries,
            _ => None,
        };
        self.entries.get(&tree.id).copied().or_else(named)
    }

    fn set(&mut self, tree: &IdedExpr, size: Option<Range>, entries: Option<Entries>) {
        size.map(|size| self.known.insert(tree.id, size));
        entries.map(|entries| self.entries.insert(tree.id, entries));
    }

    fn bound(&mut self, tree: &IdedExpr, it: &ComprehensionExpr) -> u64 {
        let mut sum = self.cost(&it.iter_range).saturating_add(self.cost(&it.accu_init));
        self.push(&it.accu_var, &it.accu_init);
        sum = sum.saturating_add(self.cost(&it.result));
        let (size, entries) = (self.computed(&it.result), self.entries_of(&it.result));
        self.local.pop();
        self.set(tree, size, entries);
        sum
    }

    fn push(&mut self, name: &str, value: &IdedExpr) {
        let (place, size, entries) = (self.place(value), self.computed(value), self.entries_of(value));
        self.local.push(Local { name: name.to_owned(), place, size, entries });
    }

    fn comprehension(&mut self, tree: &IdedExpr, it: &ComprehensionExpr) -> u64 {
        let mut sum = self.cost(&it.iter_range).saturating_add(self.cost(&it.accu_init));
        self.push(&it.accu_var, &it.accu_init);
        let entries = self.entries_of(&it.iter_range);
        let is_list = match entries {
            Some(entries) => entries.is_list,
            None => matches!(self.type_of(&it.iter_range), Type::List(_)),
        };
        let local = |name: &String, place, size| Local { name: name.clone(), place, size, entries: None };
        let key = self.step(&it.iter_range, Decl::key, "@keys");
        let key = local(&it.iter_var, key, entries.map(|entries| entries.key));
        let value = self.step(&it.iter_range, Decl::element, "@items");
        let name = it.iter_var2.as_ref().unwrap_or(&it.iter_var);
        let value = local(name, value, entries.map(|entries| entries.value));
        let variables = match (&it.iter_var2, is_list) {
            (Some(_), _) => vec![key, value],
            (None, true) => vec![value],
            (None, false) => vec![key],
        };
        let outer = self.local.len();
        self.local.extend(variables);
        let (condition, step) = (self.cost(&it.loop_cond), self.cost(&it.loop_step));
        let grown = self.entries_of(&it.loop_step);
        self.local.truncate(outer);
        sum = sum.saturating_add(self.cost(&it.result));
        let count = self.size(&it.iter_range);
        match &it.accu_init.expr {
            Expr::Literal(_) => {
                let size = self.computed(&it.accu_init);
                self.set(tree, size, None);
            }
            Expr::List(_) | Expr::Map(_) => self.set(tree, Some(count), grown),
            _ => {}
        }
        self.local.pop();
        sum.saturating_add(count.max.saturating_mul(step.saturating_add(condition)))
    }

    fn call(&mut self, tree: &IdedExpr, call: &CallExpr) -> u64 {
        let name = call.func_name.as_str();
        let costs: Vec<_> = call.args.iter().map(|argument| self.cost(argument)).collect();
        if let ("dyn", None, [argument]) = (name, &call.target, call.args.as_slice()) {
            let (size, entries) = (self.computed(argument), self.entries_of(argument));
            self.set(tree, size, entries);
            return costs[0].saturating_add(1);
        }
        let sum = costs.iter().fold(0u64, |sum, cost| sum.saturating_add(*cost));
        let optional = name == op::OPT_SELECT;
        let overloads = self.checked.calls.get(&tree.id).cloned().unwrap_or_default();
        if overloads.is_empty() {
            return if optional { sum.saturating_add(1) } else { 0 };
        }
        let target = call.target.as_deref().filter(|_| overloads[0].member);
        let on = target.map_or(0, |target| self.cost(target));
        let (mut most, mut size): (u64, Option<Range>) = (0, None);
        for overload in overloads {
            let found = match (name, costs.as_slice()) {
                (op::LOGICAL_AND | op::LOGICAL_OR, _) => Call::of(sum),
                (op::CONDITIONAL, [condition, yes, no]) => {
                    let result = self.size(&call.args[1]).union(self.size(&call.args[2]));
                    if let (Some(yes), Some(no)) = (self.entries_of(&call.args[1]), self.entries_of(&call.args[2])) {
                        self.entries.insert(tree.id, yes.union(no));
                    }
                    Call::sized(condition.saturating_add(*yes.max(no)), result)
                }
                _ => {
                    let found = self.function(tree, overload, target, &call.args);
                    Call { cost: found.cost.saturating_add(sum), ..found }
                }
            };
            most = most.max(found.cost);
            size = match (size, found.size) {
                (Some(one), Some(other)) => Some(one.union(other)),
                (one, other) => one.or(other),
            };
            if let (op::INDEX, [Type::List(_) | Type::Map(..), _]) = (name, overload.arguments.as_slice()) {
                size = self.entries_of(&call.args[0]).map(|entries| entries.value);
                let place = self.step(&call.args[0], Decl::element, "@items");
                self.places.insert(tree.id, place);
            }
            size = size.or_else(|| self.computed(tree));
        }
        self.set(tree, size, None);
        on.saturating_add(most)
    }

    /// A function by its full name, as it is declared.
    fn function(&mut self, tree: &IdedExpr, overload: &Overload, target: Option<&IdedExpr>, args: &[IdedExpr]) -> Call {
        let extended = match target {
            Some(target) => self.on(overload, target, args),
            None => self.alone(overload.function, args),
        };
        extended.unwrap_or_else(|| self.standard(tree, overload, target, args))
    }

    /// What libraries say of functions that are called on something.
    fn on(&mut self, overload: &Overload, target: &IdedExpr, args: &[IdedExpr]) -> Option<Call> {
        let takes_text = overload.arguments.last() == Some(&Type::String);
        let addresses = by(16 + 16, CHARACTER);
        Some(match (overload.function, args) {
            ("check", _) => Call::of(CHECK),
            (
                "serviceAccount"
                | "path"
                | "group"
                | "resource"
                | "subresource"
                | "namespace"
                | "name"
                | "allowed"
                | "reason"
                | "error"
                | "errored"
                | "ip"
                | "masked"
                | "prefixLength"
                | "family"
                | "isUnspecified"
                | "isLoopback"
                | "isLinkLocalMulticast"
                | "isLinkLocalUnicast"
                | "isGlobalUnicast"
                | "sign"
                | "asInteger"
                | "isInteger"
                | "asApproximateFloat"
                | "isGreaterThan"
                | "isLessThan"
                | "compareTo"
                | "add"
                | "sub"
                | "major"
                | "minor"
                | "patch"
                | "getScheme"
                | "getHostname"
                | "getHost"
                | "getPort"
                | "getEscapedPath"
                | "getQuery",
                _,
            ) => Call::of(1),
            ("fieldSelector" | "labelSelector", [selector]) => Call::of(self.size(selector).cost(CHARACTER)),
            ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", _) => {
                let size = self.size(target);
                match self.items(target) {
                    None => Call::of(size.cost(CHARACTER)),
                    Some((of, items)) => {
                        let texts = matches!(of, Type::String | Type::Bytes);
                        let each = if texts { items.cost(CHARACTER).saturating_add(1) } else { 1 };
                        Call::of(size.max.saturating_mul(each))
                    }
                }
            }
            ("lowerAscii" | "upperAscii" | "substring" | "trim", _) => {
                let size = self.size(target);
                Call::sized(size.cost(CHARACTER), size)
            }
            ("replace", [old, new, ..]) => {
                let (size, old, new) = (self.size(target), self.size(old), self.size(new));
                Call::sized(size.cost(2.0 * CHARACTER), replaced(size, old, new))
            }
            ("split", _) => {
                let size = self.size(target);
                let max = args.get(1).and_then(|limit| number(limit, |number| number as u64)).unwrap_or(size.max);
                Call::sized(size.cost(2.0 * CHARACTER), Range { min: 0, max })
            }
            ("join", _) => {
                let list = self.size(target);
                let mut size = self.items(target).map_or(Range::fixed(0), |(_, items)| list.times(items));
                if let [separator] = args {
                    let gaps = Range { min: list.min.saturating_sub(1), max: list.max.saturating_sub(1) };
                    size = size.plus(self.size(separator).times(gaps));
                }
                Call::sized(size.cost(CHARACTER), size)
            }
            ("find" | "findAll", [pattern, ..]) => {
                let size = self.size(target);
                let text = size.plus(Range::fixed(1)).cost(CHARACTER);
                let cost = text.saturating_mul(self.size(pattern).cost(PATTERN));
                Call::sized(cost, Range { min: 0, max: size.max })
            }
            ("containsIP" | "containsCIDR", [other]) => {
                let mask = if overload.function == "containsCIDR" { by(16, CHARACTER) + 1 } else { 0 };
                let text = if takes_text { self.size(other).cost(CHARACTER) } else { 0 };
                Call::of(text.saturating_add(addresses + mask))
            }
            ("validate", [text]) => Call::of(by(self.size(text).cost(CHARACTER), FORMAT_PATTERN * PATTERN)),
            ("slice", [start, end]) => {
                let least = number(start, |number| number.max(0) as u64).unwrap_or(0);
                let most = number(end, |number| number.max(0) as u64).unwrap_or_else(|| self.size(target).max);
                Call::list(1.0, Range::fixed(most.wrapping_sub(least)))
            }
            ("reverse", []) => Call::list(1.0, self.size(target)),
            ("flatten", _) => {
                let depth = |depth| number(depth, |number| number.max(0) as u64).unwrap_or(u64::MAX);
                Call::list(args.first().map_or(1, depth) as f64, self.size(target))
            }
            ("distinct", []) => Call::list(2.0, self.size(target).times(self.size(target))),
            ("sort" | "@sortByAssociatedKeys", _) => {
                let keys = args.first().unwrap_or(target);
                let of = match overload.arguments.last() {
                    Some(Type::List(of)) => (**of).clone(),
                    _ => Type::Dyn,
                };
                let more = if matches!(of, Type::String | Type::Bytes) { CHARACTER } else { 0.0 };
                Call::list(2.0 + more, self.size(keys).times(self.size(keys)))
            }
            _ => return None,
        })
    }

    /// What libraries say of functions that are called by themselves.
    fn alone(&mut self, function: &str, args: &[IdedExpr]) -> Option<Call> {
        Some(match (function, args) {
            ("url" | "jsonpatch.escapeKey", [text]) => {
                let size = self.size(text);
                Call::sized(size.cost(CHARACTER), size)
            }
            ("sets.contains" | "sets.intersects" | "sets.equivalent", [one, other]) => {
                let each = if function == "sets.equivalent" { 2.0 } else { 1.0 };
                Call::of(self.size(one).times(self.size(other)).cost(each).saturating_add(1))
            }
            ("lists.range", [end]) => {
                Call::list(1.0, Range::fixed(number(end, |number| number.max(0) as u64).unwrap_or(u64::MAX)))
            }
            (op::EQUALS, [one, other]) if self.type_of(one) == self.type_of(other) => match self.type_of(one) {
                Type::Opaque("kubernetes.NamedFormat") => Call::of(by(FORMAT_NAME as u64, CHARACTER)),
                Type::Opaque("kubernetes.URL") => {
                    Call::of(self.computed(other).unwrap_or(Range::fixed(1)).cost(CHARACTER))
                }
                Type::Opaque(_) => Call::of(1),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// What cel-go itself says.
    fn standard(&mut self, tree: &IdedExpr, overload: &Overload, target: Option<&IdedExpr>, args: &[IdedExpr]) -> Call {
        let first = overload.arguments.first();
        let is_text = matches!(first, Some(Type::String | Type::Bytes));
        match (overload.function, target, args) {
            ("format", Some(target), _) => Call::of(self.size(target).cost(CHARACTER)),
            ("bytes", _, [text]) if first == Some(&Type::String) => {
                let size = self.size(text);
                Call::sized(size.cost(CHARACTER), Range { max: size.max.wrapping_mul(4), ..size })
            }
            ("string", _, [bytes]) if first == Some(&Type::Bytes) => {
                let size = self.size(bytes);
                Call::sized(size.cost(CHARACTER), Range { min: size.min / 4, ..size })
            }
            ("strings.quote", _, [text]) => {
                let size = self.size(text);
                let quoted = Range { min: size.min.wrapping_add(2), max: size.max.wrapping_mul(2).wrapping_add(2) };
                Call::sized(size.cost(CHARACTER), quoted)
            }
            ("startsWith" | "endsWith", Some(_), [part]) => Call::of(self.size(part).cost(CHARACTER)),
            (op::IN, _, [_, list]) if matches!(overload.arguments.last(), Some(Type::List(_))) => {
                Call::of(self.size(list).cost(1.0))
            }
            ("matches", Some(target), [pattern]) => {
                let text = self.size(target).plus(Range::fixed(1)).cost(CHARACTER);
                Call::of(text.saturating_mul(self.size(pattern).cost(PATTERN)))
            }
            ("contains", Some(target), [part]) => {
                Call::of(self.size(target).cost(CHARACTER).saturating_mul(self.size(part).cost(CHARACTER)))
            }
            (op::ADD, _, [one, other]) if is_text || matches!(first, Some(Type::List(_))) => {
                let size = self.size(one).plus(self.size(other));
                if let (Some(one), Some(other)) = (self.entries_of(one), self.entries_of(other)) {
                    self.entries.insert(tree.id, one.union(other));
                }
                Call::sized(if is_text { size.cost(CHARACTER) } else { 1 }, size)
            }
            (op::EQUALS | op::NOT_EQUALS, _, [one, other]) => self.compared(one, other),
            (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, _, [one, other]) if is_text => {
                self.compared(one, other)
            }
            _ => Call::of(1),
        }
    }

    fn compared(&mut self, one: &IdedExpr, other: &IdedExpr) -> Call {
        Call::of(by(self.size(one).max.min(self.size(other).max), CHARACTER))
    }

    /// The type and the size of the items of a list; nothing for what has none.
    fn items(&self, list: &IdedExpr) -> Option<(Type, Range)> {
        let of = self.type_of(list).parts().first().map(|of| (*of).clone())?;
        let declared = self.place(list).flatten().and_then(Decl::element);
        Some((of, declared.map_or(UNKNOWN, |decl| Range { min: 0, max: decl.max_elements })))
    }
}

/// It gives a value a name and nothing else.
fn is_bound(it: &ComprehensionExpr) -> bool {
    let never = matches!(&it.loop_cond.expr, Expr::Literal(LiteralValue::Boolean(go_on)) if !*go_on.inner());
    never && matches!(&it.iter_range.expr, Expr::List(list) if list.elements.is_empty())
}

/// A number that is written out.
fn number(tree: &IdedExpr, of: impl Fn(i64) -> u64) -> Option<u64> {
    match &tree.expr {
        Expr::Literal(LiteralValue::Int(number)) => Some(of(*number.inner())),
        _ => None,
    }
}

/// The size of what is written out.
fn written(tree: &Expr) -> Option<u64> {
    let size = match tree {
        Expr::Literal(LiteralValue::String(text)) => text.inner().chars().count(),
        Expr::Literal(LiteralValue::Bytes(bytes)) => bytes.inner().len(),
        Expr::Literal(_) => 1,
        Expr::List(list) => list.elements.len(),
        Expr::Map(map) => map.entries.len(),
        _ => return None,
    };
    Some(size as u64)
}

/// How long a text is in which parts were replaced.
fn replaced(size: Range, old: Range, new: Range) -> Range {
    let (mut count, mut kept) = (Range::fixed(0), Range::fixed(0));
    if old.min == 0 {
        (count.max, kept.max) = (size.max.saturating_add(1), size.max);
    } else if new.max <= old.min {
        kept.max = size.max;
    } else {
        count.max = by(size.max, 1.0 / old.min as f64);
    }
    if old.max == 0 {
        (count.min, kept.min) = (size.min.saturating_add(1), size.min);
    } else if old.max <= new.min {
        kept.min = size.min;
    } else {
        count.min = by(size.min, 1.0 / old.max as f64);
    }
    count.times(new).plus(kept)
}
