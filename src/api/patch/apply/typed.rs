//! Objects walked by their types: the paths in them, what differs between two, and their merge.
//!
//! The rules are those of structured-merge-diff: atomic lists, maps and scalars are leaves; lists of maps go by
//! their keys, sets by their values. Where two elements have the same key they are treated as one leaf.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::set::{Element, Node, Scalar, Set};
use crate::api::patch::go_syntax;
use crate::api::schema::{self, List, ListKind, Type, View};

/// One thing that does not fit its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    pub path: String,
    pub problem: String,
}

/// Everything that does not fit, worded as upstream.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Misfits(pub Vec<Misfit>);

impl std::fmt::Display for Misfits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = |misfit: &Misfit| match misfit.path.is_empty() {
            true => misfit.problem.clone(),
            false => format!("{}: {}", misfit.path, misfit.problem),
        };
        match &self.0[..] {
            [one] => f.write_str(&line(one)),
            many => {
                let lines: Vec<_> = many.iter().map(|misfit| format!("\n  {}", line(misfit))).collect();
                write!(f, "errors:{}", lines.concat())
            }
        }
    }
}

/// How a value of a type is walked. Of an untyped value, its own form decides.
pub enum Shape<'a> {
    Leaf,
    List(&'a List),
    Map(&'a Type),
}

/// The shape of `value` in `kind`; atomic lists and maps are leaves.
pub fn shape<'a>(kind: &'a Type, value: Option<&Value>) -> Shape<'a> {
    match kind.view() {
        View::Scalar(_) | View::Map { atomic: true, .. } | View::Struct { atomic: true, .. } => Shape::Leaf,
        View::List(list) if list.kind == ListKind::Atomic => Shape::Leaf,
        View::List(list) => Shape::List(list),
        View::Map { .. } | View::Struct { .. } => Shape::Map(kind),
        View::Untyped => match value {
            Some(Value::Object(_) | Value::Null) | None => Shape::Map(kind),
            Some(_) => Shape::Leaf,
        },
    }
}

static UNTYPED: Type = Type::Untyped;

fn child<'a>(kind: &'a Type, name: &str) -> &'a Type {
    kind.child(name).unwrap_or(&UNTYPED)
}

/// A struct's own field, as opposed to the key of a map.
fn is_named(kind: &Type, name: &str) -> bool {
    matches!(kind.view(), View::Struct { shape, .. } if shape.field(name).is_some())
}

fn field(name: &str) -> Element {
    Element::Field(name.to_owned())
}

/// The path element of a list's item.
pub fn element(list: &List, item: &Value) -> Result<Element, String> {
    let keys = match &list.kind {
        ListKind::Map(keys) => keys,
        ListKind::Set => {
            return match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
                scalar => Ok(Element::Value(Scalar(scalar.clone()))),
            };
        }
        ListKind::Atomic => return Err("an atomic list has no elements to name".to_owned()),
    };
    let map = match item {
        Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
        Value::Object(map) => map,
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    };
    let value_of = |key: &schema::Name| {
        let default = || match list.items.view() {
            View::Struct { shape, .. } => shape.field(key)?.default.as_deref().cloned(),
            _ => None,
        };
        Some((key.to_string(), Scalar(map.get(key.as_ref()).cloned().or_else(default)?)))
    };
    let mut found: Vec<_> = keys.iter().filter_map(value_of).collect();
    if found.is_empty() {
        let names: Vec<_> = keys.iter().map(|key| format!("{key:?}")).collect();
        let names = names.join(" ");
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{names}] (and doesn't have default values for any key fields)"
        ));
    }
    found.sort();
    Ok(Element::Key(found))
}

/// Checks that `value` fits `kind`, without duplicates in sets and maps.
///
/// # Errors
/// Everything that does not fit.
pub fn validate(value: &Value, kind: &Type) -> Result<(), Misfits> {
    let mut misfits = Misfits::default();
    check(value, kind, "", &mut misfits.0);
    if misfits.0.is_empty() { Ok(()) } else { Err(misfits) }
}

fn check(value: &Value, kind: &Type, path: &str, out: &mut Vec<Misfit>) {
    let got = || format!("&{{{}}}", go_syntax(value));
    let mut misfit = |problem: String| out.push(Misfit { path: path.to_owned(), problem });
    match (kind.view(), value) {
        (_, Value::Null) => {}
        (View::Scalar(schema::Scalar::String), value) if !value.is_string() => {
            misfit(format!("expected string, got {}", got()));
        }
        (View::Scalar(schema::Scalar::Number), value) if !value.is_number() => {
            misfit("expected numeric (int or float), got value.valueUnstructured".to_owned());
        }
        (View::Scalar(schema::Scalar::Boolean), value) if !value.is_boolean() => {
            misfit(format!("expected boolean, got {}", got()));
        }
        (View::Scalar(schema::Scalar::Mixed), Value::Array(_) | Value::Object(_)) => {
            misfit(format!("expected scalar, got {}", got()));
        }
        (View::List(list), Value::Array(items)) => check_list(list, items, path, out),
        (View::List(_), _) => misfit(format!("expected list, got {}", got())),
        (View::Map { .. } | View::Struct { .. }, Value::Object(map)) => {
            for (name, value) in map {
                let path = format!("{path}.{name}");
                match kind.child(name) {
                    Some(kind) => check(value, kind, &path, out),
                    None => out.push(Misfit { path, problem: "field not declared in schema".to_owned() }),
                }
            }
        }
        (View::Map { .. } | View::Struct { .. }, _) => misfit(format!("expected map, got {}", got())),
        (View::Scalar(_) | View::Untyped, _) => {}
    }
}

fn check_list(list: &List, items: &[Value], path: &str, out: &mut Vec<Misfit>) {
    let mut seen = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let here = match list.kind {
            ListKind::Atomic => format!("[{at}]"),
            _ => match element(list, item) {
                Err(problem) => {
                    out.push(Misfit { path: path.to_owned(), problem: format!("element {at}: {problem}") });
                    return;
                }
                Ok(element) => {
                    let here = element.to_string();
                    if !seen.insert(element) {
                        let problem = format!("duplicate entries for key {here}");
                        out.push(Misfit { path: path.to_owned(), problem });
                    }
                    here
                }
            },
        };
        check(item, &list.items, &format!("{path}{here}"), out);
    }
}

/// Items by path element, in the order in which each first appears.
struct Items<'a> {
    order: Vec<Element>,
    by_element: BTreeMap<Element, Vec<&'a Value>>,
}

impl<'a> Items<'a> {
    fn of(list: &List, value: Option<&'a Value>) -> Result<Self, Misfits> {
        let mut items = Items { order: Vec::new(), by_element: BTreeMap::new() };
        for (at, item) in value.and_then(Value::as_array).into_iter().flatten().enumerate() {
            let element = element(list, item).map_err(|problem| {
                Misfits(vec![Misfit { path: String::new(), problem: format!("element {at}: {problem}") }])
            })?;
            let found = items.by_element.entry(element.clone()).or_default();
            if found.is_empty() {
                items.order.push(element);
            }
            found.push(item);
        }
        Ok(items)
    }

    fn get(&self, element: &Element) -> &[&'a Value] {
        self.by_element.get(element).map_or(&[], Vec::as_slice)
    }
}

/// Every path that `value` sets.
pub fn paths(value: &Value, kind: &Type) -> Set {
    paths_below(value, kind).below
}

fn paths_below(value: &Value, kind: &Type) -> Node {
    let mut below = Set::default();
    match shape(kind, Some(value)) {
        Shape::Leaf => return Node::leaf(),
        Shape::List(list) => {
            // What cannot be named was refused by `validate`, or comes from an object older than its type.
            let Ok(items) = Items::of(list, Some(value)) else { return Node::leaf() };
            for (element, found) in items.by_element {
                let mut node = match found[..] {
                    [one] => paths_below(one, &list.items),
                    _ => Node::leaf(),
                };
                node.member = true;
                below.put(element, node);
            }
        }
        Shape::Map(kind) => {
            for (name, value) in value.as_object().into_iter().flatten() {
                let mut node = paths_below(value, child(kind, name));
                let bare = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                node.member |= bare || !is_named(kind, name);
                below.put(field(name), node);
            }
        }
    }
    Node { member: false, below }
}

/// What became of the paths of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub removed: Set,
    pub modified: Set,
    pub added: Set,
}

#[derive(Default)]
struct ChangesBelow {
    removed: Node,
    modified: Node,
    added: Node,
}

impl ChangesBelow {
    fn put(&mut self, element: &Element, below: Self) {
        let parts =
            [(&mut self.removed, below.removed), (&mut self.modified, below.modified), (&mut self.added, below.added)];
        for (here, node) in parts {
            here.below.put(element.clone(), node);
        }
    }
}

/// What differs between two objects.
///
/// # Errors
/// When a list's elements cannot be told apart.
pub fn compare(old: &Value, new: &Value, kind: &Type) -> Result<Changes, Misfits> {
    let changes = compare_below(Some(old), Some(new), kind)?;
    Ok(Changes { removed: changes.removed.below, modified: changes.modified.below, added: changes.added.below })
}

fn is_bare(value: Option<&Value>) -> bool {
    match value {
        None => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(value) => value.is_null(),
    }
}

fn compare_below(old: Option<&Value>, new: Option<&Value>, kind: &Type) -> Result<ChangesBelow, Misfits> {
    let mut out = ChangesBelow::default();
    if old == new {
        return Ok(out);
    }
    let leaf = match shape(kind, new.or(old)) {
        Shape::Leaf => true,
        _ if is_bare(old) && is_bare(new) => true,
        Shape::List(list) => {
            compare_lists(list, old, new, &mut out)?;
            false
        }
        Shape::Map(kind) => {
            let empty = Map::new();
            let old = old.and_then(Value::as_object).unwrap_or(&empty);
            let new = new.and_then(Value::as_object).unwrap_or(&empty);
            let added = new.keys().filter(|name| !old.contains_key(*name));
            for name in old.keys().chain(added) {
                out.put(&field(name), compare_below(old.get(name), new.get(name), child(kind, name))?);
            }
            false
        }
    };
    match (old, new) {
        (None, _) => out.added.member = true,
        (_, None) => out.removed.member = true,
        // An untyped value may change its form; then it is the value that changed.
        (Some(old), Some(new)) => {
            out.modified.member |=
                leaf || (old.is_object() != new.is_object() && !is_bare(Some(old)) && !is_bare(Some(new)))
        }
    }
    Ok(out)
}

fn compare_lists(list: &List, old: Option<&Value>, new: Option<&Value>, out: &mut ChangesBelow) -> Result<(), Misfits> {
    let (old, new) = (Items::of(list, old)?, Items::of(list, new)?);
    let added = new.order.iter().filter(|element| old.get(element).is_empty());
    for element in old.order.iter().chain(added) {
        match (old.get(element), new.get(element)) {
            (before @ ([] | [_]), after @ ([] | [_])) => {
                let changes = compare_below(before.first().copied(), after.first().copied(), &list.items)?;
                out.put(element, changes);
            }
            (before, after) if before.len() > 1 && after.len() > 1 => {
                if before != after {
                    out.modified.below.put(element.clone(), Node::leaf());
                }
            }
            (before, after) if before.len() > 1 => {
                out.removed.below.put(element.clone(), Node::leaf());
                if let Some(one) = after.first() {
                    out.put(element, compare_below(None, Some(one), &list.items)?);
                }
            }
            (before, _) => {
                out.added.below.put(element.clone(), Node::leaf());
                if let Some(one) = before.first() {
                    out.put(element, compare_below(Some(one), None, &list.items)?);
                }
            }
        }
    }
    Ok(())
}

/// Merges `config` into `live`: what `config` does not mention stays.
///
/// # Errors
/// When a list's elements cannot be told apart.
pub fn merge(live: &Value, config: &Value, kind: &Type) -> Result<Value, Misfits> {
    Ok(merge_below(Some(live), Some(config), kind)?.unwrap_or_else(|| Value::Object(Map::new())))
}

fn merge_below(live: Option<&Value>, config: Option<&Value>, kind: &Type) -> Result<Option<Value>, Misfits> {
    let kept = || Ok(config.or(live).cloned());
    match shape(kind, config.or(live)) {
        Shape::Leaf => kept(),
        _ if is_bare(live) && is_bare(config) => kept(),
        Shape::List(list) => {
            let merged = merge_lists(list, live, config)?;
            Ok((!merged.is_empty()).then_some(Value::Array(merged)))
        }
        Shape::Map(kind) => {
            let empty = Map::new();
            let live = live.and_then(Value::as_object).unwrap_or(&empty);
            let config = config.and_then(Value::as_object).unwrap_or(&empty);
            let added = config.keys().filter(|name| !live.contains_key(*name));
            let mut merged = Map::new();
            for name in live.keys().chain(added) {
                if let Some(value) = merge_below(live.get(name), config.get(name), child(kind, name))? {
                    merged.insert(name.clone(), value);
                }
            }
            Ok((!merged.is_empty()).then_some(Value::Object(merged)))
        }
    }
}

/// Elements that both have come in the order of `config`; those of `live` alone stay before the shared
/// element that they stood before.
fn merge_lists(list: &List, live: Option<&Value>, config: Option<&Value>) -> Result<Vec<Value>, Misfits> {
    let (live, config) = (Items::of(list, live)?, Items::of(list, config)?);
    let is_shared = |element: &Element| !live.get(element).is_empty() && !config.get(element).is_empty();
    let mut shared = config.order.iter().filter(|element| is_shared(element));
    let mut next_shared = shared.next();
    let mut out = Vec::new();
    let (mut at_live, mut at_config) = (0, 0);
    let both = |element: &Element, out: &mut Vec<Value>| -> Result<(), Misfits> {
        let before = match live.get(element) {
            [one] => Some(*one),
            // Of duplicates none is taken: the applied one replaces them.
            _ => None,
        };
        out.extend(merge_below(before, config.get(element).first().copied(), &list.items)?);
        Ok(())
    };
    while at_live < live.order.len() || at_config < config.order.len() {
        match (live.order.get(at_live), config.order.get(at_config)) {
            (Some(left), Some(right)) if left == right => {
                both(left, &mut out)?;
                (at_live, at_config, next_shared) = (at_live + 1, at_config + 1, shared.next());
            }
            (Some(left), Some(_)) if is_shared(left) && next_shared.is_some_and(|next| next != left) => at_live += 1,
            (Some(left), _) if config.get(left).is_empty() => {
                out.extend(live.get(left).iter().map(|item| (*item).clone()));
                at_live += 1;
            }
            (_, Some(right)) => {
                both(right, &mut out)?;
                at_config += 1;
                if next_shared == Some(right) {
                    next_shared = shared.next();
                }
            }
            (Some(_), None) => at_live += 1,
            (None, None) => break,
        }
    }
    Ok(out)
}

/// Takes the paths of `gone` out of `value`. What loses everything becomes null.
pub fn remove(value: &Value, gone: &Set, kind: &Type) -> Value {
    let mut kept_any = false;
    let out = match shape(kind, Some(value)) {
        Shape::Leaf if value.is_array() || value.is_object() => return Value::Null,
        Shape::Leaf => return value.clone(),
        Shape::List(list) => {
            let mut kept = Vec::new();
            for item in value.as_array().into_iter().flatten() {
                let node = element(list, item).ok().and_then(|element| gone.get(&element));
                match node {
                    None => kept.push(item.clone()),
                    Some(node) if node.member => {}
                    Some(node) => kept.push(remove(item, &node.below, &list.items)),
                }
            }
            kept_any |= !kept.is_empty();
            Value::Array(kept)
        }
        Shape::Map(kind) => {
            let mut kept = Map::new();
            for (name, value) in value.as_object().into_iter().flatten() {
                let left = match gone.get(&field(name)) {
                    None => value.clone(),
                    Some(node) if node.member => continue,
                    Some(node) => remove(value, &node.below, child(kind, name)),
                };
                kept.insert(name.clone(), left);
            }
            kept_any |= !kept.is_empty();
            Value::Object(kept)
        }
    };
    if kept_any { out } else { Value::Null }
}

/// The set with every struct field that has members below it, so that it can be removed as a whole.
pub fn with_named_fields(set: &Set, kind: &Type) -> Set {
    let mut out = Set::default();
    for (element, node) in set.iter() {
        let (named, below) = match (element, kind.view()) {
            (Element::Field(name), View::Map { .. } | View::Struct { .. }) => (is_named(kind, name), child(kind, name)),
            (Element::Key(_), View::List(list)) => (false, list.items.as_ref()),
            _ => (false, &UNTYPED),
        };
        let member = node.member || (named && !node.below.is_empty());
        out.put(element.clone(), Node { member, below: with_named_fields(&node.below, below) });
    }
    out
}
