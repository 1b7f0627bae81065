//! Sets of field paths, and their wire form `FieldsV1`.
//!
//! A set is a tree: a path may be in the set whether or not its parents are. The wire form is the one of
//! structured-merge-diff: `f:` a field, `k:` a list element by its keys, `v:` a set's element, `i:` an index, and `.`
//! for a path that is a member and has members below it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    Field(String),
    /// The keys of a list element, sorted by name.
    Key(Vec<(String, Scalar)>),
    Value(Scalar),
    Index(u64),
}

/// A JSON value with an order: numbers, strings, booleans, lists, maps, null.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar(pub Value);

impl Eq for Scalar {}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |value: &Value| match value {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Array(_) => 3,
            Value::Object(_) => 4,
            Value::Null => 5,
        };
        match (&self.0, &other.0) {
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()),
            },
            // Nothing valid has these as keys; any fixed order will do.
            (a, b) => rank(a).cmp(&rank(b)).then_with(|| a.to_string().cmp(&b.to_string())),
        }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                let keys: Vec<_> = keys.iter().map(|(name, value)| format!("{name}={}", value.0)).collect();
                write!(f, "[{}]", keys.join(","))
            }
            Self::Value(value) => write!(f, "[={}]", value.0),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl Element {
    fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => {
                let keys: Map<String, Value> =
                    keys.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
                format!("k:{}", Value::Object(keys))
            }
            Self::Value(value) => format!("v:{}", value.0),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// `Ok(None)` for a kind of element that a later version may know.
    fn decode(text: &str) -> Result<Option<Self>, BadFields> {
        let bad = || BadFields(text.to_owned());
        let (kind, rest) = text.split_once(':').filter(|(kind, _)| kind.len() == 1).ok_or_else(bad)?;
        Ok(Some(match kind {
            "f" => Self::Field(rest.to_owned()),
            "v" => Self::Value(Scalar(serde_json::from_str(rest).map_err(|_| bad())?)),
            "i" => Self::Index(rest.parse().map_err(|_| bad())?),
            "k" => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(rest).map_err(|_| bad())?;
                Self::Key(keys.into_iter().map(|(name, value)| (name, Scalar(value))).collect())
            }
            _ => return Ok(None),
        }))
    }
}

/// A field set that cannot be read: the path element that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot parse path element {0:?}")]
pub struct BadFields(pub String);

/// A set of paths below some place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    nodes: BTreeMap<Element, Node>,
}

/// A place: whether it is in the set itself, and what is below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub member: bool,
    pub below: Set,
}

impl Node {
    pub fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }

    /// A place that is in the set, with nothing below it.
    pub fn leaf() -> Self {
        Self { member: true, below: Set::default() }
    }
}

impl Set {
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Puts `node` at `element`, unless it is empty; what was there is kept too.
    pub fn put(&mut self, element: Element, node: Node) {
        if node.is_empty() {
            return;
        }
        match self.nodes.entry(element) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(node);
            }
            std::collections::btree_map::Entry::Occupied(mut place) => {
                let there = place.get_mut();
                there.member |= node.member;
                let before = std::mem::take(&mut there.below);
                there.below = before.union(node.below);
            }
        }
    }

    /// The set of one path of field names; several are joined by [`Self::union`].
    pub fn of_fields(path: &[&str]) -> Self {
        let mut set = Self::default();
        if let Some((first, rest)) = path.split_first() {
            let node = Node { member: rest.is_empty(), below: Self::of_fields(rest) };
            set.put(Element::Field((*first).to_owned()), node);
        }
        set
    }

    pub fn get(&self, element: &Element) -> Option<&Node> {
        self.nodes.get(element)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Element, &Node)> {
        self.nodes.iter()
    }

    /// Whether the path itself is in the set.
    pub fn has(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.nodes.get(last).is_some_and(|node| node.member),
            [first, rest @ ..] => self.nodes.get(first).is_some_and(|node| node.below.has(rest)),
        }
    }

    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        for (element, node) in other.nodes {
            self.put(element, node);
        }
        self
    }

    /// Paths in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut out = Self::default();
        for (element, node) in &self.nodes {
            if let Some(there) = other.nodes.get(element) {
                let below = node.below.intersection(&there.below);
                out.put(element.clone(), Node { member: node.member && there.member, below });
            }
        }
        out
    }

    /// Paths not in `other`; what is below a path of `other` stays.
    #[must_use]
    pub fn difference(mut self, other: &Self) -> Self {
        self.subtract(other, false);
        self
    }

    /// Paths neither in `other` nor below a path of it.
    #[must_use]
    pub fn recursive_difference(mut self, other: &Self) -> Self {
        self.subtract(other, true);
        self
    }

    fn subtract(&mut self, other: &Self, recursive: bool) {
        for (element, there) in &other.nodes {
            let Some(node) = self.nodes.get_mut(element) else { continue };
            node.member &= !there.member;
            node.below.subtract(&there.below, recursive);
            if node.is_empty() || (recursive && there.member) {
                self.nodes.remove(element);
            }
        }
    }

    /// Every path in the set, parents first, by the order of elements.
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let (mut out, mut path) = (Vec::new(), Vec::new());
        self.collect(&mut path, &mut out);
        out
    }

    fn collect(&self, path: &mut Vec<Element>, out: &mut Vec<Vec<Element>>) {
        // All members of a level come before anything below them, as upstream iterates.
        for (element, _) in self.nodes.iter().filter(|(_, node)| node.member) {
            let mut member = path.clone();
            member.push(element.clone());
            out.push(member);
        }
        for (element, node) in &self.nodes {
            path.push(element.clone());
            node.below.collect(path, out);
            path.pop();
        }
    }

    /// The wire form.
    pub fn encode(&self) -> Value {
        let encode = |(element, node): (&Element, &Node)| {
            let mut below = node.below.encode();
            if let (true, false, Value::Object(map)) = (node.member, node.below.is_empty(), &mut below) {
                map.insert(".".to_owned(), Value::Object(Map::new()));
            }
            (element.encode(), below)
        };
        Value::Object(self.nodes.iter().map(encode).collect())
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// When a path element is malformed. Elements of a kind unknown here are dropped.
    pub fn decode(fields: &Value) -> Result<Self, BadFields> {
        Ok(decode_node(fields)?.below)
    }
}

fn decode_node(fields: &Value) -> Result<Node, BadFields> {
    let Value::Object(map) = fields else { return Err(BadFields(fields.to_string())) };
    let mut node = Node::default();
    for (key, value) in map {
        if key == "." {
            node.member = true;
        } else if let Some(element) = Element::decode(key)? {
            node.below.put(element, decode_node(value)?);
        }
    }
    node.member |= node.below.is_empty();
    Ok(node)
}

/// A path as messages and causes show it: `.spec.containers[name="web"].image`.
pub fn shown(path: &[Element]) -> String {
    path.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_wire_form_round_trips() {
        let fields = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}},
                "f:finalizers": {"v:\"a\"": {}},
                "f:args": {"i:0": {}},
            },
        });
        let set = Set::decode(&fields).unwrap();
        assert_eq!(set.encode(), fields);
        let paths: Vec<_> = set.paths().iter().map(|path| shown(path)).collect();
        let wanted = [
            ".metadata.labels",
            ".metadata.labels.app",
            ".spec.args[0]",
            ".spec.containers[name=\"web\"]",
            ".spec.containers[name=\"web\"].image",
            ".spec.finalizers[=\"a\"]",
            ".spec.ports[containerPort=80,protocol=\"TCP\"]",
            ".spec.ports[containerPort=80,protocol=\"TCP\"].name",
        ];
        assert_eq!(paths, wanted);
        assert_eq!(Set::decode(&json!({"x:new": {}, "f:a": {}})).unwrap().encode(), json!({"f:a": {}}));
        for bad in [json!({"f": {}}), json!({"k:x": {}}), json!({"i:a": {}}), json!([]), json!({"f:a": 1})] {
            assert!(Set::decode(&bad).is_err(), "{bad}");
        }
    }

    fn any_set() -> impl Strategy<Value = Set> {
        let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4);
        prop::collection::vec(path, 0..6)
            .prop_map(|paths| paths.iter().map(|path| Set::of_fields(path)).fold(Set::default(), Set::union))
    }

    proptest! {
        /// The tree does what a plain set of paths does.
        #[test]
        fn algebra(a in any_set(), b in any_set()) {
            use std::collections::BTreeSet;
            let plain = |set: &Set| set.paths().into_iter().collect::<BTreeSet<_>>();
            let (x, y) = (plain(&a), plain(&b));
            prop_assert_eq!(plain(&a.intersection(&b)), &x & &y);
            prop_assert_eq!(plain(&a.clone().difference(&b)), &x - &y);
            let apart = x.iter().filter(|path| !(1..=path.len()).any(|n| y.contains(&path[..n]))).cloned().collect();
            prop_assert_eq!(plain(&a.clone().recursive_difference(&b)), apart);
            prop_assert_eq!(plain(&a.clone().union(b)), &x | &y);
            prop_assert_eq!(Set::decode(&a.encode()).unwrap(), a);
        }
    }
}
