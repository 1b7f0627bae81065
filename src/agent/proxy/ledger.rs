//! Who wants which element in the proxy's sets. Several Services can want the same element (a pod behind two of
//! them) or claim the same address (an external IP): an element stays until its last owner leaves, and a claim goes to
//! the first owner in order. Pure; it only remembers and compares.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::agent::services::Key;
use crate::net::nft::model::{Element, Name, Value};

/// An element of a set by name.
pub type Slot = (Name, Value);

/// The wishes of all Services.
#[derive(Default)]
pub struct Ledger {
    /// In the order of slots.
    wishes: HashMap<Key, Box<[(Slot, Element)]>>,
    owners: HashMap<Slot, Owners>,
}

/// Who wants an element: mostly one, and there are many elements.
enum Owners {
    One(Key),
    More(BTreeSet<Key>),
}

/// What becomes of one element.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    pub slot: Slot,
    pub before: Option<Element>,
    pub after: Option<Element>,
}

impl Ledger {
    /// Takes the Service's wishes instead of its earlier ones, and returns what that changes, in the order of slots.
    pub fn replace(&mut self, key: &Key, wishes: BTreeMap<Slot, Element>) -> Vec<Turn> {
        let wishes: Box<[_]> = wishes.into_iter().collect();
        let earlier = self.wishes.remove(key).unwrap_or_default();
        let touched: BTreeSet<Slot> = earlier
            .iter()
            .filter(|(slot, element)| find(&wishes, slot) != Some(element))
            .chain(wishes.iter().filter(|(slot, element)| find(&earlier, slot) != Some(element)))
            .map(|(slot, _)| slot.clone())
            .collect();
        let before: Vec<_> = touched.iter().map(|slot| self.winner(slot, key, &earlier)).collect();
        for slot in &touched {
            self.own(slot, key, find(&wishes, slot).is_some());
        }
        let turns = touched
            .into_iter()
            .zip(before)
            .filter_map(|(slot, before)| {
                let after = self.winner(&slot, key, &wishes);
                (before != after).then_some(Turn { slot, before, after })
            })
            .collect();
        if !wishes.is_empty() {
            self.wishes.insert(key.clone(), wishes);
        }
        turns
    }

    fn own(&mut self, slot: &Slot, key: &Key, wants: bool) {
        let owners = match (self.owners.remove(slot), wants) {
            (None, true) => Some(Owners::One(key.clone())),
            (Some(Owners::One(one)), true) if one != *key => Some(Owners::More([one, key.clone()].into())),
            (Some(Owners::One(one)), false) if one == *key => None,
            (Some(Owners::More(mut more)), wants) => {
                if wants {
                    more.insert(key.clone());
                } else {
                    more.remove(key);
                }
                match more.len() {
                    1 => more.pop_first().map(Owners::One),
                    _ => Some(Owners::More(more)),
                }
            }
            (same, _) => same,
        };
        if let Some(owners) = owners {
            self.owners.insert(slot.clone(), owners);
        }
    }

    /// The element that the first owner wants; `own` are the wishes of `key`, which are not filed.
    fn winner(&self, slot: &Slot, key: &Key, own: &[(Slot, Element)]) -> Option<Element> {
        let first = match self.owners.get(slot)? {
            Owners::One(one) => one,
            Owners::More(more) => more.first()?,
        };
        let wishes = if first == key { own } else { self.wishes.get(first)? };
        find(wishes, slot).cloned()
    }
}

fn find<'a>(wishes: &'a [(Slot, Element)], slot: &Slot) -> Option<&'a Element> {
    wishes.binary_search_by(|(other, _)| other.cmp(slot)).ok().map(|at| &wishes[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(elements: &[(u16, u16)]) -> BTreeMap<Slot, Element> {
        elements
            .iter()
            .map(|(port, to)| (("m".into(), Value::EMPTY.port(*port)), Element::Value(Value::EMPTY.port(*to))))
            .collect()
    }

    fn turn(port: u16, before: Option<u16>, after: Option<u16>) -> Turn {
        let element = |to: u16| Element::Value(Value::EMPTY.port(to));
        Turn { slot: ("m".into(), Value::EMPTY.port(port)), before: before.map(element), after: after.map(element) }
    }

    #[test]
    fn only_what_changed_is_returned() {
        let mut ledger = Ledger::default();
        let a = Key::new("n", "a");
        assert_eq!(ledger.replace(&a, wishes(&[(1, 1), (2, 2)])).len(), 2);
        let changed = ledger.replace(&a, wishes(&[(1, 1), (2, 3), (4, 4)]));
        assert_eq!(changed, [turn(2, Some(2), Some(3)), turn(4, None, Some(4))]);
        assert_eq!(ledger.replace(&a, wishes(&[(1, 1), (2, 3), (4, 4)])), []);
        assert_eq!(ledger.replace(&a, wishes(&[])).len(), 3);
        assert!(ledger.owners.is_empty() && ledger.wishes.is_empty());
    }

    #[test]
    fn an_element_stays_until_its_last_owner_leaves_and_the_first_owner_decides() {
        let mut ledger = Ledger::default();
        let (a, b) = (Key::new("n", "a"), Key::new("n", "b"));
        assert_eq!(ledger.replace(&b, wishes(&[(1, 20)])), [turn(1, None, Some(20))]);
        assert_eq!(ledger.replace(&a, wishes(&[(1, 10)])), [turn(1, Some(20), Some(10))]);
        assert_eq!(ledger.replace(&b, wishes(&[(1, 21)])), [], "the loser's change is not seen");
        assert_eq!(ledger.replace(&a, wishes(&[])), [turn(1, Some(10), Some(21))]);
        assert_eq!(ledger.replace(&b, wishes(&[])), [turn(1, Some(21), None)]);
        assert!(ledger.owners.is_empty() && ledger.wishes.is_empty());
    }
}
